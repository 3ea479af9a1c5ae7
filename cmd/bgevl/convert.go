package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/convert"
)

func convertCommand(s *streams) command {
	return command{
		name:    "convert",
		summary: "make a GGUF file from a checkpoint folder",
		usage:   []string{"DIR -o NAME.gguf [--type TYPE[,TYPE...]] [options]", "--list-types"},
		description: []string{
			"Reads a checkpoint in the Hugging Face hub's layout (config.json, the tokenizer's files, " +
				"preprocessor_config.json and model.safetensors, sharded or not). A CLIP model becomes one GGUF file. An MLLM " +
				"becomes two: NAME.gguf, the language model, and beside it mmproj-NAME.gguf, which pictures go through and which " +
				"every command finds by itself.",
			"Several types make a file each, NAME-TYPE.gguf, in one pass over the checkpoint, and one mmproj-NAME.gguf. Weights " +
				"are streamed: memory does not grow with the model. Files appear under their names only when all are whole.",
			"--list-types shows for each type the bits a weight takes, and the size of BGE-VL-base's file and of a 7B model's " +
				"without its mmproj file. The latter's mmproj takes 0.6 GB as f16.",
			"With --json, one object with the keys name, family (clip or mllm), files, seconds and embedding_only (true where " +
				"the checkpoint lacks what predicting text takes). files holds for each file path, projector, type, bytes, tensors, " +
				"types (tensors of each type), fallbacks (weights whose rows did not fit the type) and fingerprint (of the source " +
				"weights). Those of the first file stand at the top too.",
		},
		operands: "DIR",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`"},
			&cli.StringFlag{Name: "type", Aliases: []string{"t"}, Value: "f16", Usage: "store weights as `TYPE[,TYPE...]` (default f16); --list-types tells which there are"},
			&cli.StringFlag{Name: "mmproj-type", Usage: "store an MLLM's mmproj file as `TYPE` (default: f32 for f32, bf16 for bf16, otherwise f16)"},
			&cli.BoolFlag{Name: "list-types", Usage: "list the types with their sizes, and do nothing else"},
			&cli.StringFlag{Name: "name", Usage: "call the model `NAME` in its metadata (default: the folder's name)"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace files that exist"},
			threadsFlag("quantise"),
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		choices: map[string][]string{"type": convert.TypeNames(), "mmproj-type": convert.TypeNames()},
		examples: []example{
			{"exact for the published float16 weights", "bgevl convert BGE-VL-base -o base-f16.gguf"},
			{"half the size, hardly any loss", "bgevl convert BGE-VL-base -o base-q8.gguf --type q8_0"},
			{"a 7B model for 8 GB of memory: s1.gguf and mmproj-s1.gguf", "bgevl convert BGE-VL-MLLM-S1 -o s1.gguf --type q4_k_m"},
			{"s1-q8_0.gguf, s1-q4_k_m.gguf and mmproj-s1.gguf in one pass", "bgevl convert BGE-VL-MLLM-S1 -o s1.gguf --type q8_0,q4_k_m"},
			{"which types there are", "bgevl convert --list-types"},
		},
		action: func(c *cli.Context) error { return runConvert(c, s) },
	}
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
	}
	types, err := types(c)
	if err != nil {
		return err
	}
	if t := c.String("mmproj-type"); t != "" && !known(t, convert.TypeNames()) {
		return usagef("--mmproj-type %s: no such type (bgevl convert --list-types)", t)
	}
	threads, err := threads(c)
	if err != nil {
		return err
	}
	result, err := convertTo(c.Context, s, c.Args().First(), out, &convert.Options{
		Types: types, MMProjType: c.String("mmproj-type"), Name: c.String("name"), Threads: threads, Overwrite: c.Bool("force"),
	})
	if err != nil {
		return replaceable("convert", err)
	}
	if c.Bool("json") {
		return printJSON(s.out, conversion(result))
	}
	printConversion(s, result)
	return nil
}

// types returns what --type lists.
func types(c *cli.Context) ([]string, error) {
	list := strings.Split(c.String("type"), ",")
	for _, t := range list {
		if !known(t, convert.TypeNames()) {
			return nil, usagef("--type %s: no such type (bgevl convert --list-types)", t)
		}
	}
	return list, nil
}

// convertTo converts a checkpoint's folder and draws how far it is.
func convertTo(ctx context.Context, s *streams, dir, out string, o *convert.Options) (*convert.Result, error) {
	what := "converting"
	if len(o.Streams) > 0 {
		what = "downloading and converting"
	}
	var b *bar
	defer func() { b.finish() }()
	o.Progress = func(p convert.Progress) {
		if b == nil {
			b = s.progress(what, p.Total, true)
		}
		b.set(p.Done)
	}
	return convert.Run(ctx, dir, out, o)
}

// replaceable says of a file that is there how a command's user can have it replaced. Other errors stay as they are.
func replaceable(command string, err error) error {
	if exists, ok := errors.AsType[*convert.ExistsError](err); ok {
		return fmt.Errorf("%s: %s exists: pass --force to replace it, or choose another name", command, exists.Path)
	}
	return err
}

func printConversion(s *streams, r *convert.Result) {
	for _, f := range r.Files {
		fmt.Fprintf(s.out, "%s: %s, %d tensors, %s, in %.1f s\n", printable(f.Path), f.Type, f.Tensors, size(f.Bytes),
			r.Duration.Seconds())
		if n := len(f.Fallbacks); n > 0 {
			first := f.Fallbacks[0]
			fmt.Fprintf(s.out, "%d of them did not fit their type, such as %s: rows of %d are %s instead of %s\n", n,
				printable(first.Tensor), first.Row, first.Took, first.Wanted)
		}
	}
	if r.EmbeddingOnly {
		fmt.Fprintln(s.out, "the checkpoint has no lm_head: the model embeds and cannot predict text")
	}
}

// convertedFile is the documented JSON of one file that a conversion made.
type convertedFile struct {
	Path        string              `json:"path"`
	Projector   bool                `json:"projector"`
	Type        string              `json:"type"`
	Bytes       int64               `json:"bytes"`
	Tensors     int                 `json:"tensors"`
	Types       map[string]int      `json:"types"`
	Fallbacks   []convertedFallback `json:"fallbacks"`
	Fingerprint string              `json:"fingerprint"`
}

type convertedFallback struct {
	Tensor string `json:"tensor"`
	Row    int64  `json:"row"`
	Wanted string `json:"wanted"`
	Took   string `json:"took"`
}

// conversion is the documented JSON of a conversion.
func conversion(r *convert.Result) any {
	var files []convertedFile
	for _, f := range r.Files {
		fallbacks := []convertedFallback{}
		for _, b := range f.Fallbacks {
			fallbacks = append(fallbacks, convertedFallback(b))
		}
		files = append(files, convertedFile{filepath.ToSlash(f.Path), f.Projector, f.Type, f.Bytes, f.Tensors, f.Types, fallbacks,
			f.Fingerprint})
	}
	return struct {
		convertedFile                 // the first file's
		Name          string          `json:"name"`
		Family        string          `json:"family"`
		EmbeddingOnly bool            `json:"embedding_only"`
		Files         []convertedFile `json:"files"`
		Seconds       float64         `json:"seconds"`
	}{files[0], r.Name, r.Family, r.EmbeddingOnly, files, r.Duration.Seconds()}
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
			Base int64   `json:"base_bytes"`
			MLLM int64   `json:"mllm_bytes"`
			Does string  `json:"description"`
		}
		var rows []row
		for _, t := range types {
			rows = append(rows, row{t.Name, t.BitsPerWeight, t.BaseBytes, t.MLLMBytes, t.Description})
		}
		return printJSON(s.out, rows)
	}
	var rows [][]string
	for _, t := range types {
		rows = append(rows, []string{t.Name, fmt.Sprintf("%.2f", t.BitsPerWeight), size(t.BaseBytes), size(t.MLLMBytes), t.Description})
	}
	s.table([]column{{name: "type"}, {name: "bits", right: true}, {name: "base", right: true}, {name: "7B", right: true},
		{name: "what it is", give: true}}, rows)
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
