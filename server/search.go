package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"

	"github.com/bgevl/bgevl/bgevl"
)

// searchRoutes are this project's own: search in a collection.
func (s *Server) searchRoutes() []route {
	if s.opt.Search.Collection == nil {
		return nil
	}
	return []route{
		{pattern: "POST /v1/search", dialect: openAIError, handle: s.search},
		{pattern: "GET /v1/index", dialect: openAIError, handle: s.indexStatus},
		{pattern: "GET /v1/index/{id}/thumbnail", dialect: openAIError, handle: s.thumbnail},
	}
}

// Bounds of a search.
const (
	defaultK      = 20
	maxK          = 1000
	maxExclude    = 1000
	negativeShare = 0.5 // of the negative's vector that is subtracted: below 1, so that something is always left
)

// searchBody is what POST /v1/search takes.
type searchBody struct {
	Query    searchQuery  `json:"query"`
	K        *int         `json:"k"`
	MinScore *float64     `json:"min_score"`
	Filter   SearchFilter `json:"filter"`
}

// searchQuery is a text, a picture, or both. A picture is sent, or is that of an item.
type searchQuery struct {
	Text        *string   `json:"text"`
	Image       *string   `json:"image"`
	ID          *string   `json:"id"`
	Instruction *string   `json:"instruction"`
	Negative    *negative `json:"negative"`

	upload []byte // the picture of a form
}

// negative is what results should not be like: a text, or an object of a text, a picture or both.
type negative struct{ searchQuery }

// UnmarshalJSON takes a string for a text.
func (n *negative) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &n.Text)
	}
	var q struct {
		Text  *string `json:"text"`
		Image *string `json:"image"`
		ID    *string `json:"id"`
	}
	if err := json.Unmarshal(data, &q); err != nil {
		return invalid("query.negative", "want a text, or an object of text, image and id")
	}
	n.Text, n.Image, n.ID = q.Text, q.Image, q.ID
	return nil
}

// searchResponse is what POST /v1/search answers.
type searchResponse struct {
	Model    string        `json:"model"`
	Results  []foundItem   `json:"results"`
	Matched  int           `json:"matched"`
	Items    int           `json:"items"`
	Warnings []string      `json:"warnings,omitempty"`
	Usage    searchedUsage `json:"usage"`
}

type searchedUsage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

// foundItem is one result.
type foundItem struct {
	Rank      int     `json:"rank"`
	Score     float32 `json:"score"`
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Source    string  `json:"source"`
	Kind      string  `json:"kind"`
	Text      *string `json:"text,omitempty"`
	Thumbnail string  `json:"thumbnail,omitempty"`
}

// search answers POST /v1/search, as JSON or as a form with a file.
func (s *Server) search(w http.ResponseWriter, r *http.Request) error {
	var body searchBody
	decode := s.decodeBody
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && t == "multipart/form-data" {
		decode = func(r *http.Request, _ any) error { return s.decodeForm(r, &body) }
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	q := SearchQuery{Filter: body.Filter}
	if err := body.bounds(&q); err != nil {
		return err
	}
	vector, used, err := s.queryVector(r.Context(), &body.Query)
	if err != nil {
		return err
	}
	q.Vector = vector
	found, err := s.opt.Search.Collection.Search(r.Context(), q)
	if err != nil {
		return fmt.Errorf("server: search: %w", err)
	}
	status := s.opt.Search.Collection.Status()
	out := searchResponse{Model: s.opt.ModelName, Results: []foundItem{}, Matched: found.Matched, Items: status.Images + status.Texts,
		Warnings: used.warnings, Usage: searchedUsage{used.tokens, used.tokens}}
	for i, h := range found.Hits {
		f := foundItem{Rank: i + 1, Score: h.Score, ID: h.Item.ID, Name: h.Item.Name, Source: h.Item.Source, Kind: h.Item.Kind}
		if h.Item.Kind == "text" {
			f.Text = &h.Item.Text
		} else {
			f.Thumbnail = thumbnailPath(h.Item.ID)
		}
		out.Results = append(out.Results, f)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// bounds checks how much is asked for, and fills in the defaults.
func (b *searchBody) bounds(q *SearchQuery) error {
	q.K = defaultK
	if b.K != nil {
		q.K = *b.K
	}
	if q.K < 1 || q.K > maxK {
		return invalid("k", fmt.Sprintf("want 1 to %d", maxK))
	}
	if b.MinScore != nil {
		if !(math.Abs(*b.MinScore) <= 1) {
			return invalid("min_score", "want -1 to 1")
		}
		q.MinScore = new(float32(*b.MinScore))
	}
	if kind := b.Filter.Kind; kind != "" && kind != "image" && kind != "text" {
		return invalid("filter.kind", "want image or text")
	}
	if len(b.Filter.Exclude) > maxExclude {
		return invalid("filter.exclude", fmt.Sprintf("want at most %d ids", maxExclude))
	}
	return nil
}

// queryVector returns the vector of a query. With a negative it is the query's less half of the negative's, scaled to unit
// length. The vector of an item by itself is the one that the collection has.
func (s *Server) queryVector(ctx context.Context, q *searchQuery) ([]float32, *embedded, error) {
	parts := []queryPart{{of: q, param: "query"}}
	if q.Negative != nil {
		parts = append(parts, queryPart{of: &q.Negative.searchQuery, param: "query.negative"})
	}
	var inputs []input
	for i := range parts {
		in, err := s.queryInput(ctx, &parts[i], q.Instruction)
		if err != nil {
			return nil, nil, err
		}
		if in != nil {
			parts[i].at = len(inputs)
			inputs = append(inputs, *in)
		}
	}
	used := &embedded{}
	if len(inputs) > 0 {
		var err error
		if used, err = s.embed(ctx, inputs); err != nil {
			return nil, nil, err
		}
		for i, p := range parts {
			if p.vector == nil {
				parts[i].vector = used.results[p.at].Embedding
			}
		}
	}
	if len(parts) == 1 {
		return parts[0].vector, used, nil
	}
	return away(parts[0].vector, parts[1].vector), used, nil
}

// queryPart is a query or its negative on the way to a vector.
type queryPart struct {
	of     *searchQuery
	param  string
	vector []float32 // of an item by itself
	at     int       // otherwise: among the inputs
}

// queryInput returns what is to be embedded for a part of a query, or none where the collection has its vector.
func (s *Server) queryInput(ctx context.Context, p *queryPart, instruction *string) (*input, error) {
	in := &input{text: p.of.Text, role: bgevl.RoleQuery, param: p.param}
	switch {
	case p.of.ID != nil && (p.of.Image != nil || p.of.upload != nil):
		return nil, invalid(p.param+".id", "give an image or the id of an item, not both")
	case p.of.upload != nil:
		in.picture = &picture{data: p.of.upload}
	case p.of.Image != nil:
		pic, err := s.newPicture(*p.of.Image, p.param+".image")
		if err != nil {
			return nil, err
		}
		in.picture = pic
	case p.of.ID != nil:
		item, vector, ok := s.opt.Search.Collection.Item(*p.of.ID)
		if !ok {
			return nil, &apiError{status: http.StatusNotFound, code: codeNotFound, param: p.param + ".id", message: "no item has this id"}
		}
		if p.of.Text == nil {
			p.vector = vector
			return nil, nil
		}
		if item.Kind != "image" {
			return nil, invalid(p.param+".id", "the item is a text: give the id of a picture beside a text")
		}
		data, err := s.readItem(ctx, item.ID)
		if err != nil {
			return nil, err
		}
		in.picture = &picture{data: data}
	case p.of.Text == nil:
		return nil, &apiError{status: http.StatusBadRequest, code: codeEmpty, param: p.param,
			message: "give a text, an image, the id of an item, or a text with one of the others"}
	}
	if s.model.Info().Instructions {
		in.instruction = s.instructionFor(in, instruction)
	}
	return in, nil
}

// instructionFor returns the instruction of a query: its own, the server's, or the published one for what it holds.
func (s *Server) instructionFor(in *input, own *string) *string {
	name := "composed-retrieval"
	switch {
	case own != nil:
		return own
	case s.opt.Search.Instruction != nil:
		return s.opt.Search.Instruction
	case in.picture == nil:
		name = "caption-to-image"
	case in.text == nil:
		name = "image-to-image"
	}
	task, _ := bgevl.FindTask(name)
	return &task.Instruction
}

// away returns the unit vector of query less a share of negative. Both have unit length, so that it is never zero.
func away(query, negative []float32) []float32 {
	out := make([]float32, len(query))
	for i, x := range query {
		out[i] = x - negativeShare*negative[i]
	}
	return unit(out)
}

// indexStatus answers GET /v1/index.
func (s *Server) indexStatus(w http.ResponseWriter, r *http.Request) error {
	f, err := s.model.Fingerprint(r.Context())
	if err != nil {
		return err
	}
	info, status := s.model.Info(), s.opt.Search.Collection.Status()
	failures := []map[string]string{}
	for _, x := range status.Failures {
		failures = append(failures, map[string]string{"source": x.Source, "name": x.Name, "error": x.Reason})
	}
	examples := []map[string]string{}
	for _, e := range s.opt.Search.Examples {
		m := map[string]string{"text": e.Text}
		if e.Negative != "" {
			m["negative"] = e.Negative
		}
		if e.ID != "" {
			if _, _, ok := s.opt.Search.Collection.Item(e.ID); !ok {
				continue // not taken in yet
			}
			m["id"], m["thumbnail"] = e.ID, thumbnailPath(e.ID)
		}
		examples = append(examples, m)
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"model": map[string]any{"name": s.opt.ModelName, "family": info.Family, "type": info.Type, "dim": info.Dim,
			"parameters": info.Parameters, "instructions": info.Instructions, "images": info.ImageSize > 0, "device": info.Device},
		"fingerprint": f.Sum(), "demo": s.opt.Search.Demo,
		"items": status.Images + status.Texts, "images": status.Images, "texts": status.Texts,
		"sources":  append([]string{}, status.Sources...),
		"indexing": map[string]any{"state": status.Indexing.State, "done": status.Indexing.Done, "total": status.Indexing.Total},
		"failed":   status.Failed, "failures": failures, "examples": examples,
		"limits": map[string]any{"max_k": maxK, "max_body_bytes": s.opt.MaxBody, "image_urls": !s.fetcher.off()},
	})
	return nil
}

// errNoItem is what an id leads to that no picture has.
func errNoItem() error {
	return &apiError{status: http.StatusNotFound, code: codeNotFound, message: "no picture has this id"}
}

// readItem reads an item's picture, whose bytes are held for the request.
func (s *Server) readItem(ctx context.Context, id string) ([]byte, error) {
	f, err := s.opt.Search.Collection.Open(id)
	if err != nil {
		s.log.WarnContext(ctx, "a picture of the collection cannot be opened", "id", id, "error", err.Error())
		return nil, errNoItem()
	}
	defer f.Close()
	data, err := readBounded(f, maxItemBytes, callOf(ctx).lease)
	if apiErr, ok := errors.AsType[*apiError](err); ok {
		return nil, apiErr
	}
	if err != nil {
		s.log.WarnContext(ctx, "a picture of the collection cannot be read", "id", id, "error", err.Error())
		return nil, errNoItem()
	}
	return data, nil
}
