package server

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/bgevl/bgevl/bgevl"
)

// voyageRoutes are those of Voyage's multimodal embeddings. Their embeddings of texts alone are under the path of
// OpenAI's.
func (s *Server) voyageRoutes() []route {
	return []route{{pattern: "POST /v1/multimodalembeddings", dialect: voyageError, handle: s.voyageEmbed}}
}

// voyageError writes errors as Voyage does.
func voyageError(e *apiError) (int, any) {
	return e.status, map[string]string{"detail": e.errorText()}
}

// voyageBody is the body of POST /v1/multimodalembeddings.
type voyageBody struct {
	Inputs          []contentOf `json:"inputs"`
	InputType       *string     `json:"input_type"`
	Truncation      *bool       `json:"truncation"`
	OutputDimension *int        `json:"output_dimension"`
	OutputDtype     *string     `json:"output_dtype"`
	OutputEncoding  *string     `json:"output_encoding"`
	EncodingFormat  *string     `json:"encoding_format"` // what Voyage's own clients send for output_encoding
	hints
}

// voyageItem is one embedding of a response.
type voyageItem struct {
	Object    string `json:"object"`
	Embedding any    `json:"embedding"`
	Index     int    `json:"index"`
	Truncated bool   `json:"truncated,omitempty"` // this server's own
}

// voyageEmbed answers POST /v1/multimodalembeddings.
func (s *Server) voyageEmbed(w http.ResponseWriter, r *http.Request) error {
	var body voyageBody
	if err := s.decodeBody(r, &body); err != nil {
		return err
	}
	dim, err := s.dimensions(body.OutputDimension, "output_dimension")
	if err != nil {
		return err
	}
	encode, err := body.encoder()
	if err != nil {
		return err
	}
	inputs, err := s.voyageInputs(&body)
	if err != nil {
		return err
	}
	out, err := s.embed(r.Context(), inputs)
	if err != nil {
		return err
	}
	vectors, err := out.vectors(dim, "output_dimension")
	if err != nil {
		return err
	}
	data := make([]voyageItem, len(vectors))
	for i, v := range vectors {
		data[i] = voyageItem{Object: "embedding", Embedding: encode(v), Index: i, Truncated: out.results[i].Truncated}
	}
	response := map[string]any{"object": "list", "data": data, "model": s.opt.ModelName, "usage": voyageUsage(inputs, out)}
	if out.warnings != nil {
		response["warnings"] = out.warnings
	}
	report(w, out)
	writeJSON(w, http.StatusOK, response)
	return nil
}

// voyageUsage counts tokens, and pictures for what Voyage counts in pixels: how many a picture has matters to no model
// here, and nobody is billed.
func voyageUsage(inputs []input, out *embedded) map[string]int {
	return map[string]int{"text_tokens": out.tokens, "total_tokens": out.tokens, "images": countPictures(inputs), "image_pixels": 0, "video_pixels": 0}
}

// encoder returns what writes a vector with the type of numbers that is asked for, in base64 or not.
func (b *voyageBody) encoder() (func(v []float32) any, error) {
	kind, inBase64 := "float", false
	if b.OutputDtype != nil {
		kind = *b.OutputDtype
	}
	if kind == "base64" || !slices.Contains(vectorFormats(), kind) {
		return nil, invalid("output_dtype", "want float, int8, uint8, binary or ubinary")
	}
	for _, f := range []struct {
		name  string
		value *string
	}{{"output_encoding", b.OutputEncoding}, {"encoding_format", b.EncodingFormat}} {
		switch {
		case f.value == nil:
		case *f.value == "base64":
			inBase64 = true
		case *f.value != "float":
			return nil, invalid(f.name, "want base64, or leave it out for numbers")
		}
	}
	if inBase64 {
		return func(v []float32) any { return base64Numbers(encodeVector(kind, v)) }, nil
	}
	return func(v []float32) any { return encodeVector(kind, v) }, nil
}

// voyageInputs returns the inputs that a body asks for.
func (s *Server) voyageInputs(body *voyageBody) ([]input, error) {
	var given *bgevl.Role
	switch t := body.InputType; {
	case t == nil:
	case *t == "query":
		given = new(bgevl.RoleQuery)
	case *t == "document":
		given = new(bgevl.RoleCandidate)
	default:
		return nil, invalid("input_type", "want query or document, or leave it out")
	}
	role, instruction, err := body.steer(given)
	if err != nil {
		return nil, err
	}
	inputs := make([]input, len(body.Inputs))
	for i, x := range body.Inputs {
		param := fmt.Sprintf("inputs[%d]", i)
		parts, err := x.parts(param, "want a text, an image_url or an image_base64, with the field of that name; video is not for these models",
			"text", "image_url", "image_base64")
		if err != nil {
			return nil, err
		}
		in, err := s.compose(parts, param)
		if err != nil {
			return nil, err
		}
		in.role, in.instruction = role, instruction
		in.truncate = body.Truncation == nil || *body.Truncation
		inputs[i] = in
	}
	return inputs, nil
}
