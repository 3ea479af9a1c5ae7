package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/bgevl/bgevl/bgevl"
)

// input is what every dialect makes of its body: one input is one vector.
type input struct {
	text        *string
	picture     *picture
	role        bgevl.Role
	instruction *string
	truncate    bool   // a text that is too long is cut; otherwise it fails the request
	param       string // where it stands in the body, for errors: "input[2]"
}

// picture is a picture that a client sent, or the URL of one, which embed fetches. It is made by newPicture, or from an
// upload as picture{data: upload}.
type picture struct {
	data []byte
	url  string
}

// embedded is what became of a request's inputs, all of which are good.
type embedded struct {
	results   []bgevl.Result // one an input, in order
	tokens    int            // of all inputs: those that were computed, so that what was cut does not count
	truncated []int          // indices of inputs whose text was cut
	warnings  []string       // each once, in order of appearance

	fetch, queue, compute time.Duration // how long each took, as far as the request waited for it
}

// embed computes a request's inputs. ctx is the request's: its client takes its turn in the queue, and what it waits for
// is dropped when it hangs up. One input that fails, fails the request with an *apiError whose param is the input's.
func (s *Server) embed(ctx context.Context, inputs []input) (*embedded, error) {
	if len(inputs) == 0 {
		return nil, &apiError{status: http.StatusBadRequest, code: codeEmpty, message: "no inputs"}
	}
	if len(inputs) > s.opt.MaxInputs {
		return nil, s.tooMany(len(inputs))
	}
	c := callOf(ctx)
	began := time.Now()
	if err := s.fetchPictures(ctx, c, inputs); err != nil {
		return nil, err
	}
	out := &embedded{fetch: time.Since(began)}
	in := make([]bgevl.Input, len(inputs))
	for i, x := range inputs {
		in[i] = bgevl.Input{Text: x.text, Role: x.role, Instruction: x.instruction}
		if x.picture != nil {
			in[i].Image = bgevl.ImageBytes(x.picture.data)
		}
	}
	j, err := s.queue.submit(ctx, c.client, in)
	if err != nil {
		return nil, err
	}
	out.results, out.queue, out.compute = j.results, j.queued, j.compute
	return out, out.summarize(inputs, s.model.Info().Context)
}

// tooMany refuses a request of n inputs. Dialects call it before they decode so many; embed looks again.
func (s *Server) tooMany(n int) *apiError {
	return &apiError{status: http.StatusRequestEntityTooLarge, code: codeTooMany,
		message: fmt.Sprintf("%d inputs, at most %d go into a request: send several", n, s.opt.MaxInputs)}
}

// summarize fills in what is said about all results, or fails with the first input that failed.
func (e *embedded) summarize(inputs []input, context int) error {
	for i, r := range e.results {
		if r.Err != nil {
			return inputFailure(r.Err, inputs[i].param)
		}
	}
	for i, r := range e.results {
		if r.Truncated && !inputs[i].truncate {
			return tooLong(r.Tokens, context, inputs[i].param)
		}
		e.results[i].Index = i // not the place in a batch
		tokens := r.Tokens
		if r.Truncated {
			tokens = min(tokens, context)
			e.truncated = append(e.truncated, i)
		}
		e.tokens += tokens
		if w := string(r.Warning); w != "" && !slices.Contains(e.warnings, w) {
			e.warnings = append(e.warnings, w)
		}
	}
	return nil
}

func tooLong(tokens, limit int, param string) *apiError {
	return &apiError{status: http.StatusBadRequest, code: codeTooLong, param: param,
		message: fmt.Sprintf("%d tokens, the model takes %d: shorten the text, or ask for truncation", tokens, limit)}
}

// inputFailure is what a client may know of why an input failed. The model's own words may hold a path or a part of a
// picture, so that none of them are passed on.
func inputFailure(err error, param string) error {
	bad := func(code errorCode, message string) *apiError {
		return &apiError{status: http.StatusBadRequest, code: code, param: param, message: message}
	}
	if long, ok := errors.AsType[*bgevl.TooLongError](err); ok {
		return tooLong(long.Tokens, long.Limit, param)
	}
	in, _ := errors.AsType[*bgevl.InputError](err)
	switch {
	case errors.Is(err, bgevl.ErrEmptyInput):
		return bad(codeEmpty, "neither a text nor an image")
	case errors.Is(err, bgevl.ErrTooLarge):
		return bad(codeImage, "the image has too many bytes or pixels, or too long a side")
	case errors.Is(err, bgevl.ErrImage):
		return bad(codeImage, "the image cannot be decoded: send a whole JPEG, PNG, GIF, WebP, BMP or TIFF")
	case errors.Is(err, bgevl.ErrNoProjector):
		return bad(codeImage, "this server's model was opened without its vision side: it embeds texts only")
	case errors.Is(err, bgevl.ErrNonFinite), errors.Is(err, bgevl.ErrZero):
		return &modelFailure{err, param}
	case in != nil && in.Operand == "instruction":
		return bad(codeInvalid, "the instruction cannot be used: candidates have none, and none may hold the image's token")
	case in != nil && in.Operand == "text":
		return bad(codeInvalid, "the text cannot be used with this model: beside an image it may not hold the image's token")
	case in != nil && in.Operand != "":
		return bad(codeImage, "the image cannot be used")
	}
	return &modelFailure{err, param}
}

// modelFailure is the failure of a model on an input that looked right. The log gets err, the client a fixed text.
type modelFailure struct {
	err   error
	param string
}

func (e *modelFailure) Error() string { return "server: model: " + e.err.Error() }
func (e *modelFailure) Unwrap() error { return e.err }
