package bulk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"unicode/utf8"

	"github.com/bgevl/bgevl/bgevl"
)

// An Item is one input on its way.
type Item struct {
	ID    json.RawMessage // a JSON string or number, or null where the line has none
	Where string          // what to call it in messages: "line 3"
	Input bgevl.Input
	Err   error // what is wrong with the line; Input is of no use then

	image string  // the name of its picture, for errors
	file  *rooted // its picture below an image root
}

// maxLine is the longest line in bytes. It is far above what any text of a model's context takes, and bounds the memory
// that one line can claim.
const maxLine = 4 << 20

// A Reader reads inputs from JSON lines: {"id", "text", "image", "role", "instruction", "task"}, of which id and one of
// text and image must be there, and of instruction and task, the name of a bgevl.Task, at most one. Blank lines are
// skipped, and other keys are ignored.
type Reader struct {
	r    *bufio.Reader
	root *os.Root
	buf  []byte
	line int
}

// NewReader reads from r. Pictures are opened below root, and nothing outside it by any name or link; a nil root opens
// them as the process would.
func NewReader(r io.Reader, root *os.Root) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), root: root}
}

// CountLines returns how many lines r has, which is how many items a Reader gives unless some are blank.
func CountLines(r io.Reader) (int64, error) {
	buf := make([]byte, 64<<10)
	lines, last := int64(0), byte('\n')
	for {
		n, err := r.Read(buf)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if n > 0 {
			last = buf[n-1]
		}
		if errors.Is(err, io.EOF) {
			if last != '\n' {
				lines++
			}
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
	}
}

// All returns the items one after another. An error is one of reading and ends the sequence.
func (r *Reader) All() iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for {
			item, err := r.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// next returns the next item, or io.EOF.
func (r *Reader) next() (Item, error) {
	for {
		line, err := r.readLine()
		if err != nil && !errors.Is(err, errLongLine) {
			return Item{}, err
		}
		if r.line == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if line = bytes.TrimSpace(line); len(line) == 0 && err == nil {
			continue
		}
		item := Item{ID: json.RawMessage("null"), Where: fmt.Sprintf("line %d", r.line), Err: err}
		if err == nil {
			item.Err = r.parse(line, &item)
		}
		return item, nil
	}
}

var errLongLine = fmt.Errorf("longer than %d bytes", maxLine)

// readLine returns the next line, which is valid until the next call. Of a line past maxLine it returns errLongLine and
// has read it to its end. At the end of the input it returns io.EOF.
func (r *Reader) readLine() ([]byte, error) {
	r.buf = r.buf[:0]
	r.line++
	long := false
	for {
		part, err := r.r.ReadSlice('\n')
		if len(r.buf)+len(part) > maxLine {
			long = true
		} else {
			r.buf = append(r.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && len(r.buf) == 0 && !long:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, err
		case long:
			return nil, errLongLine
		}
		return r.buf, nil
	}
}

// parse fills in an item from its line. The item's ID is set wherever the line has one.
func (r *Reader) parse(line []byte, item *Item) error {
	if !utf8.Valid(line) {
		return errors.New("malformed JSON: not UTF-8")
	}
	var fields struct {
		ID, Text, Image, Role, Instruction, Task json.RawMessage
	}
	if err := json.Unmarshal(line, &fields); err != nil {
		return malformed(err)
	}
	id := fields.ID
	switch {
	case len(id) == 0 || string(id) == "null":
		return errors.New(`no "id": give each line a string or a number`)
	case id[0] != '"' && id[0] != '-' && (id[0] < '0' || id[0] > '9'):
		return fmt.Errorf(`"id": want a string or a number, got %s`, short(id))
	}
	item.ID = id
	text, err1 := stringField("text", fields.Text)
	image, err2 := stringField("image", fields.Image)
	role, err3 := stringField("role", fields.Role)
	instruction, err4 := instructionField(fields.Instruction, fields.Task)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if text == nil && image == nil {
		return errors.New(`nothing to embed: give "text", "image" or both`)
	}
	item.Input.Text, item.Input.Instruction = text, instruction
	if role != nil {
		parsed, err := bgevl.ParseRole(*role)
		if err != nil {
			return fmt.Errorf(`"role": want "query" or "candidate", got %q`, *role)
		}
		item.Input.Role = parsed
	}
	if image != nil {
		return item.setImage(r.root, *image)
	}
	return nil
}

// instructionField returns a line's instruction, as it is written or by the name of its task; nil where there is none.
func instructionField(instruction, task json.RawMessage) (*string, error) {
	text, err := stringField("instruction", instruction)
	if err != nil {
		return nil, err
	}
	name, err := stringField("task", task)
	if err != nil || name == nil {
		return text, err
	}
	if text != nil {
		return nil, errors.New(`"task" and "instruction": want one of them`)
	}
	preset, ok := bgevl.FindTask(*name)
	if !ok {
		return nil, fmt.Errorf(`"task": no task is called %q: bgevl embed --list-tasks tells which there are`, *name)
	}
	return &preset.Instruction, nil
}

// setImage names the item's picture.
func (item *Item) setImage(root *os.Root, name string) error {
	item.image = name
	if name == "" {
		return errors.New(`"image": an empty path`)
	}
	if root == nil {
		item.Input.Image = bgevl.ImageFile(name)
		return nil
	}
	file, err := newRooted(root, name)
	if err != nil {
		return err
	}
	item.file = file
	item.Input.Image = bgevl.ImageReader(file)
	return nil
}

// malformed words what encoding/json found, without its Go types.
func malformed(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("want a JSON object, got %s", kind.Value)
	}
	return fmt.Errorf("malformed JSON: %w", err)
}

// stringField decodes a string; nil where the key is absent or null.
func stringField(key string, raw json.RawMessage) (*string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] != '"' {
		return nil, fmt.Errorf("%q: want a string, got %s", key, short(raw))
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("%q: %w", key, err)
	}
	return &s, nil
}

// short cuts a value to what a message should repeat.
func short(raw []byte) string {
	const most = 40
	if len(raw) <= most {
		return string(raw)
	}
	return string(bytes.ToValidUTF8(raw[:most], nil)) + "…"
}
