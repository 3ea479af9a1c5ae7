package modelfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"

	"github.com/bgevl/bgevl/internal/gguf"
)

// Once computes a value once, for many goroutines; an attempt that failed, as one that was cancelled, does not count. The
// zero Once is ready.
type Once[T any] struct {
	mu   sync.Mutex
	done *T
}

// Get returns the value, by compute where there is none yet.
func (o *Once[T]) Get(compute func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done == nil {
		v, err := compute()
		if err != nil {
			var none T
			return none, err
		}
		o.done = &v
	}
	return *o.done, nil
}

// Describe returns what a file calls its model, the type that most bytes of its weights have, and how many weights there
// are. general.file_type is a number that not every writer sets; what most of the bytes are is always true.
func Describe(f *gguf.File) (name, typ string, parameters int64) {
	name, _ = f.String("general.name")
	bytes := map[gguf.Type]int64{}
	for _, t := range f.Tensors() {
		n := int64(1)
		for _, d := range t.Dims {
			n *= d
		}
		parameters += n
		bytes[t.Type] += t.Size
	}
	most := gguf.F32
	for t, n := range bytes {
		if n > bytes[most] || n == bytes[most] && t < most {
			most = t
		}
	}
	return name, strings.ToLower(most.String()), parameters
}

// WeightsDigest identifies a file's weights: the digest of the checkpoint that it was converted from, which the file
// states, or without that one over its tensors, for which the whole file is read.
func WeightsDigest(ctx context.Context, f *gguf.File) (string, error) {
	stated, err := f.String("bgevl.fingerprint")
	if errors.Is(err, gguf.ErrNoKey) {
		return tensorDigest(ctx, f)
	}
	return stated, err
}

// tensorDigest is over every tensor's name, type, shape and data.
func tensorDigest(ctx context.Context, f *gguf.File) (string, error) {
	const step = 8 << 20 // bytes hashed between two looks at ctx: a few milliseconds
	h := sha256.New()
	for _, t := range f.Tensors() {
		_, _ = fmt.Fprintf(h, "%q %d %v\n", t.Name, t.Type, t.Dims)
		for data := f.Data(t); len(data) > 0; data = data[min(step, len(data)):] {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			_, _ = h.Write(data[:min(step, len(data))])
		}
	}
	return "tensors:" + digest(h), nil
}

// TokenizerDigest is over the tokenizer.json that a file holds, or without it over the keys that take its place.
func TokenizerDigest(f *gguf.File) (string, error) {
	h := sha256.New()
	text, err := f.String("tokenizer.huggingface.json")
	if err == nil {
		_, _ = io.WriteString(h, text)
		return digest(h), nil
	}
	if !errors.Is(err, gguf.ErrNoKey) {
		return "", err
	}
	for _, key := range []string{"tokenizer.ggml.tokens", "tokenizer.ggml.merges"} {
		list, err := f.Strings(key)
		if err != nil && !errors.Is(err, gguf.ErrNoKey) {
			return "", err
		}
		for _, s := range list {
			_, _ = fmt.Fprintf(h, "%d:%s", len(s), s)
		}
		_, _ = fmt.Fprintln(h)
	}
	return digest(h), nil
}

// JSONDigest is over what a JSON text says, however it is written down: keys are sorted and spaces dropped.
func JSONDigest(text []byte) (string, error) {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return "", err
	}
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(value); err != nil {
		return "", err
	}
	return digest(h), nil
}

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
