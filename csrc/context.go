package csrc

// #include "bge.h"
import "C"

import (
	"context"
	"runtime"
	"sync"
	"unsafe"
)

// ContextOptions says how a Context computes. The zero value uses every processor.
type ContextOptions struct {
	Threads int // 0: one for each processor
}

// Context holds the threads and buffers of one caller. It serves one call at a time: calls made together wait for each
// other. It lives until Close.
type Context struct {
	mu      sync.Mutex // held by a call, and guards handle
	handle  *C.bge_context
	cleanup runtime.Cleanup
}

// NewContext makes a context of the model. It fails with ErrArgument where the model is closed.
func (m *Model) NewContext(o ContextOptions) (*Context, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.handle == nil {
		return nil, argumentError("the model is closed")
	}
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	n, err := int32s("number of threads", threads)
	if err != nil {
		return nil, err
	}
	params := C.bge_context_params{struct_size: C.sizeof_bge_context_params, n_threads: n[0]}
	var handle *C.bge_context
	var e C.bge_error
	if err := errorOf(C.bge_context_new(m.handle, &params, &handle, &e), &e); err != nil {
		return nil, err
	}
	c := &Context{handle: handle}
	c.cleanup = runtime.AddCleanup(c, func(h *C.bge_context) { C.bge_context_free(h) }, handle)
	return c, nil
}

// EncodeText writes the projected, not normalised features of a batch of token rows to dst, Projection floats a row.
//
// ids holds the rows one after another, lengths[i] tokens for row i, and pool[i] is the position in row i whose state
// is projected. A row's features do not depend on the rows beside it.
func (c *Context) EncodeText(ctx context.Context, ids, lengths, pool []int32, dst []float32) error {
	if len(pool) != len(lengths) {
		return argumentError("EncodeText: each row has one length and one pooled position")
	}
	return c.call(ctx, func(h *C.bge_context, e *C.bge_error) C.int32_t {
		return C.bge_clip_encode_text(h, ints(ids), C.int64_t(len(ids)), ints(lengths), ints(pool),
			C.int64_t(len(lengths)), floats(dst), C.int64_t(len(dst)), e)
	})
}

// EncodeImage writes the projected, not normalised features of n images to dst, Projection floats each. pixels holds n
// planes of [3][ImageSize][ImageSize], already normalised.
func (c *Context) EncodeImage(ctx context.Context, pixels []float32, n int, dst []float32) error {
	return c.call(ctx, func(h *C.bge_context, e *C.bge_error) C.int32_t {
		return C.bge_clip_encode_image(h, floats(pixels), C.int64_t(len(pixels)), C.int64_t(n), floats(dst),
			C.int64_t(len(dst)), e)
	})
}

// ints and floats give C the memory of a slice for one call; nil for an empty one.
func ints(s []int32) *C.int32_t   { return (*C.int32_t)(unsafe.SliceData(s)) }
func floats(s []float32) *C.float { return (*C.float)(unsafe.SliceData(s)) }

// call runs one C call, which stops within one operation when ctx is cancelled.
func (c *Context) call(ctx context.Context, run func(*C.bge_context, *C.bge_error) C.int32_t) error {
	if err := ctx.Err(); err != nil {
		return cancelled(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == nil {
		return argumentError("the context is closed")
	}
	handle, asked := c.handle, make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		C.bge_context_cancel(handle, 1)
		close(asked)
	})
	var e C.bge_error
	err := errorOf(run(handle, &e), &e)
	if !stop() {
		<-asked // the flag must not be set after it is taken back
		C.bge_context_cancel(handle, 0)
		if err != nil {
			return cancelled(ctx.Err())
		}
	}
	return err
}

func cancelled(cause error) error {
	return &Error{Code: CodeCancelled, Message: "the call was cancelled: " + cause.Error(), cause: cause}
}

// Bytes returns the memory of the context's buffers, which grow to the largest batch it has seen.
func (c *Context) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == nil {
		return 0
	}
	return int64(C.bge_context_bytes(c.handle))
}

// Close waits for the running call and gives the context back. It may be called again.
func (c *Context) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == nil {
		return
	}
	c.cleanup.Stop()
	C.bge_context_free(c.handle)
	c.handle = nil
}
