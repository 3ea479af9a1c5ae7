package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// CheckpointJSON returns the tokenizer.json text of a checkpoint in the hub's layout. Where the folder has the file, that
// is it, as it stands, unless tokenizer_config.json changes it as transformers reads the two. Else the text is made as
// transformers makes one when it loads such a folder, in compact form: from vocab.json and merges.txt (CLIP) or from
// tokenizer.model (sentencepiece BPE), and from what of tokenizer_config.json, special_tokens_map.json and
// added_tokens.json is there.
func CheckpointJSON(dir string) ([]byte, error) {
	text, err := checkpointJSON(dir)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", dir, err)
	}
	return text, nil
}

func checkpointJSON(dir string) ([]byte, error) {
	text, err := readBounded(filepath.Join(dir, "tokenizer.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return composeCheckpoint(dir)
	}
	if err != nil {
		return nil, err
	}
	special, err := readSpecialFiles(dir)
	if err != nil {
		return nil, err
	}
	return configured(text, special)
}

func composeCheckpoint(dir string) ([]byte, error) {
	_, clipErr := os.Stat(filepath.Join(dir, "vocab.json"))
	_, modelErr := os.Stat(filepath.Join(dir, "tokenizer.model"))
	if clipErr != nil && modelErr != nil {
		return nil, errors.New("no tokenizer: want tokenizer.json, vocab.json with merges.txt, or tokenizer.model")
	}
	special, err := readSpecialFiles(dir)
	if err != nil {
		return nil, err
	}
	if clipErr == nil {
		return clipCheckpoint(dir, special)
	}
	data, err := readBounded(filepath.Join(dir, "tokenizer.model"))
	if err != nil {
		return nil, err
	}
	text, err := sentencePieceText(data, special)
	return text, wrap("tokenizer.model", err)
}

// readBounded reads a whole file of at most maxFile bytes.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: want at most %d bytes", path, maxFile)
	}
	return data, nil
}

// readOptional decodes a JSON file into v, and leaves v as it is where there is no such file.
func readOptional(path string, v any) error {
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return wrap(filepath.Base(path), json.Unmarshal(data, v))
}

// maxCLIPMerges is how many of the merges in a CLIP merges.txt count: 49,152 less 256 bytes and 2 special tokens.
const maxCLIPMerges = 49152 - 256 - 2

// clipCheckpoint makes the text from vocab.json and merges.txt.
func clipCheckpoint(dir string, special specialFiles) ([]byte, error) {
	data, err := readBounded(filepath.Join(dir, "vocab.json"))
	if err != nil {
		return nil, err
	}
	var model modelPart
	s := &scanner{data: data}
	if err = model.readVocab(s); err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, wrap("vocab.json", err)
	}
	if data, err = readBounded(filepath.Join(dir, "merges.txt")); err != nil {
		return nil, err
	}
	merges, err := mergesText(data)
	if err != nil {
		return nil, wrap("merges.txt", err)
	}
	tokens, err := model.vocab.tokens()
	if err != nil {
		return nil, wrap("vocab.json", err)
	}
	return clipText(tokens, merges, special)
}

// mergesText reads a merges.txt as CLIP's tokenizer does: without the first line, and no further than maxCLIPMerges.
func mergesText(data []byte) ([][2]string, error) {
	var merges [][2]string
	seen := map[[2]string]bool{}
	lines := bytes.Split(bytes.TrimFunc(data, unicode.IsSpace), []byte("\n"))
	for i, line := range lines[1:min(len(lines), maxCLIPMerges+1)] {
		parts := strings.Fields(string(line))
		if len(parts) != 2 {
			return nil, fmt.Errorf("line %d: want two tokens, got %.60q", i+2, line)
		}
		if pair := [2]string{parts[0], parts[1]}; !seen[pair] {
			seen[pair] = true
			merges = append(merges, pair)
		}
	}
	return merges, nil
}

// Special names the tokens that a checkpoint's configuration gives a part to. An empty name means none.
type Special struct{ BOS, EOS, Unknown, Padding string }

// ReadSpecial reads the special tokens of a checkpoint from its tokenizer_config.json and special_tokens_map.json. Files
// that aren't there count as empty.
func ReadSpecial(dir string) (Special, error) {
	f, err := readSpecialFiles(dir)
	if err != nil {
		return Special{}, fmt.Errorf("tokenizer: %s: %w", dir, err)
	}
	return Special{f.BOS.Content, f.EOS.Content, f.Unknown.Content, f.Padding.Content}, nil
}

// A specialName is a token in a configuration: its spelling, or an object with the spelling in it.
type specialName struct{ AddedToken }

func (n *specialName) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		n.Normalized = true // as transformers takes a bare spelling
		return json.Unmarshal(data, &n.Content)
	}
	return json.Unmarshal(data, &n.AddedToken)
}

// specialFiles is what this package reads of tokenizer_config.json and special_tokens_map.json.
type specialFiles struct {
	BOS            specialName           `json:"bos_token"`
	EOS            specialName           `json:"eos_token"`
	Unknown        specialName           `json:"unk_token"`
	Padding        specialName           `json:"pad_token"`
	Added          map[int32]specialName `json:"added_tokens_decoder"`
	TokenizerClass string                `json:"tokenizer_class"`
	AddBOS         *bool                 `json:"add_bos_token"`
	AddEOS         *bool                 `json:"add_eos_token"`
	AddPrefixSpace json.RawMessage       `json:"add_prefix_space"` // null isn't the same as nothing
	Legacy         *bool                 `json:"legacy"`

	idsOnly bool // Added is from the older file, which knows no flags
}

func readSpecialFiles(dir string) (specialFiles, error) {
	var f specialFiles
	for _, file := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		if err := readOptional(filepath.Join(dir, file), &f); err != nil {
			return f, err
		}
	}
	if f.Added == nil {
		if err := f.readAdded(filepath.Join(dir, "added_tokens.json")); err != nil {
			return f, err
		}
	}
	for id, a := range f.Added {
		if id < 0 || id >= maxTokens || a.Content == "" {
			return f, fmt.Errorf("added tokens: %d: want a token's content and an id below %d", id, maxTokens)
		}
	}
	return f, nil
}

// readAdded reads the older file of added tokens, which has no more than their ids.
func (f *specialFiles) readAdded(path string) error {
	var ids map[string]int32
	if err := readOptional(path, &ids); err != nil {
		return err
	}
	special := map[string]bool{
		f.BOS.Content: true, f.EOS.Content: true, f.Unknown.Content: true, f.Padding.Content: true,
	}
	f.Added, f.idsOnly = make(map[int32]specialName, len(ids)), true
	for content, id := range ids {
		f.Added[id] = specialName{AddedToken{Content: content, Normalized: !special[content], Special: special[content]}}
	}
	return nil
}

// added returns the added tokens in order of their ids: those that the configuration lists, and the special tokens
// that it names without an id, which then must be in the vocabulary.
func (f *specialFiles) added(ids map[string]int32) ([]AddedToken, error) {
	var list []AddedToken
	listed := map[string]bool{"": true}
	for id, a := range f.Added {
		a.ID = id
		list = append(list, a.AddedToken)
		listed[a.Content] = true
	}
	for _, name := range []specialName{f.BOS, f.EOS, f.Unknown, f.Padding} {
		if listed[name.Content] {
			continue
		}
		listed[name.Content] = true
		id, ok := ids[name.Content]
		if !ok {
			return nil, fmt.Errorf("special token %.40q isn't in the vocabulary", name.Content)
		}
		name.ID, name.Special = id, true
		list = append(list, name.AddedToken)
	}
	slices.SortFunc(list, func(a, b AddedToken) int { return int(a.ID) - int(b.ID) })
	return list, nil
}
