package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/convert"
)

func convertCommand(s *streams) command {
	return command{
		name:    "convert",
		summary: "make a GGUF file from a checkpoint folder",
		usage:   []string{"DIR -o NAME.gguf [--type TYPE] [options]", "--list-types"},
		description: []string{
			"Reads a checkpoint in the Hugging Face hub's layout (config.json, the tokenizer's files, " +
				"preprocessor_config.json and model.safetensors, sharded or not) and writes one GGUF file. Weights are " +
				"streamed: memory does not grow with the model. The file appears under its name only when it is whole.",
			"With --json, one object with the keys path, name, type, bytes, tensors, types (tensors of each type), " +
				"fallbacks (weights whose rows did not fit the type), fingerprint (of the source weights) and seconds.",
		},
		operands: "DIR",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`"},
			&cli.StringFlag{Name: "type", Aliases: []string{"t"}, Value: "f16", Usage: "store weights as `TYPE` (default f16); --list-types tells which there are"},
			&cli.BoolFlag{Name: "list-types", Usage: "list the types with their sizes, and do nothing else"},
			&cli.StringFlag{Name: "name", Usage: "call the model `NAME` in its metadata (default: the folder's name)"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace FILE where it exists"},
			threadsFlag("quantise"),
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		choices: map[string][]string{"type": typeNames()},
		examples: []example{
			{"exact for the published float16 weights", "bgevl convert BGE-VL-base -o base-f16.gguf"},
			{"half the size, hardly any loss", "bgevl convert BGE-VL-base -o base-q8.gguf --type q8_0"},
			{"which types there are", "bgevl convert --list-types"},
		},
		action: func(c *cli.Context) error { return runConvert(c, s) },
	}
}

func typeNames() []string {
	var names []string
	for _, t := range convert.Types() {
		names = append(names, t.Name)
	}
	return names
}

func runConvert(c *cli.Context, s *streams) error {
	if c.Bool("list-types") {
		return listTypes(c, s)
	}
	out := c.String("output")
	switch {
	case c.NArg() == 0:
		return usagef("no checkpoint: name its folder")
	case c.NArg() > 1:
		return usagef("%s: one checkpoint at a time", c.Args().Get(1))
	case out == "":
		return usagef("no output: give -o FILE")
	case !known(c.String("type"), typeNames()):
		return usagef("--type %s: no such type (bgevl convert --list-types)", c.String("type"))
	}
	threads, err := threads(c)
	if err != nil {
		return err
	}
	var b *bar
	result, err := convert.Run(c.Context, c.Args().First(), out, &convert.Options{
		Type: c.String("type"), Name: c.String("name"), Threads: threads, Overwrite: c.Bool("force"),
		Progress: func(p convert.Progress) {
			if b == nil {
				b = s.progress("converting", p.Total, true)
			}
			b.set(p.Done)
		},
	})
	b.finish()
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("convert: %s exists: pass --force to replace it, or choose another name", out)
	}
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(s.out, conversion(result))
	}
	fmt.Fprintf(s.out, "%s: %s, %d tensors, %s, in %.1f s\n", printable(result.Path), result.Type, result.Tensors,
		size(result.Bytes), result.Duration.Seconds())
	if n := len(result.Fallbacks); n > 0 {
		f := result.Fallbacks[0]
		fmt.Fprintf(s.out, "%d of them did not fit their type, such as %s: rows of %d are %s instead of %s\n", n,
			printable(f.Tensor), f.Row, f.Took, f.Wanted)
	}
	return nil
}

// conversion is the documented JSON of a conversion.
func conversion(r *convert.Result) any {
	type fallback struct {
		Tensor string `json:"tensor"`
		Row    int64  `json:"row"`
		Wanted string `json:"wanted"`
		Took   string `json:"took"`
	}
	fallbacks := []fallback{}
	for _, f := range r.Fallbacks {
		fallbacks = append(fallbacks, fallback(f))
	}
	return struct {
		Path        string         `json:"path"`
		Name        string         `json:"name"`
		Type        string         `json:"type"`
		Bytes       int64          `json:"bytes"`
		Tensors     int            `json:"tensors"`
		Types       map[string]int `json:"types"`
		Fallbacks   []fallback     `json:"fallbacks"`
		Fingerprint string         `json:"fingerprint"`
		Seconds     float64        `json:"seconds"`
	}{filepath.ToSlash(r.Path), r.Name, r.Type, r.Bytes, r.Tensors, r.Types, fallbacks, r.Fingerprint, r.Duration.Seconds()}
}

func listTypes(c *cli.Context, s *streams) error {
	if c.NArg() > 0 {
		return usagef("%s: --list-types takes no operand", c.Args().First())
	}
	types := convert.Types()
	if c.Bool("json") {
		type row struct {
			Name string  `json:"name"`
			Bits float64 `json:"bits_per_weight"`
			Does string  `json:"description"`
		}
		var rows []row
		for _, t := range types {
			rows = append(rows, row{t.Name, t.BitsPerWeight, t.Description})
		}
		return printJSON(s.out, rows)
	}
	var rows [][]string
	for _, t := range types {
		rows = append(rows, []string{t.Name, fmt.Sprintf("%.2f", t.BitsPerWeight), t.Description})
	}
	s.table([]column{{name: "type"}, {name: "bits", right: true}, {name: "what it is", give: true}}, rows)
	return nil
}

// known reports whether a word is one of a list, whatever its case.
func known(word string, list []string) bool {
	for _, w := range list {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}
