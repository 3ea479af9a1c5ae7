package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/bgevl/bgevl/bgevl"
)

// openAIBody is the body of POST /v1/embeddings in all its forms:
//
//	OpenAI    {"input": "s" | ["s", ...]}
//	Infinity  {"input": "url" | ["url", ...], "modality": "image"}
//	Jina      {"input": [{"text"} | {"image"}, ...], "task"}
//	vLLM      {"messages": [{"role", "content"}, ...]}
//	Voyage    {"input": "s" | ["s", ...], "input_type", "output_dtype"}
//
// An item of Jina's form may have a text and an image, and with "instruction" and "role" it is all that an input can be.
// Both may also stand in the body, for all items that have none.
type openAIBody struct {
	Input    json.RawMessage `json:"input"`
	Messages []chatMessage   `json:"messages"`

	Modality    string  `json:"modality"`
	Task        string  `json:"task"`
	Role        string  `json:"role"`
	Instruction *string `json:"instruction"`

	Truncate       bool `json:"truncate"`               // Jina's: without it, a text that is too long is an error
	TruncateTokens *int `json:"truncate_prompt_tokens"` // vLLM's: -1 is the model's own limit

	// Voyage's names. What its clients ask for by them must not be passed over: they read the answer by it.
	InputType       string  `json:"input_type"`
	Truncation      *bool   `json:"truncation"`
	OutputDimension *int    `json:"output_dimension"`
	OutputDtype     *string `json:"output_dtype"`

	EncodingFormat string   `json:"encoding_format"`
	EmbeddingType  oneOrAll `json:"embedding_type"` // Jina's name for it
	Dimensions     *int     `json:"dimensions"`
	Normalized     *bool    `json:"normalized"`
}

// oneOrAll is a string, or an array of strings.
type oneOrAll []string

// UnmarshalJSON is for encoding/json.
func (o *oneOrAll) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*o = make([]string, 1)
		return json.Unmarshal(data, &(*o)[0])
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// encoder returns what writes a vector in the format that is asked for.
func (b *openAIBody) encoder() (func(v []float32) any, error) {
	if b.OutputDtype != nil && *b.OutputDtype != "float" {
		voyage := voyageBody{OutputDtype: b.OutputDtype}
		if b.EncodingFormat != "" {
			voyage.EncodingFormat = &b.EncodingFormat
		}
		return voyage.encoder()
	}
	format, err := b.format()
	return func(v []float32) any { return encodeVector(format, v) }, err
}

// format returns the format of vectors that is asked for.
func (b *openAIBody) format() (string, error) {
	format, param := b.EncodingFormat, "encoding_format"
	if format == "" && len(b.EmbeddingType) > 0 {
		format, param = b.EmbeddingType[0], "embedding_type"
	}
	if format == "" {
		format = "float"
	}
	if encodeVector(format, nil) == nil || len(b.EmbeddingType) > 1 {
		return "", invalid(param, "want one of "+strings.Join(vectorFormats(), ", "))
	}
	return format, nil
}

// openAIItemBody is an item of Jina's form.
type openAIItemBody struct {
	Text        *string `json:"text"`
	Image       *string `json:"image"`
	Role        string  `json:"role"`
	Instruction *string `json:"instruction"`
}

// openAIInputs returns the inputs of a body.
func (s *Server) openAIInputs(b *openAIBody) ([]input, error) {
	given := len(b.Input) > 0 && string(b.Input) != "null"
	switch {
	case given && b.Messages != nil:
		return nil, invalid("messages", "give either input or messages")
	case b.Messages != nil:
		return s.chatInputs(b)
	case !given:
		return nil, &apiError{status: http.StatusBadRequest, code: codeEmpty, param: "input", message: "give input or messages"}
	}
	if b.Input[0] != '[' {
		in, err := s.openAIInput(b, b.Input, "input")
		return []input{in}, err
	}
	var items []json.RawMessage
	if err := json.Unmarshal(b.Input, &items); err != nil {
		return nil, invalid("input", "no array")
	}
	if len(items) > 0 && isToken(items[0]) {
		return nil, tokenIDs("input")
	}
	if len(items) > s.opt.MaxInputs {
		return nil, s.tooMany(len(items))
	}
	inputs := make([]input, len(items))
	for i, item := range items {
		var err error
		if inputs[i], err = s.openAIInput(b, item, fmt.Sprintf("input[%d]", i)); err != nil {
			return nil, err
		}
	}
	return inputs, nil
}

func isToken(item json.RawMessage) bool { return item[0] == '-' || item[0] >= '0' && item[0] <= '9' }

// tokenIDs refuses ids: they are those of a tokenizer of OpenAI's, and mean other words to this model.
func tokenIDs(param string) *apiError {
	return invalid(param, "token ids are not taken, they differ from model to model: send text (langchain: check_embedding_ctx_length=False)")
}

// openAIInput returns one input of the forms that have "input".
func (s *Server) openAIInput(b *openAIBody, item json.RawMessage, param string) (input, error) {
	var fields openAIItemBody
	switch item[0] {
	case '"':
		var text string
		if err := json.Unmarshal(item, &text); err != nil {
			return input{}, invalid(param, "no string")
		}
		switch b.Modality {
		case "", "text":
			fields.Text = &text
		case "image":
			fields.Image = &text
		default:
			return input{}, invalid("modality", "want text or image")
		}
	case '{':
		if err := decodeJSON(item, &fields); err != nil {
			return input{}, within(err, param)
		}
	case '[':
		return input{}, tokenIDs(param)
	default:
		return input{}, invalid(param, "want a string, or an object with text, image or both")
	}
	return s.composed(b, fields, param)
}

// within puts the place of an item before the field that an error names.
func within(err error, param string) error {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		return err
	}
	if e.param != "" {
		param += "." + e.param
	}
	return &apiError{status: e.status, code: e.code, param: param, message: e.message}
}

// composed returns the input that fields mean, with what the body says for all.
func (s *Server) composed(b *openAIBody, f openAIItemBody, param string) (input, error) {
	in := input{text: f.Text, instruction: f.Instruction, param: param}
	if f.Text == nil && f.Image == nil {
		return in, &apiError{status: http.StatusBadRequest, code: codeEmpty, param: param, message: "give text, image or both"}
	}
	if f.Image != nil {
		p, err := s.newPicture(*f.Image, param)
		if err != nil {
			return in, err
		}
		in.picture = p
	}
	role, instruction, err := b.steer()
	if err != nil {
		return in, err
	}
	in.role = role
	if f.Role != "" {
		if in.role, _, err = openAIRole(f.Role, ""); err != nil {
			return in, within(err, param)
		}
	}
	if b.Instruction != nil {
		instruction = b.Instruction
	}
	if in.instruction == nil && in.role == bgevl.RoleQuery {
		in.instruction = instruction
	}
	if n := b.TruncateTokens; n != nil && *n != -1 {
		return in, invalid("truncate_prompt_tokens", "want -1, the model's own limit")
	}
	in.truncate = b.Truncate || b.TruncateTokens != nil || b.Truncation != nil && *b.Truncation
	return in, nil
}

// steer returns the role and instruction that the body asks for.
func (b *openAIBody) steer() (bgevl.Role, *string, error) {
	if b.InputType == "" || b.Role != "" {
		return openAIRole(b.Role, b.Task)
	}
	switch b.InputType {
	case "query":
		return openAIRole("", b.Task)
	case "document", "passage": // the latter is NVIDIA's
		return bgevl.RoleCandidate, nil, nil
	}
	return 0, nil, invalid("input_type", "want query or document")
}

// chatMessage is a message of vLLM's form.
type chatMessage struct {
	Role    string      `json:"role"`
	Content chatContent `json:"content"`
}

// chatContent is a string, or an array of parts.
type chatContent []chatPart

type chatPart struct {
	Type     string  `json:"type"`
	Text     string  `json:"text"`
	ImageURL chatURL `json:"image_url"`
}

// chatURL is {"url": "..."}, or the URL alone.
type chatURL string

// UnmarshalJSON is for encoding/json.
func (u *chatURL) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(u))
	}
	var object struct {
		URL string `json:"url"`
	}
	err := json.Unmarshal(data, &object)
	*u = chatURL(object.URL)
	return err
}

// UnmarshalJSON is for encoding/json.
func (c *chatContent) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*c = chatContent{{Type: "text"}}
		return json.Unmarshal(data, &(*c)[0].Text)
	}
	return json.Unmarshal(data, (*[]chatPart)(c))
}

// chatInputs returns the one input of vLLM's form: what the user says is embedded, what the system says is its
// instruction.
func (s *Server) chatInputs(b *openAIBody) ([]input, error) {
	var fields openAIItemBody
	var said, system []string
	for i, m := range b.Messages {
		for j, part := range m.Content {
			param := fmt.Sprintf("messages[%d].content[%d]", i, j)
			isImage := part.Type == "image_url"
			switch {
			case !isImage && part.Type != "text":
				return nil, invalid(param, "want a part of type text or image_url")
			case isImage && fields.Image != nil:
				return nil, invalid(param, "more than one image: an input has one at most")
			case isImage && m.Role == "user":
				fields.Image = (*string)(&part.ImageURL)
			case m.Role == "user":
				said = append(said, part.Text)
			case m.Role == "system" && !isImage:
				system = append(system, part.Text)
			case part.Text != "" || isImage: // an empty answer is how some templates end
				return nil, invalid(fmt.Sprintf("messages[%d]", i), "want the role user, or system with texts only")
			}
		}
	}
	if said != nil {
		text := strings.Join(said, "\n")
		fields.Text = &text
	}
	if system != nil {
		instruction := strings.Join(system, "\n")
		fields.Instruction = &instruction
	}
	in, err := s.composed(b, fields, "messages")
	return []input{in}, err
}
