package gguf

import (
	"cmp"
	"slices"
)

// Summary is what a file holds, in numbers.
type Summary struct {
	Version    uint32      `json:"version"`
	Alignment  int64       `json:"alignment"`
	FileSize   int64       `json:"file_size"`
	Keys       int         `json:"keys"`
	Tensors    int         `json:"tensors"`
	Parameters int64       `json:"parameters"` // elements of all tensors
	DataSize   int64       `json:"data_size"`  // bytes of all tensors, without padding
	Types      []TypeTotal `json:"types"`      // the type with most bytes first
}

// TypeTotal is what a file holds of one type.
type TypeTotal struct {
	Type       string `json:"type"`
	Tensors    int    `json:"tensors"`
	Parameters int64  `json:"parameters"`
	Bytes      int64  `json:"bytes"`
}

// Summary adds up what the file holds.
func (f *File) Summary() Summary {
	s := Summary{Version: f.version, Alignment: f.alignment, FileSize: f.size, Keys: len(f.entries), Tensors: len(f.tensors)}
	totals := map[Type]*TypeTotal{}
	for _, t := range f.tensors {
		total := totals[t.Type]
		if total == nil {
			total = &TypeTotal{Type: t.Type.String()}
			totals[t.Type] = total
		}
		n := t.Elements()
		total.Tensors++
		total.Parameters += n
		total.Bytes += t.Size
		s.Parameters += n
		s.DataSize += t.Size
	}
	s.Types = make([]TypeTotal, 0, len(totals))
	for _, total := range totals {
		s.Types = append(s.Types, *total)
	}
	slices.SortFunc(s.Types, func(a, b TypeTotal) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Type, b.Type))
	})
	return s
}
