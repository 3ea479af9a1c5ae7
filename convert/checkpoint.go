package convert

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/safetensors"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// maxJSON bounds config.json and preprocessor_config.json; published ones have a few kilobytes.
const maxJSON = 1 << 20

// checkpoint is a folder in the hub's layout, with its small files read and its weights open.
type checkpoint struct {
	dir          string
	kind         string // model_type
	config       []byte
	preprocessor []byte
	tokenizer    []byte          // the text of tokenizer.json, made from older files if need be
	keys         []tokenizer.Key // the same in GGUF's own keys, for other programs
	weights      *safetensors.Checkpoint
	scale        *scale // nil where there is none
}

// openCheckpoint reads a folder, and of streams what stands in front of their tensors. An error names what is missing and
// where to get it.
func openCheckpoint(dir string, streams map[string]Stream) (*checkpoint, error) {
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	c := &checkpoint{dir: dir}
	var err error
	if c.config, err = readSmall(dir, "config.json", "it holds the model's geometry"); err != nil {
		return nil, err
	}
	if c.kind, err = modelType(c.config); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "config.json"), err)
	}
	if c.kind != "clip" && c.kind != "llava_next" {
		return nil, fmt.Errorf("%s: model_type is %s: want \"clip\" (BGE-VL-base and -large) or \"llava_next\" (BGE-VL-MLLM and "+
			"-v1.5)", filepath.Join(dir, "config.json"), short([]byte(c.kind)))
	}
	if c.preprocessor, err = readSmall(dir, "preprocessor_config.json", "it says how images are prepared"); err != nil {
		return nil, err
	}
	if c.tokenizer, err = tokenizer.CheckpointJSON(dir); err != nil {
		return nil, fmt.Errorf("%w; download the whole checkpoint", err)
	}
	if len(streams) == 0 {
		if err := checkWeightFiles(dir); err != nil {
			return nil, err
		}
	}
	c.weights, err = safetensors.StreamCheckpoint(dir, streams)
	return c, err
}

// checkFolder explains the wrong things that a folder's name is often given for.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: want the folder of a downloaded checkpoint", dir, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return nil
	}
	if strings.HasSuffix(strings.ToLower(dir), ".gguf") {
		return fmt.Errorf("%s is a GGUF file already: want the folder of the checkpoint that it was made from", dir)
	}
	return fmt.Errorf("%s is a file: want the folder of a checkpoint, with config.json and model.safetensors in it", dir)
}

// readSmall reads one of a checkpoint's JSON files.
func readSmall(dir, name, purpose string) ([]byte, error) {
	path := filepath.Join(dir, name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %s; download the whole checkpoint", path, fs.ErrNotExist, purpose)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxJSON {
		return nil, fmt.Errorf("%s: want at most %d bytes", path, maxJSON)
	}
	return data, nil
}

// checkWeightFiles explains a checkpoint without safetensors.
func checkWeightFiles(dir string) error {
	for _, name := range []string{"model.safetensors", "model.safetensors.index.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack":
			return fmt.Errorf("%s has its weights in %s only, a format that is not read, as loading pickled weights can run "+
				"code: download model.safetensors of the same checkpoint", dir, e.Name())
		}
	}
	return fmt.Errorf("%s: neither model.safetensors nor model.safetensors.index.json is there: download the whole checkpoint",
		dir)
}

// model reads and checks the small files against each other.
func (c *checkpoint) model() (*model, error) {
	if c.kind == "llava_next" {
		return c.mllmModel()
	}
	return c.clipModel()
}

// readTokenizer makes the tokenizer's keys, if it is one for a network that knows so many tokens. The keys list rows
// tokens, 0 for those that there are. fits, where set, has the last word.
func (c *checkpoint) readTokenizer(network string, known int64, rows int, fits func(tokenizer.Tokenizer) error) error {
	tok, err := tokenizer.FromJSON(c.tokenizer)
	if err != nil {
		return err
	}
	if n := int64(tok.VocabSize()); n > known {
		return fmt.Errorf("the tokenizer has %d tokens and config.json's %s knows %d: they are of different models", n, network, known)
	}
	if fits != nil {
		if err := fits(tok); err != nil {
			return err
		}
	}
	special, err := tokenizer.ReadSpecial(c.dir)
	if err != nil {
		return err
	}
	c.keys, err = tokenizer.GGUFKeys(tok, tokenizer.KeysOptions{Rows: rows, Special: special})
	return err
}

// plan matches a checkpoint's tensors with what its configuration asks for. An error names every kind of misfit at once,
// with the first few tensors of each: one by one would take as many attempts.
func plan(have []safetensors.Tensor, m *model, files []*outFile) ([]*job, error) {
	byName := make(map[string]safetensors.Tensor, len(have))
	for _, t := range have {
		byName[t.Name] = t
	}
	var jobs []*job
	var faults faultList
	for i, p := range m.parts {
		for _, e := range p.weights {
			t, ok := byName[e.hub]
			if !ok {
				faults.add("is missing", e.hub)
				continue
			}
			delete(byName, e.hub)
			if !slices.Equal(t.Shape, e.shape) {
				faults.add("has the wrong shape", fmt.Sprintf("%s: want %v, got %v", e.hub, e.shape, t.Shape))
				continue
			}
			from, err := elementType(t.DType)
			if err != nil {
				faults.add("has the wrong element type", fmt.Sprintf("%s: %v", e.hub, err))
				continue
			}
			j := &job{expected: e, part: i, from: from}
			j.aim(files)
			jobs = append(jobs, j)
		}
	}
	for name := range byName {
		if !m.skipped[name] && !ignorable(name) {
			faults.add("is unknown: config.json asks for no such weight", short([]byte(name)))
		}
	}
	return jobs, faults.err()
}

// aim finds the files that the tensor goes to, counts it there, and collects the types that it is to have.
func (j *job) aim(files []*outFile) {
	for _, f := range files {
		if f.part != j.part {
			continue
		}
		typ, wanted := f.scheme.pick(j.expected)
		at := slices.Index(j.types, typ)
		if at < 0 {
			at = len(j.types)
			j.types = append(j.types, typ)
		}
		t := &target{job: j, file: f, made: at}
		j.targets, f.targets = append(j.targets, t), append(f.targets, t)
		f.count(j.expected, typ, wanted)
	}
}

func (f *outFile) count(e expected, typ, wanted gguf.Type) {
	f.Tensors++
	f.Types[typ.String()]++
	if typ != wanted {
		f.Fallbacks = append(f.Fallbacks, Fallback{e.name, e.row(), wanted.String(), typ.String()})
	}
}

// scale is a logit_scale, whose bytes come when the weights are read; until then it is 0.
type scale struct {
	from gguf.Type
	raw  []byte
}

// findScale returns logit_scale if the weights have it, or nil.
func findScale(weights *safetensors.Checkpoint) (*scale, error) {
	t, there := weights.Tensor(logitScale)
	if !there {
		return nil, nil
	}
	from, err := elementType(t.DType)
	if err != nil {
		return nil, fmt.Errorf("tensor %s: %w", logitScale, err)
	}
	if t.Elements() != 1 {
		return nil, fmt.Errorf("tensor %s: want one number, got shape %v", logitScale, t.Shape)
	}
	return &scale{from, make([]byte, t.Size)}, nil
}

func (s *scale) value() (float32, error) {
	var v [1]float32
	if err := csrc.Dequantize(uint32(s.from), s.raw, v[:]); err != nil {
		return 0, fmt.Errorf("tensor %s: %w", logitScale, err)
	}
	if nonFinite(s.from, s.raw) >= 0 {
		return 0, fmt.Errorf("tensor %s is %v: the checkpoint is damaged, or training it failed", logitScale, v[0])
	}
	return v[0], nil
}

// faultList collects tensors by what is wrong with them.
type faultList []fault

type fault struct {
	what    string
	tensors []string
}

func (l *faultList) add(what, tensor string) {
	for i := range *l {
		if (*l)[i].what == what {
			(*l)[i].tensors = append((*l)[i].tensors, tensor)
			return
		}
	}
	*l = append(*l, fault{what, []string{tensor}})
}

func (l *faultList) err() error {
	const shown = 3
	var errs []error
	for _, f := range *l {
		slices.Sort(f.tensors) // the unknown ones come in no order
		text := strings.Join(f.tensors[:min(shown, len(f.tensors))], "; ")
		if more := len(f.tensors) - shown; more > 0 {
			text += fmt.Sprintf("; and %d more", more)
		}
		errs = append(errs, fmt.Errorf("tensor %s: %s", f.what, text))
	}
	return errors.Join(errs...)
}
