package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bgevl/bgevl/bgevl"
)

// hints are fields that a body may have beside those of its dialect, for models with instructions. They mean the same
// in every dialect.
type hints struct {
	Role        *string `json:"role"`        // "query" or "candidate"
	Instruction *string `json:"instruction"` // what a query is to retrieve
	Task        *string `json:"task"`        // the name of an instruction: see bgevl.Tasks
}

// steer returns the role and instruction that hints mean. given is the role that the dialect's own fields ask for, nil
// where they do not. What nothing is said about is a query, as everywhere in bgevl: where instructions matter it gets a
// warning, which leads to them.
func (h *hints) steer(given *bgevl.Role) (bgevl.Role, *string, error) {
	role, instruction := bgevl.RoleQuery, h.Instruction
	if h.Task != nil {
		if instruction != nil {
			return 0, nil, invalid("task", "a task is an instruction by name: give a task or an instruction, not both")
		}
		task, ok := bgevl.FindTask(*h.Task)
		if !ok {
			return 0, nil, invalid("task", "no such task: GET /info lists them")
		}
		instruction = &task.Instruction
	}
	if h.Role != nil {
		said, err := bgevl.ParseRole(*h.Role)
		if err != nil {
			return 0, nil, invalid("role", `want "query" or "candidate"`)
		}
		if given != nil && *given != said {
			return 0, nil, invalid("role", "it contradicts another field of the body: leave it out")
		}
		given = &said
	}
	if given != nil {
		role = *given
	}
	if role == bgevl.RoleCandidate && instruction != nil {
		return 0, nil, invalid("instruction", "candidates take no instruction and no task: leave it out, or make the input a query")
	}
	return role, instruction, nil
}

// item is an input as it stands in a body: a string, which is a text, or an object with a text, an image, or both, which
// are one vector.
type item struct {
	Text  *string `json:"text"`
	Image *string `json:"image"` // as newPicture takes it
	hints
}

// UnmarshalJSON reads a string or an object.
func (i *item) UnmarshalJSON(data []byte) error {
	switch {
	case data[0] == '"':
		return json.Unmarshal(data, &i.Text)
	case data[0] == '[' || isToken(data):
		return tokenIDs("")
	}
	type plain item
	return json.Unmarshal(data, (*plain)(i))
}

// steer is that of an item's hints, with what the body says about all items: given and common. What an item says itself
// comes first, and an item that calls itself a candidate is not meant by an instruction for all.
func (i *item) steer(common *hints, given *bgevl.Role) (bgevl.Role, *string, error) {
	h := i.hints
	candidate := false
	if h.Role == nil {
		h.Role = common.Role
	} else {
		candidate = strings.EqualFold(*h.Role, bgevl.RoleCandidate.String())
		given = nil
	}
	if h.Instruction == nil && h.Task == nil && !candidate {
		h.Instruction, h.Task = common.Instruction, common.Task
	}
	return h.steer(given)
}

// items are one item or several.
type items struct {
	list   []item
	single bool // there was no array
}

// UnmarshalJSON reads an item or an array of them.
func (i *items) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, &i.list)
	}
	if string(data) == "null" {
		return nil
	}
	i.list, i.single = make([]item, 1), true
	return json.Unmarshal(data, &i.list[0])
}

// at names an item in errors, where the body's field has a name.
func (i *items) at(field string, index int) string {
	if i.single {
		return field
	}
	return fmt.Sprintf("%s[%d]", field, index)
}

// part is a piece of an input's content: a text or an image.
type part struct {
	text, image *string
	param       string // where it stands in the body
}

// compose makes one input of the parts of its content. A model reads one text and one image: texts are joined by line
// ends, and a second image is refused.
func (s *Server) compose(parts []part, param string) (input, error) {
	in := input{param: param}
	var texts []string
	for _, p := range parts {
		switch {
		case p.text != nil:
			texts = append(texts, *p.text)
		case p.image != nil && in.picture != nil:
			return in, invalid(p.param, "a second image: an input is one text, one image, or both")
		case p.image != nil:
			var err error
			if in.picture, err = s.newPicture(*p.image, p.param); err != nil {
				return in, err
			}
		}
	}
	if texts != nil {
		in.text = new(strings.Join(texts, "\n"))
	}
	if in.text == nil && in.picture == nil {
		return in, emptyInput(param)
	}
	return in, nil
}

// contentPart is a part as dialects write it that tell them apart by type.
type contentPart struct {
	Type        string   `json:"type"`
	Text        *string  `json:"text"`
	ImageURL    *chatURL `json:"image_url"`
	ImageBase64 *string  `json:"image_base64"`
}

// contentOf is an input of such parts.
type contentOf struct {
	Content []contentPart `json:"content"`
}

// parts returns the parts of the types that the dialect has; want says in words which those are.
func (c *contentOf) parts(param, want string, types ...string) ([]part, error) {
	parts := make([]part, len(c.Content))
	for i, p := range c.Content {
		x := part{param: fmt.Sprintf("%s.content[%d]", param, i)}
		switch p.Type {
		case "text":
			x.text = p.Text
		case "image_url":
			x.image = (*string)(p.ImageURL)
		case "image_base64":
			x.image = p.ImageBase64
		}
		if x.text == nil && x.image == nil || !slices.Contains(types, p.Type) {
			return nil, invalid(x.param, want)
		}
		parts[i] = x
	}
	return parts, nil
}

// countPictures returns how many of the inputs have one.
func countPictures(inputs []input) int {
	n := 0
	for _, in := range inputs {
		if in.picture != nil {
			n++
		}
	}
	return n
}

func emptyInput(param string) *apiError {
	return &apiError{status: http.StatusBadRequest, code: codeEmpty, param: param, message: "neither a text nor an image"}
}

// Headers of this server's own, which every response with embeddings has that needs them.
const (
	headerTruncated = "X-Bgevl-Truncated" // indices of the inputs whose text was cut: "0,3"
	headerWarning   = "X-Bgevl-Warning"   // what may make the embeddings less good than they could be
)

// report sets the headers that say what was done to the inputs. It comes before the response's status.
func report(w http.ResponseWriter, e *embedded) {
	if len(e.truncated) > 0 {
		indices := make([]string, len(e.truncated))
		for i, index := range e.truncated {
			indices[i] = strconv.Itoa(index)
		}
		w.Header().Set(headerTruncated, strings.Join(indices, ","))
	}
	for _, warning := range e.warnings {
		w.Header().Add(headerWarning, warning)
	}
}

// vectors returns the embeddings of all results, the first dim floats of each, and adds the warning that those deserve.
// Zero means all floats; param names the field that asked for so many.
func (e *embedded) vectors(dim int, param string) ([][]float32, error) {
	if dim > 0 && len(e.results) > 0 && dim < len(e.results[0].Embedding) {
		e.warnings = append(e.warnings, warnShortened)
	}
	out := make([][]float32, len(e.results))
	for i, r := range e.results {
		v, err := shorten(r.Embedding, dim, param)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// base64Numbers encodes numbers that encodeVector returns: float32 in little-endian order, everything else in a byte a number.
func base64Numbers(numbers any) string {
	var data []byte
	switch v := numbers.(type) {
	case []float32:
		return base64Floats(v)
	case []int8:
		for _, x := range v {
			data = append(data, byte(x))
		}
	case []uint16:
		for _, x := range v {
			data = append(data, byte(x))
		}
	}
	return base64.StdEncoding.EncodeToString(data)
}

// errorText is an error for dialects whose errors have one text and no field for what is at fault.
func (e *apiError) errorText() string {
	if e.param == "" {
		return e.message
	}
	return e.param + ": " + e.message
}

// dimensions checks how many dimensions a body asks for. Zero is all of them, for whoever did not ask.
func (s *Server) dimensions(asked *int, param string) (int, error) {
	if asked == nil {
		return 0, nil
	}
	if *asked < 1 || *asked > s.model.Dim() {
		return 0, invalid(param, fmt.Sprintf("want 1 to %d", s.model.Dim()))
	}
	return *asked, nil
}
