package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/bgevl/bgevl/bgevl"
)

// ollamaRoutes are those of Ollama that are about embeddings and about which models there are. The name of a model in a
// body is not looked at: there is one.
func (s *Server) ollamaRoutes() []route {
	return []route{
		{pattern: "POST /api/embed", dialect: ollamaError, handle: s.ollamaEmbed},
		{pattern: "POST /api/embeddings", dialect: ollamaError, handle: s.ollamaEmbeddings},
		{pattern: "GET /api/tags", dialect: ollamaError, handle: s.ollamaTags},
		{pattern: "GET /api/ps", dialect: ollamaError, handle: s.ollamaProcesses},
		{pattern: "POST /api/show", dialect: ollamaError, handle: s.ollamaShow},
		{pattern: "GET /api/version", dialect: ollamaError, handle: s.ollamaVersion},
	}
}

// ollamaError writes errors as Ollama does.
func ollamaError(e *apiError) (int, any) {
	return e.status, map[string]string{"error": e.errorText()}
}

// optionalTexts are a text or several, each of which may be missing.
type optionalTexts []*string

// UnmarshalJSON reads a string, or an array of strings and nulls.
func (t *optionalTexts) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*t = optionalTexts{nil}
		return json.Unmarshal(data, &(*t)[0])
	}
	return json.Unmarshal(data, (*[]*string)(t))
}

// ollamaEmbed answers POST /api/embed. Images stand beside the texts of the same place: null for an input that has none,
// as null among the texts is an image by itself.
func (s *Server) ollamaEmbed(w http.ResponseWriter, r *http.Request) error {
	started := time.Now()
	var body struct {
		Input      optionalTexts `json:"input"`
		Images     []*string     `json:"images"`
		Truncate   *bool         `json:"truncate"`
		Dimensions *int          `json:"dimensions"`
		hints
	}
	if err := s.decodeBody(r, &body); err != nil {
		return err
	}
	if body.Dimensions != nil && *body.Dimensions == 0 {
		body.Dimensions = nil // what some clients send for all
	}
	dim, err := s.dimensions(body.Dimensions, "dimensions")
	if err != nil {
		return err
	}
	inputs, err := s.ollamaInputs(body.Input, body.Images, &body.hints, body.Truncate == nil || *body.Truncate)
	if err != nil {
		return err
	}
	response := map[string]any{"model": s.opt.ModelName, "embeddings": [][]float32{}}
	if len(inputs) > 0 {
		out, err := s.embed(r.Context(), inputs)
		if err != nil {
			return err
		}
		if response["embeddings"], err = out.vectors(dim, "dimensions"); err != nil {
			return err
		}
		response["prompt_eval_count"] = out.tokens
		if out.truncated != nil {
			response["truncated"] = out.truncated
		}
		if out.warnings != nil {
			response["warnings"] = out.warnings
		}
		report(w, out)
	}
	response["total_duration"], response["load_duration"] = time.Since(started), 0
	writeJSON(w, http.StatusOK, response)
	return nil
}

// ollamaInputs pairs texts and images. No text at all, which is what clients send to have a model loaded, is no input.
func (s *Server) ollamaInputs(texts optionalTexts, images []*string, h *hints, truncate bool) ([]input, error) {
	if len(texts) == 1 && texts[0] != nil && *texts[0] == "" && len(images) == 0 {
		return nil, nil
	}
	n := max(len(texts), len(images))
	if len(texts) > 0 && len(images) > 0 && len(texts) != len(images) {
		return nil, invalid("images", fmt.Sprintf("%d images beside %d texts: want as many, with null where an input has none", len(images), len(texts)))
	}
	role, instruction, err := h.steer(nil)
	if err != nil {
		return nil, err
	}
	inputs := make([]input, n)
	for i := range n {
		var parts []part
		param := fmt.Sprintf("input[%d]", i)
		if len(texts) > 0 {
			parts = append(parts, part{text: texts[i], param: param})
		}
		if len(images) > 0 {
			param = fmt.Sprintf("images[%d]", i)
			parts = append(parts, part{image: images[i], param: param})
		}
		in, err := s.compose(parts, param)
		if err != nil {
			return nil, err
		}
		in.role, in.instruction, in.truncate = role, instruction, truncate
		inputs[i] = in
	}
	return inputs, nil
}

// ollamaEmbeddings answers POST /api/embeddings, the older form for one text or image.
func (s *Server) ollamaEmbeddings(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Prompt string    `json:"prompt"`
		Images []*string `json:"images"`
		hints
	}
	if err := s.decodeBody(r, &body); err != nil {
		return err
	}
	if len(body.Images) > 1 {
		return invalid("images", "want one at most: POST /api/embed takes several")
	}
	texts := optionalTexts{&body.Prompt}
	if body.Prompt == "" && len(body.Images) > 0 {
		texts = nil
	}
	inputs, err := s.ollamaInputs(texts, body.Images, &body.hints, true)
	if err != nil {
		return err
	}
	vector := []float32{}
	if len(inputs) > 0 {
		out, err := s.embed(r.Context(), inputs)
		if err != nil {
			return err
		}
		vector = out.results[0].Embedding
		report(w, out)
	}
	writeJSON(w, http.StatusOK, map[string]any{"embedding": vector})
	return nil
}

// ollamaDetails describe a model in several of Ollama's responses.
type ollamaDetails struct {
	ParentModel  string   `json:"parent_model"`
	Format       string   `json:"format"`
	Family       string   `json:"family"`
	Families     []string `json:"families"`
	Parameters   string   `json:"parameter_size"`
	Quantization string   `json:"quantization_level"`
}

// ollamaModel is the model in lists of models.
type ollamaModel struct {
	Name     string        `json:"name"`
	Model    string        `json:"model"`
	Modified *time.Time    `json:"modified_at,omitempty"`
	Size     int64         `json:"size"`
	Digest   string        `json:"digest"`
	Details  ollamaDetails `json:"details"`

	// Of models that are loaded.
	Expires *time.Time `json:"expires_at,omitempty"`
	VRAM    *int64     `json:"size_vram,omitempty"`
	Context int        `json:"context_length,omitempty"`
}

// model describes the model, whose files it asks for their size and age.
func (s *Server) ollamaModel(r *http.Request) (*ollamaModel, error) {
	f, err := s.model.Fingerprint(r.Context())
	if err != nil {
		return nil, err
	}
	info := s.model.Info()
	m := &ollamaModel{Name: s.opt.ModelName, Model: s.opt.ModelName, Digest: f.Sum(), Modified: &time.Time{}}
	for _, path := range []string{info.Path, info.Projector} {
		if path == "" {
			continue
		}
		if st, err := os.Stat(path); err == nil { // one that was moved meanwhile counts nothing
			m.Size += st.Size()
			if st.ModTime().After(*m.Modified) {
				m.Modified = new(st.ModTime().UTC())
			}
		}
	}
	architecture := ollamaArchitecture(info)
	m.Details = ollamaDetails{Format: "gguf", Family: architecture, Families: []string{architecture},
		Parameters: humanParameters(info.Parameters), Quantization: info.Type}
	return m, nil
}

// ollamaArchitecture is what the model's file has for general.architecture.
func ollamaArchitecture(info bgevl.Info) string {
	if info.Instructions {
		return "llama"
	}
	return "clip"
}

// humanParameters writes a number of parameters as people say it: 7.6B, 149.6M.
func humanParameters(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1fB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1fK", float64(n)/1e3)
}

// ollamaTags answers GET /api/tags.
func (s *Server) ollamaTags(w http.ResponseWriter, r *http.Request) error {
	m, err := s.ollamaModel(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"models": []any{m}})
	return nil
}

// ollamaProcesses answers GET /api/ps: the model stays for as long as the server does.
func (s *Server) ollamaProcesses(w http.ResponseWriter, r *http.Request) error {
	m, err := s.ollamaModel(r)
	if err != nil {
		return err
	}
	m.Modified = nil
	m.Expires = new(time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC))
	m.VRAM, m.Context = new(int64(0)), s.model.Info().Context
	writeJSON(w, http.StatusOK, map[string]any{"models": []any{m}})
	return nil
}

// ollamaShow answers POST /api/show.
func (s *Server) ollamaShow(w http.ResponseWriter, r *http.Request) error {
	var body struct{}
	if err := s.decodeBody(r, &body); err != nil {
		return err
	}
	m, err := s.ollamaModel(r)
	if err != nil {
		return err
	}
	info := s.model.Info()
	capabilities := []string{"embedding"}
	if info.ImageSize > 0 {
		capabilities = append(capabilities, "vision")
	}
	architecture := ollamaArchitecture(info)
	writeJSON(w, http.StatusOK, map[string]any{
		"modelfile": "", "parameters": "", "template": "", "details": m.Details, "modified_at": m.Modified,
		"capabilities": capabilities,
		"model_info": map[string]any{
			"general.architecture": architecture, "general.name": info.Name, "general.parameter_count": info.Parameters,
			"bgevl.type": info.Type, architecture + ".context_length": info.Context,
			architecture + ".embedding_length": s.model.Dim(), "bgevl.family": info.Family,
		},
	})
	return nil
}

// ollamaVersion answers GET /api/version.
func (s *Server) ollamaVersion(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"version": s.opt.Version})
	return nil
}
