package server

import (
	"cmp"
	"net/http"

	"github.com/bgevl/bgevl/bgevl"
)

// openAIRoutes are the routes that OpenAI's clients call, and those of Infinity, Jina and vLLM.
func (s *Server) openAIRoutes() []route {
	return []route{
		{pattern: "POST /v1/embeddings", dialect: openAIError, handle: s.openAIEmbeddings},
		{pattern: "GET /v1/models", dialect: openAIError, handle: s.openAIModels},
		{pattern: "GET /v1/models/{id...}", dialect: openAIError, handle: s.openAIModel},
	}
}

// openAIError writes errors as OpenAI does.
func openAIError(e *apiError) (int, any) {
	type body struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	b := body{Message: e.errorText(), Type: openAIErrorType(e.status), Code: string(e.code)} // some clients show the message alone
	if e.param != "" {
		b.Param = &e.param
	}
	return e.status, map[string]body{"error": b}
}

func openAIErrorType(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status == http.StatusForbidden:
		return "permission_error"
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status >= http.StatusInternalServerError:
		return "server_error"
	}
	return "invalid_request_error"
}

// modelCard is how OpenAI describes a model.
type modelCard struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (s *Server) modelCard() modelCard {
	return modelCard{ID: s.opt.ModelName, Object: "model", OwnedBy: "bgevl"}
}

func (s *Server) openAIModels(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []modelCard{s.modelCard()}})
	return nil
}

func (s *Server) openAIModel(w http.ResponseWriter, r *http.Request) error {
	if r.PathValue("id") != s.opt.ModelName {
		return &apiError{status: http.StatusNotFound, code: "model_not_found", param: "model", message: "no such model: GET /v1/models names the one there is"}
	}
	writeJSON(w, http.StatusOK, s.modelCard())
	return nil
}

// openAIResponse is the answer to POST /v1/embeddings.
type openAIResponse struct {
	Object string       `json:"object"`
	Model  string       `json:"model"`
	Data   []openAIItem `json:"data"`
	Usage  openAIUsage  `json:"usage"`

	// What OpenAI does not have: which inputs were cut, and what may make their vectors less good.
	Truncated []int    `json:"truncated,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

type openAIItem struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // numbers, or base64
}

type openAIUsage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

// warnShortened goes with vectors that were cut: these models put their meaning into all of a vector alike.
const warnShortened = "dimensions: the model was not trained for shorter vectors: they find less"

// warnUnit answers those who ask for vectors that are not normalised.
const warnUnit = "normalized: vectors are always of unit length"

// openAIEmbeddings answers POST /v1/embeddings.
func (s *Server) openAIEmbeddings(w http.ResponseWriter, r *http.Request) error {
	var body openAIBody
	if err := s.decodeBody(r, &body); err != nil {
		return err
	}
	inputs, err := s.openAIInputs(&body)
	if err != nil {
		return err
	}
	encode, err := body.encoder()
	if err != nil {
		return err
	}
	dim, err := s.dimensions(cmp.Or(body.Dimensions, body.OutputDimension), "dimensions")
	if err != nil {
		return err
	}
	e, err := s.embed(r.Context(), inputs)
	if err != nil {
		return err
	}
	vectors, err := e.vectors(dim, "dimensions")
	if err != nil {
		return err
	}
	if body.Normalized != nil && !*body.Normalized {
		e.warnings = append(e.warnings, warnUnit)
	}
	out := openAIResponse{Object: "list", Model: s.opt.ModelName, Data: make([]openAIItem, len(vectors)),
		Usage: openAIUsage{e.tokens, e.tokens}, Truncated: e.truncated, Warnings: e.warnings}
	for i, v := range vectors {
		out.Data[i] = openAIItem{Object: "embedding", Index: i, Embedding: encode(v)}
	}
	report(w, e)
	writeJSON(w, http.StatusOK, out)
	return nil
}

// openAIRole returns what a request's words for an input's use mean: a role, and where they name a preset, its instruction.
func openAIRole(role, task string) (bgevl.Role, *string, error) {
	if role != "" {
		parsed, err := bgevl.ParseRole(role)
		if err != nil {
			return 0, nil, invalid("role", "want query or candidate")
		}
		return parsed, nil, nil
	}
	switch task {
	case "", "retrieval.query", "nl2code.query", "code2code.query", "text-matching", "classification", "separation":
		return bgevl.RoleQuery, nil, nil
	case "retrieval.passage", "nl2code.passage", "code2code.passage":
		return bgevl.RoleCandidate, nil, nil
	}
	preset, ok := bgevl.FindTask(task)
	if !ok {
		return 0, nil, invalid("task", "want retrieval.query, retrieval.passage, or a task of this model's")
	}
	return bgevl.RoleQuery, &preset.Instruction, nil
}
