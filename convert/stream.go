package convert

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"

	"golang.org/x/sync/errgroup"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/safetensors"
)

const (
	// chunkElements is how much of a tensor is read, quantised and written at a time: whole blocks of every type, which
	// are quantised each on its own, so that the cut shows nowhere; and enough to make the hand-over cheap.
	chunkElements = 1 << 18
	// maxSlots and maxBuffers bound the chunks under way, of a number and of bytes: with the rest of the program, peak
	// memory stays below 300 MB on a machine with any number of processors and for any number of types.
	maxSlots   = 32
	maxBuffers = 96 << 20
)

// job is one tensor to write, to one file or more.
type job struct {
	expected
	part    int
	source  safetensors.Tensor
	from    gguf.Type   // the source's element type
	types   []gguf.Type // what is made of it, each once
	targets []target
}

// target is a file that a tensor goes to.
type target struct {
	file *outFile
	typ  int // index into the job's types
}

// slot is a chunk on its way from the checkpoint to the files. Slots are used again, so that memory stays bounded.
type slot struct {
	job   *job
	first int64 // element of the tensor
	raw   []byte
	wide  []float32
	made  [][]byte // room for each of the job's types
	outs  [][]byte // what to write of each type: raw itself where nothing changes
	done  chan error
}

// stream writes all jobs, in order. read is called by one goroutine, for the bytes of each tensor in turn.
type stream struct {
	jobs     []job
	read     func(*job) io.Reader
	threads  int
	progress func(Progress)
	prints   []*fingerprint // of each part
}

// run reads chunks in order on one goroutine, converts them on several, and writes them in order on another.
func (s *stream) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	slots := s.slots()
	free, work, order := make(chan *slot, slots), make(chan *slot, slots), make(chan *slot, slots)
	for range slots {
		free <- &slot{done: make(chan error, 1)}
	}
	group.Go(func() error {
		defer close(work)
		defer close(order)
		return s.readAll(ctx, free, work, order)
	})
	for range min(s.threads, slots) {
		group.Go(func() error {
			for one := range work {
				one.done <- one.convert()
			}
			return nil
		})
	}
	group.Go(func() error { return s.writeAll(ctx, order, free) })
	return group.Wait()
}

// slots returns how many chunks may be under way: as many as keep all threads busy, within bounds.
func (s *stream) slots() int {
	most := 0 // types that one tensor is made into
	for i := range s.jobs {
		most = max(most, len(s.jobs[i].types))
	}
	const widest = 4 // bytes that an element takes at most, in any of a slot's buffers
	return min(2*s.threads+2, maxSlots, max(2, maxBuffers/(chunkElements*widest*(2+most))))
}

func (s *stream) readAll(ctx context.Context, free <-chan *slot, work, order chan<- *slot) error {
	for i := range s.jobs {
		j := &s.jobs[i]
		r, print := s.read(j), s.prints[j.part]
		print.begin(j)
		for first := int64(0); first < j.elements(); first += chunkElements {
			var one *slot
			select {
			case one = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			one.job, one.first = j, first
			one.raw = sized(one.raw, min(chunkElements, j.elements()-first)*j.from.TypeSize())
			if _, err := io.ReadFull(r, one.raw); err != nil {
				return fmt.Errorf("tensor %s: read: %w", j.hub, err)
			}
			print.add(one.raw)
			// Neither can block: there are no more slots than either has room for.
			work <- one
			order <- one
		}
	}
	return nil
}

func (s *stream) writeAll(ctx context.Context, order <-chan *slot, free chan<- *slot) error {
	var writers []io.Writer // to each of the tensor's targets
	var done, total int64
	for i := range s.jobs {
		total += s.jobs[i].elements() * s.jobs[i].from.TypeSize()
	}
	for one := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := <-one.done; err != nil {
			return fmt.Errorf("tensor %s: %w", one.job.hub, err)
		}
		var err error
		if writers, err = one.write(writers); err != nil {
			return err
		}
		done += int64(len(one.raw))
		if s.progress != nil {
			s.progress(Progress{Tensor: one.job.name, Done: done, Total: total})
		}
		free <- one
	}
	return nil
}

// write writes the chunk to all files. The writers are those of the tensor's chunk before, if there was one.
func (s *slot) write(writers []io.Writer) ([]io.Writer, error) {
	if s.first == 0 {
		writers = writers[:0]
		for _, to := range s.job.targets {
			w, err := to.file.sink.WriteTensor(s.job.name)
			if err != nil {
				return nil, err
			}
			writers = append(writers, w)
		}
	}
	for i, to := range s.job.targets {
		if _, err := writers[i].Write(s.outs[to.typ]); err != nil {
			return nil, err
		}
	}
	return writers, nil
}

// sized returns a slice of n elements, b itself if that has room.
func sized[T any](b []T, n int64) []T {
	if int64(cap(b)) < n {
		return make([]T, n)
	}
	return b[:n]
}

// convert turns raw into outs, and refuses what a written type cannot hold.
func (s *slot) convert() error {
	from := s.job.from
	if i := nonFinite(from, s.raw); i >= 0 {
		return fmt.Errorf("element %d is %v: the checkpoint is damaged, or training it failed", s.first+i, s.value(i))
	}
	n := int64(len(s.raw)) / from.TypeSize()
	s.wide = sized(s.wide, n)
	widened := false
	for len(s.made) < len(s.job.types) {
		s.made = append(s.made, nil)
	}
	s.outs = s.outs[:0]
	for k, to := range s.job.types {
		if to == from {
			s.outs = append(s.outs, s.raw)
			continue
		}
		if !widened {
			widened = true
			if err := csrc.Dequantize(uint32(from), s.raw, s.wide); err != nil {
				return err
			}
		}
		if i := pastLimit(s.wide, csrc.Limit(uint32(to))); i >= 0 {
			return fmt.Errorf("element %d is %g, which %s cannot hold: use f32 or bf16", s.first+int64(i), s.wide[i], to)
		}
		s.made[k] = sized(s.made[k], n/to.BlockSize()*to.TypeSize())
		// Nothing here depends on where a row ends, as every row is whole blocks.
		if err := csrc.Quantize(uint32(to), s.wide, n, s.made[k]); err != nil {
			return err
		}
		s.outs = append(s.outs, s.made[k])
	}
	return nil
}

// value returns an element of raw as an error shows it.
func (s *slot) value(i int64) float32 {
	size := s.job.from.TypeSize()
	var v [1]float32
	if err := csrc.Dequantize(uint32(s.job.from), s.raw[i*size:(i+1)*size], v[:]); err != nil {
		return float32(math.NaN())
	}
	return v[0]
}

// nonFinite returns the index of the first NaN or infinity in raw elements of a float type, or -1.
func nonFinite(t gguf.Type, raw []byte) int64 {
	if t == gguf.F32 {
		for i := 0; i+4 <= len(raw); i += 4 {
			if binary.LittleEndian.Uint32(raw[i:])&0x7f800000 == 0x7f800000 {
				return int64(i / 4)
			}
		}
		return -1
	}
	exponent := uint16(0x7c00)
	if t == gguf.BF16 {
		exponent = 0x7f80
	}
	for i := 0; i+2 <= len(raw); i += 2 {
		if binary.LittleEndian.Uint16(raw[i:])&exponent == exponent {
			return int64(i / 2)
		}
	}
	return -1
}

// pastLimit returns the index of the first value whose magnitude exceeds the limit, or -1.
func pastLimit(x []float32, limit float32) int {
	for i, v := range x {
		if v > limit || v < -limit {
			return i
		}
	}
	return -1
}

// fingerprint identifies the weights of a part of a checkpoint: a SHA-256 over each weight's GGUF name, element type,
// shape and bytes, in the order of the GGUF file (that of rows too). It is computed while the weights stream past, so that
// nothing is read twice; it doesn't depend on how the checkpoint is sharded or names its weights, on tensors that aren't
// converted, or on the type that is written.
type fingerprint struct{ sum hash.Hash }

func newFingerprint() *fingerprint { return &fingerprint{sha256.New()} }

func (f *fingerprint) begin(j *job) {
	_, _ = fmt.Fprintf(f.sum, "%s %s %v\n", j.name, j.from, j.shape) // a hash never fails
}

func (f *fingerprint) add(raw []byte) { _, _ = f.sum.Write(raw) }

func (f *fingerprint) hex() string { return hex.EncodeToString(f.sum.Sum(nil)) }

// elementType returns the GGUF type of a source's elements.
func elementType(d safetensors.DType) (gguf.Type, error) {
	switch d {
	case "F32":
		return gguf.F32, nil
	case "F16":
		return gguf.F16, nil
	case "BF16":
		return gguf.BF16, nil
	}
	return 0, errors.New("want F32, F16 or BF16, got " + string(d))
}
