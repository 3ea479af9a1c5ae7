package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/bgevl/bgevl/bgevl"
)

// cohereRoutes are those of Cohere's API, version 2.
func (s *Server) cohereRoutes() []route {
	return []route{{pattern: "POST /v2/embed", dialect: cohereError, handle: s.cohereEmbed}}
}

// cohereError writes errors as Cohere does.
func cohereError(e *apiError) (int, any) {
	return e.status, map[string]string{"message": e.errorText()}
}

// cohereBody is the body of POST /v2/embed.
type cohereBody struct {
	InputType       *string     `json:"input_type"`
	Texts           []string    `json:"texts"`
	Images          []string    `json:"images"`
	Inputs          []contentOf `json:"inputs"`
	MaxTokens       *int        `json:"max_tokens"`
	OutputDimension *int        `json:"output_dimension"`
	EmbeddingTypes  []string    `json:"embedding_types"`
	Truncate        *string     `json:"truncate"`
	hints
}

// cohereEmbed answers POST /v2/embed.
func (s *Server) cohereEmbed(w http.ResponseWriter, r *http.Request) error {
	var body cohereBody
	if err := s.decodeBody(r, &body); err != nil {
		return err
	}
	dim, err := s.dimensions(body.OutputDimension, "output_dimension")
	if err != nil {
		return err
	}
	kinds, err := cohereKinds(body.EmbeddingTypes)
	if err != nil {
		return err
	}
	inputs, err := s.cohereInputs(&body)
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
	response := map[string]any{"id": newID(), "response_type": "embeddings_by_type",
		"embeddings": cohereEmbeddings(vectors, kinds), "meta": cohereMeta(inputs, out)}
	if body.Texts != nil {
		response["texts"] = body.Texts
	}
	report(w, out)
	writeJSON(w, http.StatusOK, response)
	return nil
}

// cohereInputs returns the inputs that a body asks for.
func (s *Server) cohereInputs(body *cohereBody) ([]input, error) {
	truncate, err := s.cohereTruncates(body)
	if err != nil {
		return nil, err
	}
	given, err := cohereRole(body)
	if err != nil {
		return nil, err
	}
	role, instruction, err := body.steer(given)
	if err != nil {
		return nil, err
	}
	contents, err := body.contents()
	if err != nil {
		return nil, err
	}
	inputs := make([]input, len(contents))
	for i, c := range contents {
		in, err := s.compose(c.parts, c.param)
		if err != nil {
			return nil, err
		}
		in.role, in.instruction, in.truncate = role, instruction, truncate
		inputs[i] = in
	}
	return inputs, nil
}

// cohereRole returns the role that an input type asks for. Those that are about no search are candidates, which have no
// prompt, and queries where they have an instruction.
func cohereRole(body *cohereBody) (*bgevl.Role, error) {
	const want = "want search_query, search_document, classification, clustering or image"
	if body.InputType == nil {
		return nil, invalid("input_type", "it is missing: "+want)
	}
	role := bgevl.RoleCandidate
	switch *body.InputType {
	case "search_document":
	case "search_query":
		role = bgevl.RoleQuery
	case "image", "classification", "clustering":
		if body.Role != nil || body.Instruction != nil || body.Task != nil {
			return nil, nil
		}
	default:
		return nil, invalid("input_type", want)
	}
	return &role, nil
}

// cohereTruncates reports whether texts may be cut at their end. END is what Cohere does where nothing is said.
func (s *Server) cohereTruncates(body *cohereBody) (bool, error) {
	if context := s.model.Info().Context; body.MaxTokens != nil && *body.MaxTokens < context {
		return false, invalid("max_tokens", fmt.Sprintf("texts are cut at the model's own limit of %d tokens only: leave it out, or cut them "+
			"before they are sent", context))
	}
	if body.Truncate == nil {
		return true, nil
	}
	switch *body.Truncate {
	case "END":
		return true, nil
	case "NONE":
		return false, nil
	case "START":
		return false, invalid("truncate", "texts are cut at their end only: ask for END or NONE, or cut them before they are sent")
	}
	return false, invalid("truncate", "want NONE or END")
}

// content is what one input is made of.
type content struct {
	parts []part
	param string
}

// contents returns what the inputs are made of, whichever of the three fields has them.
func (b *cohereBody) contents() ([]content, error) {
	fields := 0
	for _, n := range []int{len(b.Texts), len(b.Images), len(b.Inputs)} {
		if n > 0 {
			fields++
		}
	}
	if fields != 1 {
		return nil, invalid("inputs", "want one of texts, images and inputs: an input with a text and an image is one of inputs")
	}
	var out []content
	for i := range b.Texts {
		out = append(out, content{[]part{{text: &b.Texts[i]}}, fmt.Sprintf("texts[%d]", i)})
	}
	for i := range b.Images {
		param := fmt.Sprintf("images[%d]", i)
		out = append(out, content{[]part{{image: &b.Images[i], param: param}}, param})
	}
	for i, in := range b.Inputs {
		param := fmt.Sprintf("inputs[%d]", i)
		parts, err := in.parts(param, `want {"type": "text", "text"} or {"type": "image_url", "image_url": {"url"}}`, "text", "image_url")
		if err != nil {
			return nil, err
		}
		out = append(out, content{parts, param})
	}
	return out, nil
}

// cohereKinds returns the types of embeddings that are asked for, each once.
func cohereKinds(asked []string) ([]string, error) {
	if len(asked) == 0 {
		return []string{"float"}, nil
	}
	var kinds []string
	for i, kind := range asked {
		if !slices.Contains(vectorFormats(), kind) {
			return nil, invalid(fmt.Sprintf("embedding_types[%d]", i), "want one of "+strings.Join(vectorFormats(), ", "))
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds, nil
}

func cohereEmbeddings(vectors [][]float32, kinds []string) map[string][]any {
	out := make(map[string][]any, len(kinds))
	for _, kind := range kinds {
		rows := make([]any, len(vectors))
		for i, v := range vectors {
			rows[i] = encodeVector(kind, v)
		}
		out[kind] = rows
	}
	return out
}

// cohereMeta says what was counted, and what was cut: as warnings, which Cohere's clients show, and as indices.
func cohereMeta(inputs []input, out *embedded) map[string]any {
	meta := map[string]any{
		"api_version":  map[string]string{"version": "2"},
		"billed_units": map[string]int{"input_tokens": out.tokens, "images": countPictures(inputs)},
	}
	warnings := slices.Clone(out.warnings)
	if len(out.truncated) > 0 {
		var names []string
		for _, i := range out.truncated {
			names = append(names, inputs[i].param)
		}
		warnings = append(warnings, "too long for the model, and cut at the end: "+strings.Join(names, ", "))
		meta["truncated"] = out.truncated
	}
	if warnings != nil {
		meta["warnings"] = warnings
	}
	return meta
}

// newID returns a random identifier in the form of a UUID of version 4.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process before it would
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
