package safetensors

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"
	// maxIndex bounds the index's text: 100,000 tensors take some 15 MB.
	maxIndex = 64 << 20
	// maxShards bounds the descriptors that a checkpoint can make the program hold.
	maxShards = 1000
)

// Checkpoint is the weights of a folder in the hub's layout: one file, or shards with an index. See the package's
// documentation for sharing and life.
type Checkpoint struct {
	dir     string
	files   []*File // by name
	tensors []place // by name
	close   func() error
}

// place is a tensor and the file that has it.
type place struct {
	file *File
	i    int32 // in file.tensors
}

func (p place) tensor() Tensor { return p.file.tensors[p.i] }

func (p place) name() string { return p.file.tensors[p.i].Name }

// OpenCheckpoint opens DIR/model.safetensors or, where there is none, DIR/model.safetensors.index.json and the shards
// that it names. The index must name plain .safetensors files in the folder, list every tensor of each shard under
// that shard, and nothing else. Links are followed inside the folder, and in the hub's own cache (snapshots/REVISION
// beside blobs) inside the cached repository; one that leads elsewhere is an error, as are content and the system's
// refusals by the rules of Open.
func OpenCheckpoint(dir string) (*Checkpoint, error) { return StreamCheckpoint(dir, nil) }

func openCheckpoint(dir string, streams map[string]Stream) (*Checkpoint, error) {
	root, err := openFolder(dir, streams)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	c := &Checkpoint{dir: dir}
	c.close = sync.OnceValue(func() error {
		var errs []error
		for _, f := range c.files {
			errs = append(errs, f.Close())
		}
		return errors.Join(errs...)
	})
	if err := c.load(root); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *Checkpoint) load(root *folder) error {
	f, err := root.safetensors(singleName)
	if err == nil {
		c.files = []*File{f}
		c.collect()
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	index, err := root.index()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("want %s or %s: %w", singleName, indexName, fs.ErrNotExist)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", indexName, err)
	}
	for _, shard := range index.shards() {
		f, err := root.safetensors(shard)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("shard %s, which %s names, is missing: %w", shard, indexName, err)
		}
		if err != nil {
			return err
		}
		c.files = append(c.files, f)
	}
	c.collect()
	return c.checkIndex(index)
}

// collect lists the tensors of all files by name.
func (c *Checkpoint) collect() {
	n := 0
	for _, f := range c.files {
		n += len(f.tensors)
	}
	c.tensors = make([]place, 0, n)
	for _, f := range c.files {
		for i := range f.tensors {
			c.tensors = append(c.tensors, place{f, int32(i)})
		}
	}
	slices.SortStableFunc(c.tensors, func(a, b place) int { return cmp.Compare(a.name(), b.name()) })
}

// checkIndex sees to it that index and shards say the same.
func (c *Checkpoint) checkIndex(index index) error {
	for i := 1; i < len(c.tensors); i++ {
		if a, b := c.tensors[i-1], c.tensors[i]; a.name() == b.name() {
			return malformed("tensor %s is in two shards, %s and %s", quote(a.name()), base(a.file), base(b.file))
		}
	}
	for _, m := range index {
		p, ok := c.find(m.tensor)
		if !ok {
			return malformed("tensor %s is missing: %s has it in %s", quote(m.tensor), indexName, m.shard)
		}
		if base(p.file) != m.shard {
			return malformed("tensor %s is in %s, but %s has it in %s", quote(m.tensor), base(p.file), indexName, m.shard)
		}
	}
	if len(index) == len(c.tensors) {
		return nil
	}
	for _, p := range c.tensors {
		if _, ok := slices.BinarySearchFunc(index, p.name(), func(m mapping, name string) int {
			return cmp.Compare(m.tensor, name)
		}); !ok {
			return malformed("tensor %s of %s is not in %s: they belong to different checkpoints", quote(p.name()), base(p.file), indexName)
		}
	}
	return nil
}

func base(f *File) string { return filepath.Base(f.name) }

func (c *Checkpoint) find(name string) (place, bool) {
	i, ok := slices.BinarySearchFunc(c.tensors, name, func(p place, name string) int { return cmp.Compare(p.name(), name) })
	if !ok {
		return place{}, false
	}
	return c.tensors[i], true
}

// Close closes all files. It may be called again, and returns the same.
func (c *Checkpoint) Close() error { return c.close() }

// Dir returns the folder that was opened.
func (c *Checkpoint) Dir() string { return c.dir }

// Files returns the files that hold the weights, by name: what a fingerprint of the weights is made of.
func (c *Checkpoint) Files() []*File { return slices.Clone(c.files) }

// Tensors returns all tensors by name. Offset counts in the file that holds the tensor. The slice is the caller's.
func (c *Checkpoint) Tensors() []Tensor {
	list := make([]Tensor, len(c.tensors))
	for i, p := range c.tensors {
		list[i] = p.tensor()
	}
	return list
}

// Tensor returns the tensor of that name.
func (c *Checkpoint) Tensor(name string) (Tensor, bool) {
	p, ok := c.find(name)
	if !ok {
		return Tensor{}, false
	}
	return p.tensor(), true
}

// Reader returns a reader of the tensor's bytes, as File.Reader does. It panics where t is no tensor of c.
func (c *Checkpoint) Reader(t Tensor) *io.SectionReader {
	p, ok := c.find(t.Name)
	if !ok {
		panic(fmt.Sprintf("safetensors: tensor %s of another checkpoint asked of %s", quote(t.Name), c.dir))
	}
	return p.file.Reader(p.tensor())
}

// mapping is one line of an index.
type mapping struct{ tensor, shard string }

// index is the weight map of a checkpoint, by tensor.
type index []mapping

// shards returns the files of the index, each once, by name.
func (x index) shards() []string {
	names := make([]string, len(x))
	for i, m := range x {
		names[i] = m.shard
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// parseIndex reads the text of an index, and keeps its weight map.
func parseIndex(text string) (index, error) {
	if !utf8.ValidString(text) {
		return nil, malformed("it is not UTF-8")
	}
	var x index
	seen := map[string]bool{}
	c := &cursor{text: text}
	err := c.object("the index", func(name string) error {
		if name != "weight_map" && name != "metadata" {
			return c.skip(0)
		}
		if seen[name] {
			return malformed("%s is there twice", name)
		}
		seen[name] = true
		if name == "metadata" {
			return c.skip(0)
		}
		x = make(index, 0, min(strings.Count(text, ":"), maxTensors))
		return c.object(name, func(tensor string) (err error) {
			x, err = x.add(c, tensor)
			return err
		})
	})
	if err == nil {
		err = c.end()
	}
	if err == nil && !seen["weight_map"] {
		err = malformed("it has no weight_map")
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(x, func(a, b mapping) int { return cmp.Compare(a.tensor, b.tensor) })
	for i := 1; i < len(x); i++ {
		if x[i].tensor == x[i-1].tensor {
			return nil, malformed("tensor %s is in weight_map twice", quote(x[i].tensor))
		}
	}
	if n := len(x.shards()); n > maxShards {
		return nil, malformed("it names %d shards: want at most %d", n, maxShards)
	}
	return x, nil
}

func (x index) add(c *cursor, tensor string) (index, error) {
	shard, err := c.str("the shard of tensor " + quote(tensor))
	if err != nil {
		return x, err
	}
	if err := checkName(tensor); err != nil {
		return x, malformed("tensor %s has no valid name: %v", quote(tensor), err)
	}
	if !plainName(shard) {
		return x, malformed("tensor %s: shard %s: want the plain name of a .safetensors file in the folder", quote(tensor), quote(shard))
	}
	if len(x) == maxTensors {
		return x, malformed("there are more than %d tensors", maxTensors)
	}
	return append(x, mapping{tensor, shard}), nil
}

// plainName accepts only what names a file in the folder on every system: separators, drives and devices do not pass.
func plainName(name string) bool {
	const suffix = ".safetensors"
	if checkName(name) != nil || !strings.HasSuffix(name, suffix) || len(name) == len(suffix) || len(name) > 255 {
		return false
	}
	return !strings.ContainsAny(name, `/\:`) && filepath.IsLocal(name)
}

// folder opens files by plain names and never anything outside of a root.
type folder struct {
	root    *os.Root
	within  string // from the root to the folder
	dir     string // as the caller named it
	streams map[string]Stream
}

// openFolder takes the folder itself as the root, or the cached repository where the folder is a snapshot in the hub's
// cache: its files are links to ../../blobs.
func openFolder(dir string, streams map[string]Stream) (*folder, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	top, within := real, "."
	snapshots := filepath.Dir(real)
	repo := filepath.Dir(snapshots)
	if filepath.Base(snapshots) == "snapshots" {
		if info, err := os.Stat(filepath.Join(repo, "blobs")); err == nil && info.IsDir() {
			top, within = repo, filepath.Join("snapshots", filepath.Base(real))
		}
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	return &folder{root, within, dir, streams}, nil
}

func (d *folder) Close() error { return d.root.Close() }

// open opens a regular file of the folder.
func (d *folder) open(name string) (*os.File, error) {
	path := filepath.Join(d.within, name)
	info, err := d.root.Stat(path) // before opening, which waits for a writer where it is a pipe
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, malformed("%s: want a regular file, got %s", name, info.Mode())
	}
	return d.root.Open(path)
}

func (d *folder) safetensors(name string) (*File, error) {
	path := filepath.Join(d.dir, name)
	if s, ok := d.streams[name]; ok {
		f, err := openStream(s, path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return f, nil
	}
	file, err := d.open(name)
	if err != nil {
		return nil, err
	}
	f, err := fromFile(file, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func (d *folder) index() (index, error) {
	file, err := d.open(indexName)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxIndex {
		return nil, malformed("it has %d bytes: want at most %d", info.Size(), maxIndex)
	}
	text, err := readText(file, 0, info.Size())
	if err != nil {
		return nil, err
	}
	return parseIndex(text)
}
