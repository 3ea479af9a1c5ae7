package hub

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

const (
	singleWeights = "model.safetensors"
	indexFile     = "model.safetensors.index.json"
	maxIndex      = 64 << 20
)

// small lists what a checkpoint has beside its weights, as far as bgevl convert reads it.
func small() []string {
	return []string{
		"config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
		"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
		"vocab.json", "merges.txt", "tokenizer.model",
	}
}

// allowed lists the suffixes of files that can be pulled: data, and nothing that anybody executes or unpickles.
func allowed() []string {
	return []string{".json", ".txt", ".model", ".safetensors", ".gguf", ".md", ".jinja"}
}

// choose returns the files of a repository that a model needs. Patterns, where given, name GGUF files or any others; without
// them it is the checkpoint, or the only model in GGUF. check refuses a file; read returns the content of a small one.
func choose(files []File, patterns []string, check func(File) error, read func(File) ([]byte, error)) ([]File, error) {
	var wanted []File
	var err error
	switch {
	case len(patterns) > 0:
		wanted, err = match(files, patterns)
	case find(files, "config.json") != nil && (find(files, singleWeights) != nil || find(files, indexFile) != nil):
		wanted, err = checkpoint(files, check, read)
	default:
		wanted, err = onlyGGUF(files)
	}
	if err != nil {
		return nil, err
	}
	// Weights come last, so that what is small is there when the large files begin, and a model after its projector.
	slices.SortStableFunc(wanted, func(a, b File) int { return weight(a) - weight(b) })
	for _, f := range wanted {
		if err := check(f); err != nil {
			return nil, err
		}
	}
	return wanted, checkTogether(wanted)
}

func weight(f File) int {
	switch ext := path.Ext(f.Path); {
	case ext == ".gguf" && projector(f):
		return 1
	case ext == ".safetensors" || ext == ".gguf":
		return 2
	}
	return 0
}

func find(files []File, name string) *File {
	for i := range files {
		if files[i].Path == name {
			return &files[i]
		}
	}
	return nil
}

// checkpoint chooses the files of a checkpoint at the repository's top.
func checkpoint(files []File, check func(File) error, read func(File) ([]byte, error)) ([]File, error) {
	var wanted []File
	for _, name := range small() {
		if f := find(files, name); f != nil {
			wanted = append(wanted, *f)
		}
	}
	if f := find(files, singleWeights); f != nil { // as the reader of checkpoints does, which then reads no index
		return append(wanted, *f), nil
	}
	index := *find(files, indexFile)
	if err := check(index); err != nil {
		return nil, err
	}
	if index.Size > maxIndex {
		return nil, failf(ErrProtocol, "%s: it has %d bytes: want at most %d", indexFile, index.Size, maxIndex)
	}
	text, err := read(index)
	if err != nil {
		return nil, err
	}
	shards, err := shardsOf(text)
	if err != nil {
		return nil, err
	}
	wanted = append(wanted, index)
	for _, name := range shards {
		f := find(files, name)
		if f == nil {
			return nil, failf(ErrNotFound, "shard %s, which %s names, is missing", quote(name), indexFile)
		}
		wanted = append(wanted, *f)
	}
	return wanted, nil
}

// shardsOf returns the files that an index names, each once. Only plain names of .safetensors files pass.
func shardsOf(text []byte) ([]string, error) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, failf(ErrProtocol, "%s: %v", indexFile, err)
	}
	var shards []string
	for _, name := range index.WeightMap {
		if strings.ContainsRune(name, '/') || path.Ext(name) != ".safetensors" {
			return nil, failf(ErrName, "%s: shard %s: want the plain name of a .safetensors file", indexFile, quote(name))
		}
		if err := checkFile(name); err != nil {
			return nil, fmt.Errorf("%s: shard: %w", indexFile, err)
		}
		shards = append(shards, name)
	}
	slices.Sort(shards)
	shards = slices.Compact(shards)
	if len(shards) == 0 {
		return nil, failf(ErrProtocol, "%s names no weights", indexFile)
	}
	return shards, nil
}

// match returns the files that patterns (those of path.Match, against the path or the name alone) name, and to a model in
// GGUF its projector.
func match(files []File, patterns []string) ([]File, error) {
	var wanted []File
	for _, p := range patterns {
		found := false
		for _, f := range files {
			whole, err := path.Match(p, f.Path)
			if err != nil {
				return nil, failf(ErrName, "pattern %s: %v", quote(p), err)
			}
			name, _ := path.Match(p, path.Base(f.Path))
			if !whole && !name && f.Path != p {
				continue
			}
			found = true
			if !slices.Contains(allowed(), path.Ext(f.Path)) {
				return nil, failf(ErrName, "file %s: want one that ends in %s", quote(f.Path), strings.Join(allowed(), ", "))
			}
			if !slices.Contains(wanted, f) {
				wanted = append(wanted, f)
			}
		}
		if !found {
			return nil, failf(ErrNotFound, "no file is called %s: it has %s", quote(p), some(files))
		}
	}
	return withProjector(files, wanted), nil
}

// onlyGGUF returns the one model that a repository has as a GGUF file.
func onlyGGUF(files []File) ([]File, error) {
	var models []File
	for _, f := range files {
		if path.Ext(f.Path) == ".gguf" && !projector(f) {
			models = append(models, f)
		}
	}
	switch {
	case len(models) == 1:
		return withProjector(files, models), nil
	case len(models) > 1:
		return nil, failf(ErrChoice, "it has several models: choose one with --file: %s", some(models))
	}
	return nil, failf(ErrChoice, "it has neither config.json with %s (or its index) nor a GGUF file", singleWeights)
}

func projector(f File) bool { return strings.HasPrefix(path.Base(f.Path), "mmproj") }

// withProjector adds to a model in GGUF the projector beside it: the one named after it, or the only one.
func withProjector(files, wanted []File) []File {
	if slices.ContainsFunc(wanted, projector) {
		return wanted
	}
	out := slices.Clone(wanted)
	for _, model := range wanted {
		if path.Ext(model.Path) != ".gguf" {
			continue
		}
		var beside []File
		for _, f := range files {
			if path.Ext(f.Path) != ".gguf" || !projector(f) || path.Dir(f.Path) != path.Dir(model.Path) {
				continue
			}
			if path.Base(f.Path) == "mmproj-"+path.Base(model.Path) {
				beside = []File{f}
				break
			}
			beside = append(beside, f)
		}
		if len(beside) == 1 && !slices.Contains(out, beside[0]) {
			out = append(out, beside[0])
		}
	}
	return out
}

// some lists a few names.
func some(files []File) string {
	const most = 12
	var names []string
	for _, f := range files[:min(most, len(files))] {
		names = append(names, quote(f.Path))
	}
	if len(files) > most {
		names = append(names, fmt.Sprintf("and %d more", len(files)-most))
	}
	if len(names) == 0 {
		return "no files"
	}
	return strings.Join(names, ", ")
}
