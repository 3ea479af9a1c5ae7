package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/safetensors"
)

func inspectCommand(s *streams) command {
	return command{
		name:    "inspect",
		summary: "show what a GGUF or safetensors file holds",
		usage:   []string{"[options] FILE", "[options] DIR"},
		description: []string{
			"Shows the metadata and the tensors of a GGUF file, a safetensors file, or the weights of a checkpoint folder. " +
				"The file is checked as it is read: one that is damaged gives an error that says where.",
			"Shapes are in the file's own order: GGUF puts the dimension whose neighbours lie together first, safetensors " +
				"last. Tables cut long strings and arrays; --json does not. It prints one object with the keys path, format, " +
				"bytes, parameters, metadata (an object of key to {type, value}) and tensors (an array of {name, type, shape, " +
				"bytes}); --metadata or --tensors leaves the other out.",
		},
		operands: "FILE",
		flags: []cli.Flag{
			&cli.BoolFlag{Name: "metadata", Usage: "show the metadata alone"},
			&cli.BoolFlag{Name: "tensors", Usage: "show the tensors alone"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		examples: []example{
			{"all there is", "bgevl inspect base-f16.gguf"},
			{"the tensors of a checkpoint", "bgevl inspect --tensors BGE-VL-base"},
			{"one value, for a program", "bgevl inspect --json base-f16.gguf |\njq '.metadata[\"clip.vision.image_size\"].value'"},
		},
		action: func(c *cli.Context) error {
			switch {
			case c.NArg() == 0:
				return usagef("nothing to inspect: name a file or a checkpoint's folder")
			case c.NArg() > 1:
				return usagef("%s: one file at a time", c.Args().Get(1))
			}
			return inspect(c, s, c.Args().First())
		},
	}
}

// A contents is what a file holds, whichever format it has.
type contents struct {
	Path       string           `json:"path"`
	Format     string           `json:"format"` // gguf, safetensors, checkpoint
	Bytes      int64            `json:"bytes"`
	Parameters int64            `json:"parameters"`
	Metadata   map[string]value `json:"metadata,omitzero"`
	Tensors    []tensor         `json:"tensors,omitzero"`

	keys  []string // of Metadata, in the file's order
	about [][2]string
}

type value struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
	count int64  // of a string's bytes or an array's elements
}

type tensor struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Shape []int64 `json:"shape"`
	Bytes int64   `json:"bytes"`
}

func inspect(c *cli.Context, s *streams, path string) error {
	metadata, tensors := c.Bool("metadata"), c.Bool("tensors")
	if !metadata && !tensors {
		metadata, tensors = true, true
	}
	in, err := readContents(path, c.Bool("json"))
	if err != nil {
		return err
	}
	if !metadata {
		in.Metadata = nil
	}
	if !tensors {
		in.Tensors = nil
	}
	if c.Bool("json") {
		return printJSON(s.out, in)
	}
	both := metadata && tensors
	if both {
		for _, line := range in.about {
			fmt.Fprintf(s.out, "%-12s%s\n", line[0], printable(line[1]))
		}
	}
	if metadata && (len(in.keys) > 0 || !both) {
		if both {
			fmt.Fprintln(s.out)
		}
		in.printMetadata(s)
	}
	if tensors {
		if both {
			fmt.Fprintln(s.out)
		}
		in.printTensors(s)
	}
	return nil
}

// readContents tells formats apart by content. Arrays are read whole or only as far as a table shows them.
func readContents(path string, whole bool) (*contents, error) {
	if isFolder(path) {
		return readCheckpoint(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	defer f.Close()
	head := make([]byte, 9)
	n, err := io.ReadFull(f, head)
	if err != nil && n == 0 {
		return nil, fmt.Errorf("inspect: %s: an empty file, or one that cannot be read: %w", path, err)
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("GGUF")):
		return readGGUF(path, whole)
	case n == 9 && head[8] == '{' && binary.LittleEndian.Uint64(head) < 1<<32:
		return readSafetensors(path)
	}
	return nil, fmt.Errorf("inspect: %s: neither GGUF nor safetensors: it begins with %q", path, head)
}

func isFolder(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// tableElements is how much of an array a table shows.
const tableElements = 6

func readGGUF(path string, whole bool) (*contents, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := f.Summary()
	in := &contents{Path: path, Format: "gguf", Bytes: sum.FileSize, Parameters: sum.Parameters, keys: f.Keys(),
		Metadata: map[string]value{}, Tensors: []tensor{}}
	var types []string
	for _, t := range sum.Types {
		types = append(types, fmt.Sprintf("%s (%d tensors, %s)", t.Type, t.Tensors, size(t.Bytes)))
	}
	in.describe(fmt.Sprintf("GGUF, version %d", sum.Version), types)
	if holds := part(f, path); holds != "" {
		in.about = slices.Insert(in.about, 1, [2]string{"model", holds})
	}
	for _, key := range in.keys {
		v, _ := f.Value(key)
		head := int64(tableElements)
		if whole {
			head = v.Len()
		}
		got, err := v.Head(head)
		if err != nil {
			return nil, err
		}
		in.Metadata[key] = value{v.Kind(), jsonable(got), v.Len()}
	}
	for _, t := range f.Tensors() {
		in.Tensors = append(in.Tensors, tensor{t.Name, t.Type.String(), t.Dims, t.Size})
	}
	return in, nil
}

// part says what of a model a GGUF file is, for files that bgevl embeds with; nothing for others.
func part(f *gguf.File, path string) string {
	family, _ := f.String("bgevl.family")
	architecture, _ := f.String("general.architecture")
	vision, _ := f.Bool("clip.has_llava_projector")
	switch {
	case family == "mllm-projector" || family == "" && architecture == "clip" && vision:
		return "vision side (mmproj) of an MLLM model; commands take the language model beside it"
	case family == "mllm":
		return "language model of a BGE-VL MLLM model; " + visionSide(path)
	case family == "clip":
		return "BGE-VL CLIP model"
	}
	return ""
}

// visionSide says which file beside a language model has its vision side.
func visionSide(path string) string {
	model, err := bgevl.Open(path, nil)
	if err != nil {
		return "it does not open: " + err.Error()
	}
	defer model.Close()
	if at := model.Info().Projector; at != "" {
		return "its vision side is " + filepath.Base(at)
	}
	return "no vision side (mmproj) beside it, which pictures need"
}

// jsonable returns a value as encoding/json should see it: bytes as numbers, and numbers that JSON has not as strings.
func jsonable(v any) any {
	switch v := v.(type) {
	case []uint8:
		wide := make([]uint16, len(v))
		for i, b := range v {
			wide[i] = uint16(b)
		}
		return wide
	case float32:
		return finite(float64(v), v)
	case float64:
		return finite(v, v)
	case []float32:
		return finiteAll(v)
	case []float64:
		return finiteAll(v)
	}
	return v
}

func finite(x float64, v any) any {
	if x-x != 0 {
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return v
}

func finiteAll[T float32 | float64](v []T) []any {
	out := make([]any, len(v))
	for i, x := range v {
		out[i] = finite(float64(x), x)
	}
	return out
}

func readSafetensors(path string) (*contents, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := &contents{Path: path, Format: "safetensors", Bytes: f.Size()}
	in.addSafetensors(f.Tensors(), f.Metadata(), "safetensors")
	return in, nil
}

func readCheckpoint(path string) (*contents, error) {
	c, err := safetensors.OpenCheckpoint(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in := &contents{Path: path, Format: "checkpoint"}
	metadata := map[string]string{}
	for _, f := range c.Files() {
		in.Bytes += f.Size()
		maps.Copy(metadata, f.Metadata())
	}
	in.addSafetensors(c.Tensors(), metadata, "checkpoint of safetensors, "+files(len(c.Files())))
	return in, nil
}

func (in *contents) addSafetensors(tensors []safetensors.Tensor, metadata map[string]string, format string) {
	in.Metadata, in.Tensors = map[string]value{}, []tensor{}
	in.keys = slices.Sorted(maps.Keys(metadata))
	for k, v := range metadata {
		in.Metadata[k] = value{"string", v, int64(len(v))}
	}
	of := map[string]int{}
	for _, t := range tensors {
		in.Parameters += t.Elements()
		of[string(t.DType)]++
		in.Tensors = append(in.Tensors, tensor{t.Name, string(t.DType), t.Shape, t.Size})
	}
	var types []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		types = append(types, fmt.Sprintf("%s (%d tensors)", name, of[name]))
	}
	in.describe(format, types)
}

func (in *contents) describe(format string, types []string) {
	in.about = [][2]string{
		{"file", in.Path}, {"format", format}, {"size", size(in.Bytes)}, {"parameters", count(in.Parameters, "kMGT")},
		{"types", strings.Join(types, ", ")},
	}
}

func (in *contents) printMetadata(s *streams) {
	var rows [][]string
	for _, key := range in.keys {
		v := in.Metadata[key]
		rows = append(rows, []string{key, shortType(v.Type), v.text()})
	}
	s.table([]column{{name: "key"}, {name: "type"}, {name: "value", give: true}}, rows)
}

// shortType abbreviates a type so that the value has more room: "u32", "[]str".
func shortType(name string) string {
	if elem, ok := strings.CutPrefix(name, "array of "); ok {
		return "[]" + shortType(elem)
	}
	return strings.NewReplacer("uint", "u", "int", "i", "float", "f", "string", "str").Replace(name)
}

// text is a value as a table shows it: a long string by its beginning and length, an array by its first elements.
func (v value) text() string {
	const most = 100 // bytes of a string
	if s, ok := v.Value.(string); ok {
		short := strings.ToValidUTF8(s[:min(len(s), 2*most)], "")
		short = strings.Join(strings.Fields(short), " ")
		if len(s) > most {
			return fmt.Sprintf("(%s) %s…", size(v.count), strings.ToValidUTF8(short[:min(len(short), most)], ""))
		}
		return short
	}
	if !strings.HasPrefix(v.Type, "array") {
		return fmt.Sprint(v.Value)
	}
	text := strings.TrimSuffix(fmt.Sprintf("%v", v.Value), "]")
	if words, ok := v.Value.([]string); ok {
		text = strings.TrimSuffix(fmt.Sprintf("%q", words), "]")
	}
	if v.count > tableElements {
		return fmt.Sprintf("(%d) %s …]", v.count, text)
	}
	return text + "]"
}

func (in *contents) printTensors(s *streams) {
	var rows [][]string
	for _, t := range in.Tensors {
		rows = append(rows, []string{t.Name, t.Type, shape(t.Shape), size(t.Bytes)})
	}
	s.table([]column{{name: "tensor", give: true}, {name: "type"}, {name: "shape", right: true}, {name: "size", right: true}}, rows)
}

// shape writes dimensions: "768 x 3072".
func shape(dims []int64) string {
	if len(dims) == 0 {
		return "scalar"
	}
	var parts []string
	for _, d := range dims {
		parts = append(parts, strconv.FormatInt(d, 10))
	}
	return strings.Join(parts, " x ")
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}
