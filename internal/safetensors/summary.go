package safetensors

import (
	"cmp"
	"slices"
)

// Summary is what a file or checkpoint holds, in numbers.
type Summary struct {
	Files      int         `json:"files"`
	FileSize   int64       `json:"file_size"` // of all files
	Tensors    int         `json:"tensors"`
	Parameters int64       `json:"parameters"` // elements of all tensors
	DataSize   int64       `json:"data_size"`  // bytes of all tensors
	Types      []TypeTotal `json:"types"`      // the type with most bytes first
}

// TypeTotal is what a file or checkpoint holds of one element type.
type TypeTotal struct {
	DType      DType `json:"dtype"`
	Tensors    int   `json:"tensors"`
	Parameters int64 `json:"parameters"`
	Bytes      int64 `json:"bytes"`
}

// Summary adds up what the file holds.
func (f *File) Summary() Summary { return summarize(f) }

// Summary adds up what all files of the checkpoint hold.
func (c *Checkpoint) Summary() Summary { return summarize(c.files...) }

func summarize(files ...*File) Summary {
	s := Summary{Files: len(files), Types: []TypeTotal{}}
	totals := map[DType]TypeTotal{}
	for _, f := range files {
		s.FileSize += f.size
		s.Tensors += len(f.tensors)
		for _, t := range f.tensors {
			n := t.Elements()
			total := totals[t.DType]
			totals[t.DType] = TypeTotal{t.DType, total.Tensors + 1, total.Parameters + n, total.Bytes + t.Size}
			s.Parameters += n
			s.DataSize += t.Size
		}
	}
	for _, total := range totals {
		s.Types = append(s.Types, total)
	}
	slices.SortFunc(s.Types, func(a, b TypeTotal) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.DType, b.DType))
	})
	return s
}
