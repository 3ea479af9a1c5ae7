package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bgevl/bgevl/bgevl"
)

// teiRoutes are those of Hugging Face's text-embeddings-inference, which is also what an inference endpoint of theirs
// answers: POST / is POST /embed or POST /similarity, as its body has it. GET /health, /ping and /metrics are everyone's.
func (s *Server) teiRoutes() []route {
	return []route{
		{pattern: "POST /embed", dialect: teiError, handle: s.teiEmbed},
		{pattern: "POST /{$}", dialect: teiError, handle: s.teiRoot},
		{pattern: "POST /similarity", dialect: teiError, handle: s.teiSimilarity},
		{pattern: "POST /tokenize", dialect: teiError, handle: s.teiTokenize},
		{pattern: "GET /info", dialect: teiError, handle: s.teiInfo},
	}
}

// teiError writes errors as TEI does, with its statuses: what is too long is 413, a field that is wrong 422, a model that
// fails 424.
func teiError(e *apiError) (int, any) {
	status, kind := e.status, "Validation"
	switch e.code {
	case codeEmpty:
		kind = "Empty"
	case codeTooLong:
		status = http.StatusRequestEntityTooLarge
	case codeInvalid, codeImage:
		status = http.StatusUnprocessableEntity
	case codeBusy:
		kind = "Overloaded"
	case codeStopping:
		kind = "Unhealthy"
	case codeModel:
		status, kind = http.StatusFailedDependency, "Backend"
	case codeInternal:
		kind = "Backend"
	}
	return status, map[string]string{"error": e.errorText(), "error_type": kind}
}

// teiOptions are fields of several of TEI's bodies.
type teiOptions struct {
	Truncate            *bool   `json:"truncate"`
	TruncationDirection *string `json:"truncation_direction"`
	PromptName          *string `json:"prompt_name"`
	hints
}

// truncates reports whether texts may be cut, which happens at their end.
func (o *teiOptions) truncates() (bool, error) {
	truncate := o.Truncate != nil && *o.Truncate
	direction := "right"
	if o.TruncationDirection != nil {
		direction = strings.ToLower(*o.TruncationDirection)
	}
	switch {
	case direction != "left" && direction != "right":
		return false, invalid("truncation_direction", "want Left or Right")
	case direction == "left" && truncate:
		return false, invalid("truncation_direction", "texts are cut at their right end only: ask for Right, or cut them before they are sent")
	}
	return truncate, nil
}

// prompt returns what prompt_name means: a role, or the instruction of a task.
func (o *teiOptions) prompt() (given *bgevl.Role, h hints, err error) {
	h = o.hints
	if o.PromptName == nil {
		return nil, h, nil
	}
	switch strings.ToLower(*o.PromptName) {
	case "query":
		return new(bgevl.RoleQuery), h, nil
	case "document", "passage", "candidate":
		return new(bgevl.RoleCandidate), h, nil
	}
	if _, ok := bgevl.FindTask(*o.PromptName); !ok {
		return nil, h, invalid("prompt_name", "no such prompt: want query, document, or the name of a task, which GET /info lists")
	}
	if h.Task != nil || h.Instruction != nil {
		return nil, h, invalid("prompt_name", "it names a task: leave out task and instruction")
	}
	h.Task = o.PromptName
	return new(bgevl.RoleQuery), h, nil
}

// teiInputs makes inputs of items. An item's own hints come before those of the body.
func (s *Server) teiInputs(o *teiOptions, list *items, field string) ([]input, error) {
	truncate, err := o.truncates()
	if err != nil {
		return nil, err
	}
	given, common, err := o.prompt()
	if err != nil {
		return nil, err
	}
	if _, _, err := common.steer(given); err != nil {
		return nil, err
	}
	inputs := make([]input, len(list.list))
	for i, x := range list.list {
		at := list.at(field, i)
		in, err := s.compose([]part{{text: x.Text, param: at}, {image: x.Image, param: at + ".image"}}, at)
		if err != nil {
			return nil, err
		}
		if in.role, in.instruction, err = x.steer(&common, given); err != nil {
			return nil, within(err, at)
		}
		in.truncate = truncate
		inputs[i] = in
	}
	return inputs, nil
}

// teiEmbedBody is the body of POST /embed.
type teiEmbedBody struct {
	Inputs     items `json:"inputs"`
	Normalize  *bool `json:"normalize"`
	Dimensions *int  `json:"dimensions"`
	teiOptions
}

// teiEmbed answers POST /embed.
func (s *Server) teiEmbed(w http.ResponseWriter, r *http.Request) error {
	started := time.Now()
	var body teiEmbedBody
	if err := s.decodeBody(r, &body); err != nil {
		return err
	}
	return s.teiEmbedded(w, r, &body, started)
}

// teiRoot answers POST /. Inputs with a source are those of POST /similarity, which clients send here too.
func (s *Server) teiRoot(w http.ResponseWriter, r *http.Request) error {
	started := time.Now()
	var raw json.RawMessage
	if err := s.decodeBody(r, &raw); err != nil {
		return err
	}
	var probe struct {
		Inputs struct {
			Source json.RawMessage `json:"source_sentence"`
		} `json:"inputs"`
	}
	if err := decodeJSON(raw, &probe); err == nil && probe.Inputs.Source != nil {
		var body teiSimilarityBody
		if err := decodeJSON(raw, &body); err != nil {
			return err
		}
		return s.teiScored(w, r, &body, started)
	}
	var body teiEmbedBody
	if err := decodeJSON(raw, &body); err != nil {
		return err
	}
	return s.teiEmbedded(w, r, &body, started)
}

func (s *Server) teiEmbedded(w http.ResponseWriter, r *http.Request, body *teiEmbedBody, started time.Time) error {
	dim, err := s.dimensions(body.Dimensions, "dimensions")
	if err != nil {
		return err
	}
	inputs, err := s.teiInputs(&body.teiOptions, &body.Inputs, "inputs")
	if err != nil {
		return err
	}
	out, err := s.embed(r.Context(), inputs)
	if err != nil {
		return err
	}
	vectors, err := out.vectors(dim, "dimensions")
	if err != nil {
		return err
	}
	if body.Normalize != nil && !*body.Normalize && dim > 0 {
		for i, r := range out.results {
			vectors[i] = r.Embedding[:dim] // as they are in the whole vector
		}
	}
	teiHeaders(w, inputs, out, started)
	writeJSON(w, http.StatusOK, vectors)
	return nil
}

// teiHeaders says how much was computed and how long it took, in milliseconds, as TEI does.
func teiHeaders(w http.ResponseWriter, inputs []input, out *embedded, started time.Time) {
	characters := 0
	for _, in := range inputs {
		if in.text != nil {
			characters += utf8.RuneCountInString(*in.text)
		}
	}
	total := time.Since(started)
	h := w.Header()
	for name, n := range map[string]int64{
		"X-Compute-Characters": int64(characters), "X-Compute-Tokens": int64(out.tokens),
		"X-Compute-Time": total.Milliseconds(), "X-Total-Time": total.Milliseconds(),
		"X-Queue-Time": out.queue.Milliseconds(), "X-Inference-Time": out.compute.Milliseconds(),
	} {
		h.Set(name, strconv.FormatInt(n, 10))
	}
	report(w, out)
}

// teiSimilarityBody is the body of POST /similarity.
type teiSimilarityBody struct {
	Inputs struct {
		Source    *item `json:"source_sentence"`
		Sentences items `json:"sentences"`
	} `json:"inputs"`
	Parameters teiOptions `json:"parameters"`
}

// teiSimilarity answers POST /similarity.
func (s *Server) teiSimilarity(w http.ResponseWriter, r *http.Request) error {
	started := time.Now()
	var body teiSimilarityBody
	if err := s.decodeBody(r, &body); err != nil {
		return err
	}
	return s.teiScored(w, r, &body, started)
}

// teiScored answers with the cosines of a sentence, which prompts and hints are about, and others, which are candidates.
func (s *Server) teiScored(w http.ResponseWriter, r *http.Request, body *teiSimilarityBody, started time.Time) error {
	if body.Inputs.Source == nil {
		return emptyInput("inputs.source_sentence")
	}
	if len(body.Inputs.Sentences.list) == 0 {
		return emptyInput("inputs.sentences")
	}
	inputs, err := s.teiInputs(&body.Parameters, &items{list: []item{*body.Inputs.Source}, single: true}, "inputs.source_sentence")
	if err != nil {
		return err
	}
	plain := teiOptions{Truncate: body.Parameters.Truncate, hints: hints{Role: new(bgevl.RoleCandidate.String())}}
	sentences, err := s.teiInputs(&plain, &body.Inputs.Sentences, "inputs.sentences")
	if err != nil {
		return err
	}
	inputs = append(inputs, sentences...)
	out, err := s.embed(r.Context(), inputs)
	if err != nil {
		return err
	}
	scores := make([]float32, len(sentences))
	for i := range scores {
		scores[i] = bgevl.Score(out.results[0].Embedding, out.results[i+1].Embedding)
	}
	teiHeaders(w, inputs, out, started)
	writeJSON(w, http.StatusOK, scores)
	return nil
}

// maxTokenize is how many bytes of text POST /tokenize takes: it has no queue, so that the work it may be given is small.
const maxTokenize = 1 << 20

// teiToken is a token in a response. There is no place in the text: a model's tokenizer rewrites the text first.
type teiToken struct {
	ID      int32  `json:"id"`
	Text    string `json:"text"`
	Special bool   `json:"special"`
	Start   *int   `json:"start"`
	Stop    *int   `json:"stop"`
}

// teiTokenize answers POST /tokenize with what POST /embed would compute of the same texts and prompt.
func (s *Server) teiTokenize(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Inputs           items `json:"inputs"`
		AddSpecialTokens *bool `json:"add_special_tokens"`
		teiOptions
	}
	if err := s.decodeBody(r, &body); err != nil {
		return err
	}
	inputs, err := s.teiInputs(&body.teiOptions, &body.Inputs, "inputs")
	if err != nil {
		return err
	}
	if err := s.tokenizable(inputs); err != nil {
		return err
	}
	out := make([][]teiToken, len(inputs))
	for i, in := range inputs {
		tokens, err := s.tokenize(r.Context(), in)
		if err != nil {
			return err
		}
		out[i] = make([]teiToken, 0, len(tokens))
		for _, t := range tokens {
			if t.Special && body.AddSpecialTokens != nil && !*body.AddSpecialTokens {
				continue
			}
			out[i] = append(out[i], teiToken{ID: t.ID, Text: t.Text, Special: t.Special})
		}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// tokenizable returns what of a request is too much for POST /tokenize.
func (s *Server) tokenizable(inputs []input) error {
	if len(inputs) == 0 {
		return emptyInput("inputs")
	}
	if len(inputs) > s.opt.MaxInputs {
		return s.tooMany(len(inputs))
	}
	bytes := 0
	for _, in := range inputs {
		if in.picture != nil {
			return invalid(in.param, "an image has no tokens: send texts")
		}
		bytes += len(*in.text)
		if in.instruction != nil {
			bytes += len(*in.instruction)
		}
	}
	if bytes > maxTokenize {
		return &apiError{status: http.StatusRequestEntityTooLarge, code: codeBody, param: "inputs",
			message: fmt.Sprintf("want texts of at most %d bytes together: send fewer at a time", maxTokenize)}
	}
	return nil
}

// tokenizer is what a Model also has that can tokenise. *bgevl.Embedder does.
type tokenizer interface {
	Tokenize(ctx context.Context, in bgevl.Input) ([]bgevl.Token, error)
}

func (s *Server) tokenize(ctx context.Context, in input) ([]bgevl.Token, error) {
	t, ok := s.model.(tokenizer)
	if !ok {
		return nil, &apiError{status: http.StatusNotImplemented, code: codeNotFound, message: "this server's model does not give tokens"}
	}
	tokens, err := t.Tokenize(ctx, bgevl.Input{Text: in.text, Role: in.role, Instruction: in.instruction})
	if _, bad := errors.AsType[*bgevl.InputError](err); bad {
		return nil, invalid(in.param, "this model cannot read the text")
	}
	return tokens, err
}

// teiInfo answers GET /info.
func (s *Server) teiInfo(w http.ResponseWriter, r *http.Request) error {
	f, err := s.model.Fingerprint(r.Context())
	if err != nil {
		return err
	}
	type task struct {
		Name        string `json:"name"`
		Instruction string `json:"instruction"`
	}
	var tasks []task
	for _, t := range bgevl.Tasks() {
		tasks = append(tasks, task{t.Name, t.Instruction})
	}
	info := s.model.Info()
	writeJSON(w, http.StatusOK, map[string]any{
		"model_id": s.opt.ModelName, "model_sha": f.Model, "model_dtype": info.Type,
		"model_type":              map[string]any{"embedding": map[string]string{"pooling": f.Pooling}},
		"max_concurrent_requests": s.opt.MaxQueue, "max_input_length": info.Context,
		"max_batch_tokens": info.Context * s.opt.MaxBatch, "max_batch_requests": s.opt.MaxBatch,
		"max_client_batch_size": s.opt.MaxInputs, "auto_truncate": false, "tokenization_workers": s.opt.Workers,
		"version": s.opt.Version, "sha": nil, "docker_label": nil,
		"family": info.Family, "dimensions": s.model.Dim(), "images": info.ImageSize > 0, "instructions": info.Instructions,
		"fingerprint": f.Sum(), "tasks": tasks,
	})
	return nil
}
