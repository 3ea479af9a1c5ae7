package main

import (
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/bulk"
)

func embedCommand(s *streams) command {
	return command{
		name:    "embed",
		summary: "turn texts, images, or both together into embeddings",
		usage: []string{
			"-m MODEL (--text TEXT | --image FILE)... [options]",
			"-m MODEL --input FILE.jsonl [--output FILE] [options]",
			"--list-tasks",
		},
		description: []string{
			"Prints a vector of unit length for each input. A text and an image that are given together are one input: the " +
				"first --text goes with the first --image, and so on.",
			"MLLM models read queries and candidates differently, and want each query to say what is to be retrieved: " +
				"--task names an instruction that they were trained with, --instruction is one of your own. Candidates, with " +
				"--role candidate, have none. CLIP models ignore all three.",
			"With --input, each line is an object: {\"id\", \"text\"?, \"image\"?, \"role\"?, \"instruction\"?, \"task\"?}, where id is a " +
				"string or a number, image is a path and role is query (the default) or candidate. Each line of the output is " +
				"{\"id\", \"embedding\"} or {\"id\", \"error\"}, in the order of the input and as soon as a batch is done, with bounded " +
				"memory. A line that fails never stops the others; the exit status is then 3. With --truncate, texts that " +
				"were cut have \"truncated\": true beside their embedding.",
			"Formats: jsonl, json (one array of the same objects), and npy (a float32 matrix for numpy.load with a row an " +
				"input; a row that failed is NaN, and its error goes to standard error). --output appears under its name " +
				"only when it is whole.",
		},
		flags: withModel(
			&cli.StringSliceFlag{Name: "text", Usage: "embed `TEXT`; may be given again"},
			&cli.StringSliceFlag{Name: "image", Usage: "embed the picture in `FILE`; may be given again"},
			&cli.StringFlag{Name: "role", Usage: "the inputs are `ROLE`, query (the default) or candidate; CLIP models treat both alike"},
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "read inputs from `FILE`, a line each; - is standard input"},
			&cli.StringFlag{Name: "image-root", Usage: "open the pictures of --input below `DIR`, and nothing outside it"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE` (default: standard output)"},
			&cli.StringFlag{Name: "format", Usage: "write `FORMAT`: jsonl, json or npy (default: what the output's name ends with, else jsonl)"},
			&cli.StringFlag{Name: "image-cache", Usage: "keep up to `SIZE`, as 2GB, of what an MLLM model made of pictures, for inputs with the " +
				"same one (default: none)"},
			&cli.BoolFlag{Name: "list-tasks", Usage: "list the tasks with their instructions, and do nothing else; --format json says more"},
		),
		choices: map[string][]string{"format": bulk.Formats(), "role": {"query", "candidate"}, "task": taskNames()},
		examples: []example{
			{"a text", "bgevl embed -m base.gguf --text \"a dog in the snow\""},
			{"an image and a text, fused into one vector", "bgevl embed -m base.gguf --image dog.jpg --text \"at night\""},
			{"many, from a file", "bgevl embed -m base.gguf -i in.jsonl --image-root photos -o out.jsonl"},
			{"a query for an MLLM model", "bgevl embed -m s1.gguf --image dog.jpg --text \"at night\" \\\n--task composed-retrieval"},
			{"in a pipe", "jq -c '{id, image: .path}' list.jsonl |\nbgevl embed -m base.gguf -i - > out.jsonl"},
		},
		action: func(c *cli.Context) error { return runEmbed(c, s) },
	}
}

func runEmbed(c *cli.Context, s *streams) error {
	if c.Bool("list-tasks") {
		return listTasks(c, s)
	}
	format, err := checkEmbed(c, s)
	if err != nil {
		return err
	}
	src, err := openSource(c, s)
	if err != nil {
		return err
	}
	defer src.close()
	model, err := openModel(c)
	if err != nil {
		return err
	}
	defer model.Close()
	out, err := bulk.Create(bulk.OutputOptions{
		Path: c.String("output"), Stdout: s.out, Format: format, Dim: model.Dim(),
		Failed: func(r bulk.Record) {
			s.complain(fmt.Sprintf("embed: %s: %v", r.Where, r.Err))
		},
	})
	if err != nil {
		return fmt.Errorf("embed: %w", err)
	}
	defer out.Discard() //nolint:errcheck // what failed before is the error
	var b *bar
	if c.String("input") != "" && (c.String("output") != "" || !isTerminal(s.out)) { // where results do not tear the bar
		b = s.progress("embedding", src.lines, false)
	}
	stats, err := bulk.Run(c.Context, model, src.items, out, b.set)
	b.finish()
	if err != nil {
		return fmt.Errorf("embed: %w", err)
	}
	if err := out.Commit(); err != nil {
		return fmt.Errorf("embed: %w", err)
	}
	if stats.Truncated > 0 {
		s.complain(fmt.Sprintf("embed: %d texts were cut to what the model takes", stats.Truncated))
	}
	if stats.Warned > 0 {
		remedy := instructionRemedy + ", or --role candidate"
		if c.String("input") != "" {
			remedy = `put "task" or "instruction" into their lines, or "role": "candidate"`
		}
		s.complain(fmt.Sprintf("embed: %d of %d inputs: %s: %s", stats.Warned, stats.Done, stats.Warning, remedy))
	}
	if stats.Failed > 0 {
		return fmt.Errorf("embed: %d of %d %w; the first, %s", stats.Failed, stats.Done, errSomeFailed, stats.First)
	}
	return nil
}

// checkEmbed checks what the options say together, and returns the format.
func checkEmbed(c *cli.Context, s *streams) (string, error) {
	texts, images, input := len(c.StringSlice("text")), len(c.StringSlice("image")), c.String("input")
	switch {
	case c.NArg() > 0:
		return "", usagef("%s: takes no operand: give --text, --image or --input", c.Args().First())
	case input == "" && texts+images == 0:
		return "", usagef("nothing to embed: give --text, --image or --input")
	case input != "" && texts+images > 0:
		return "", usagef("--input goes without --text and --image: put them into its lines")
	case input != "" && (c.IsSet("role") || c.IsSet("instruction") || c.IsSet("task")):
		return "", usagef("--input goes without --role, --instruction and --task: put them into its lines")
	case input == "" && c.IsSet("image-root"):
		return "", usagef("--image-root is for the pictures of --input")
	case texts > 0 && images > 0 && texts != images:
		return "", usagef("%d --text and %d --image: where both are given each text needs an image; use --input to mix", texts, images)
	case input != "" && input != "-" && sameFile(input, c.String("output")):
		return "", usagef("--output %s: is the input", c.String("output"))
	}
	if _, err := bgevl.ParseRole(c.String("role")); err != nil {
		return "", usagef("--role %s: want query or candidate", c.String("role"))
	}
	if _, err := instruction(c); err != nil {
		return "", err
	}
	format := c.String("format")
	if format == "" {
		format = bulk.Formats()[0]
		if end := strings.TrimPrefix(filepath.Ext(c.String("output")), "."); slices.Contains(bulk.Formats(), end) {
			format = end
		}
	}
	if !slices.Contains(bulk.Formats(), format) {
		return "", usagef("--format %s: want jsonl, json or npy", format)
	}
	if format == "npy" && c.String("output") == "" && isTerminal(s.out) {
		return "", usagef("npy is binary and standard output is a terminal: give --output FILE")
	}
	return format, nil
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && x.Mode().IsRegular() && os.SameFile(x, y)
}

// A source is where the items of embed come from.
type source struct {
	items   iter.Seq2[bulk.Item, error]
	lines   int64 // that it has; -1 where nobody knows
	closers []io.Closer
}

func (s *source) close() {
	for _, c := range s.closers {
		c.Close()
	}
}

func openSource(c *cli.Context, s *streams) (*source, error) {
	name := c.String("input")
	if name == "" {
		return &source{items: listed(c)}, nil
	}
	src := &source{lines: -1}
	in := s.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("embed: %w", err)
		}
		src.closers = append(src.closers, f)
		in = f
		if src.lines, err = countLines(f, isTerminal(s.err)); err != nil {
			src.close()
			return nil, fmt.Errorf("embed: %w", err)
		}
	}
	var root *os.Root
	if dir := c.String("image-root"); c.IsSet("image-root") {
		var err error
		if root, err = os.OpenRoot(dir); err != nil {
			src.close()
			return nil, fmt.Errorf("embed: --image-root: %w", err)
		}
		src.closers = append(src.closers, root)
	}
	src.items = bulk.NewReader(in, root).All()
	return src, nil
}

// countLines returns how many lines a file has, if somebody wants to know and it can be read twice, and else -1.
func countLines(f *os.File, wanted bool) (int64, error) {
	st, err := f.Stat()
	switch {
	case err != nil:
		return 0, err
	case st.IsDir():
		return 0, fmt.Errorf("%s is a folder: --input wants a file of JSON lines", f.Name())
	case !wanted || !st.Mode().IsRegular():
		return -1, nil
	}
	n, err := bulk.CountLines(f)
	if err != nil {
		return 0, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return n, err
}

// listed yields the inputs of --text and --image. Their ids count from 1.
func listed(c *cli.Context) iter.Seq2[bulk.Item, error] {
	texts, images := c.StringSlice("text"), c.StringSlice("image")
	role, _ := bgevl.ParseRole(c.String("role")) // checked before, and so is the instruction
	told, _ := instruction(c)
	return func(yield func(bulk.Item, error) bool) {
		for i := range max(len(texts), len(images)) {
			item := bulk.Item{ID: strconv.AppendInt(nil, int64(i+1), 10), Where: fmt.Sprintf("input %d", i+1)}
			item.Input.Role, item.Input.Instruction = role, told
			if i < len(texts) {
				item.Input.Text = &texts[i]
			}
			if i < len(images) {
				item.Input.Image = bgevl.ImageFile(images[i])
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}
