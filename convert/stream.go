package convert

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
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
	from    gguf.Type   // the source's element type
	types   []gguf.Type // what is made of it, each once
	targets []*target
	sum     []byte // SHA-256 of the source's bytes, once they have been read
}

// place returns where in the written tensor an element of the source goes, and how many follow it there.
func (j *job) place(element int64) (at, run int64) {
	if j.heads == 0 {
		return element, j.elements() - element
	}
	row, within := element/j.row(), element%j.row()
	return pairedRow(row, j.shape[0]/j.heads)*j.row() + within, j.row() - within
}

// target is a tensor's place in a file.
type target struct {
	job  *job
	file *outFile
	made int   // index into the job's types
	at   int64 // in the file
}

func (t *target) typ() gguf.Type { return t.job.types[t.made] }

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

// stream writes all jobs. The checkpoint's files are read one after another from their beginning to their end, each byte
// once, so that they may as well come from a network.
type stream struct {
	src      *checkpoint
	jobs     []*job
	threads  int
	progress func(Progress)
}

// queues are the ways of slots: free, then at work and in order until written, and free again.
type queues struct{ free, work, order chan *slot }

// run reads chunks on one goroutine, converts them on several, and writes them in the order of reading on another.
func (s *stream) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	slots := s.slots()
	q := &queues{make(chan *slot, slots), make(chan *slot, slots), make(chan *slot, slots)}
	for range slots {
		q.free <- &slot{done: make(chan error, 1)}
	}
	group.Go(func() error {
		defer close(q.work)
		defer close(q.order)
		return s.readAll(ctx, q)
	})
	for range min(s.threads, slots) {
		group.Go(func() error {
			for one := range q.work {
				one.done <- one.convert()
			}
			return nil
		})
	}
	group.Go(func() error { return s.writeAll(ctx, q) })
	return group.Wait()
}

// slots returns how many chunks may be under way: as many as keep all threads busy, within bounds.
func (s *stream) slots() int {
	most := 0 // types that one tensor is made into
	for _, j := range s.jobs {
		most = max(most, len(j.types))
	}
	const widest = 4 // bytes that an element takes at most, in any of a slot's buffers
	return min(2*s.threads+2, maxSlots, max(2, maxBuffers/(chunkElements*widest*(2+most))))
}

func (s *stream) readAll(ctx context.Context, q *queues) error {
	// A read that waits for a network ends when nobody needs it any more.
	defer context.AfterFunc(ctx, func() { _ = s.src.weights.Close() })()
	jobs := make(map[string]*job, len(s.jobs))
	for _, j := range s.jobs {
		jobs[j.hub] = j
	}
	for _, f := range s.src.weights.Files() {
		if err := s.readFile(ctx, f, jobs, q); err != nil {
			return cmp.Or(ctx.Err(), err)
		}
	}
	return nil
}

func (s *stream) readFile(ctx context.Context, f *safetensors.File, jobs map[string]*job, q *queues) error {
	r := f.Data()
	for _, t := range f.Tensors() {
		var err error
		switch j := jobs[t.Name]; {
		case j != nil:
			err = s.readTensor(ctx, r, j, q)
		case t.Name == logitScale && s.src.scale != nil:
			_, err = io.ReadFull(r, s.src.scale.raw)
		default:
			err = skip(r, t.Size)
		}
		if err != nil {
			return fmt.Errorf("tensor %s: read: %w", t.Name, err)
		}
	}
	// A download has its digest checked at its end.
	_, err := io.Copy(io.Discard, r)
	return err
}

func (s *stream) readTensor(ctx context.Context, r io.Reader, j *job, q *queues) error {
	sum := sha256.New()
	for first := int64(0); first < j.elements(); first += chunkElements {
		var one *slot
		select {
		case one = <-q.free:
		case <-ctx.Done():
			return ctx.Err()
		}
		one.job, one.first = j, first
		one.raw = sized(one.raw, min(chunkElements, j.elements()-first)*j.from.TypeSize())
		if _, err := io.ReadFull(r, one.raw); err != nil {
			return err
		}
		_, _ = sum.Write(one.raw) // a hash never fails
		// Neither can block: there are no more slots than either has room for.
		q.work <- one
		q.order <- one
	}
	j.sum = sum.Sum(nil)
	return nil
}

// skip passes over bytes, without reading them where that is possible.
func skip(r io.Reader, n int64) error {
	if s, ok := r.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekCurrent)
		return err
	}
	_, err := io.CopyN(io.Discard, r, n)
	return err
}

func (s *stream) writeAll(ctx context.Context, q *queues) error {
	var done, total int64
	for _, j := range s.jobs {
		total += j.elements() * j.from.TypeSize()
	}
	for one := range q.order {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := <-one.done; err != nil {
			return fmt.Errorf("tensor %s: %w", one.job.hub, err)
		}
		for _, t := range one.job.targets {
			if err := one.write(t); err != nil {
				return fmt.Errorf("write %s: %w", t.file.Path, err)
			}
		}
		done += int64(len(one.raw))
		if s.progress != nil {
			s.progress(Progress{Tensor: one.job.name, Done: done, Total: total})
		}
		q.free <- one
	}
	return nil
}

// write puts the chunk to its place in a file, row by row where rows are put in another order: blocks of all types end
// where rows do.
func (s *slot) write(t *target) error {
	typ, out := t.typ(), s.outs[t.made]
	bytes := func(elements int64) int64 { return elements / typ.BlockSize() * typ.TypeSize() }
	n := int64(len(s.raw)) / s.job.from.TypeSize()
	for done := int64(0); done < n; {
		at, run := s.job.place(s.first + done)
		run = min(run, n-done)
		if _, err := t.file.output.file.WriteAt(out[bytes(done):bytes(done+run)], t.at+bytes(at)); err != nil {
			return err
		}
		done += run
	}
	return nil
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

// fingerprint identifies the weights of a part of a checkpoint: a SHA-256 over a line for each weight, in the order of the
// GGUF file, with its GGUF name, element type, shape and the SHA-256 of its bytes. Those are computed while the weights
// stream past, so that nothing is read twice; it doesn't depend on how the checkpoint is sharded or names its weights, on
// the order in which they come, on tensors that aren't converted, or on the type that is written.
func fingerprint(jobs []*job, part int) string {
	all := sha256.New()
	for _, j := range jobs {
		if j.part == part {
			_, _ = fmt.Fprintf(all, "%s %s %v %x\n", j.name, j.from, j.shape, j.sum) // a hash never fails
		}
	}
	return hex.EncodeToString(all.Sum(nil))
}

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
