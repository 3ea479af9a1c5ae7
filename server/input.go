package server

import (
	"context"
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

// picture is a picture that a client sent, or the URL of one, which embed fetches. It is made by newPicture.
type picture struct {
	data []byte
	url  string
}

// embedded is what became of a request's inputs, all of which are good.
type embedded struct {
	results   []bgevl.Result // one an input, in order
	tokens    int            // of all inputs, as usage counts them: those that were computed
	truncated []int          // indices of inputs whose text was cut
	warnings  []string       // each once, in order of appearance

	fetch, queue, compute time.Duration // how long each took, as far as the request waited for it
}

// embed computes a request's inputs. ctx is the request's: its client takes its turn in the queue, and what it waits for
// is dropped when it hangs up. One input that fails, fails the request with an *apiError whose param is the input's.
func (s *Server) embed(ctx context.Context, inputs []input) (*embedded, error) {
	if len(inputs) == 0 {
		return nil, &apiError{status: 400, code: codeEmpty, message: "no inputs"}
	}
	in := make([]bgevl.Input, len(inputs))
	for i, x := range inputs {
		in[i] = bgevl.Input{Text: x.text, Role: x.role, Instruction: x.instruction}
		if x.picture != nil {
			in[i].Image = bgevl.ImageBytes(x.picture.data)
		}
	}
	results, err := s.model.EmbedResults(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &embedded{results: results}
	for i, r := range results {
		if r.Err != nil {
			return nil, &apiError{status: 400, code: codeInvalid, param: inputs[i].param, message: "cannot be embedded"}
		}
		out.tokens += r.Tokens
	}
	return out, nil
}
