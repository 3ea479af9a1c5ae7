package clip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/bgevl/bgevl/internal/gguf"
)

// Identity is what a model's features depend on, as digests that may be compared.
type Identity struct {
	Weights       string // digest of the checkpoint that the file was converted from, else of the file's tensors
	Type          string // type of the weights
	Tokenizer     string // digest
	Preprocessing string // digest of how a picture becomes pixels, however it is written down
	Pooling       string // which position of a text is projected
}

// identityOnce computes an Identity once; an attempt that failed, as one that was cancelled, does not count.
type identityOnce struct {
	mu   sync.Mutex
	done *Identity
}

// Identity returns what the model's features depend on. The first call may read the whole file: for files of other
// converters, which state no digest of their source. It fails with ErrClosed on a closed Model.
func (m *Model) Identity(ctx context.Context) (Identity, error) {
	m.identity.mu.Lock()
	defer m.identity.mu.Unlock()
	if m.identity.done != nil {
		return *m.identity.done, nil
	}
	var id Identity
	err := m.res.withFile(func(f *gguf.File) (err error) {
		id, err = readIdentity(ctx, f, m.params, m.info.Type)
		return err
	})
	if err != nil {
		return Identity{}, err
	}
	m.identity.done = &id
	return id, nil
}

func readIdentity(ctx context.Context, f *gguf.File, p *params, typ string) (Identity, error) {
	id := Identity{Type: typ, Pooling: fmt.Sprintf("first position of id %d", p.eos)}
	if p.eos == openaiEOS {
		id.Pooling = "position of the largest id"
	}
	_, text, err := preprocessor(f, p)
	if err != nil {
		return id, err
	}
	var config any
	if err := json.Unmarshal(text, &config); err != nil {
		return id, &KeyError{Key: preprocessKey, Reason: err.Error(), Err: err}
	}
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(config); err != nil { // keys sorted, spaces dropped
		return id, err
	}
	id.Preprocessing = digest(h)
	if id.Tokenizer, err = tokenizerDigest(f); err != nil {
		return id, err
	}
	id.Weights, err = f.String("bgevl.fingerprint")
	if errors.Is(err, gguf.ErrNoKey) {
		id.Weights, err = tensorDigest(ctx, f)
	}
	return id, err
}

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// tokenizerDigest is over the tokenizer.json, or without it over the keys that take its place.
func tokenizerDigest(f *gguf.File) (string, error) {
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
