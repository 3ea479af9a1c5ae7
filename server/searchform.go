package server

import (
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"unicode/utf8"
)

// Bounds of a form.
const (
	maxParts = 16       // there are ten fields
	maxField = 64 << 10 // bytes of one that is no picture
)

// decodeForm reads POST /v1/search from a form: the fields of the query by their names, negative_image and negative_id, the
// filter as JSON, and pictures as files. They stay in memory, which the body's bound and lease are for.
func (s *Server) decodeForm(r *http.Request, body *searchBody) error {
	if err := s.queue.admits(callOf(r.Context()).client, 1); err != nil {
		return err
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return invalid("", "the form has no boundary, or is damaged")
	}
	seen := map[string]bool{}
	for range maxParts + 1 {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return formError(err)
		}
		name := part.FormName()
		if seen[name] {
			return invalid(name, "the form has the field twice")
		}
		seen[name] = true
		if err := body.field(name, part); err != nil {
			return err
		}
	}
	return invalid("", "the form has too many fields")
}

// formError keeps the body's own errors, and words all others.
func formError(err error) error {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	return invalid("", "the form is damaged")
}

// field takes in one field of a form. Fields of other names are passed over, and so are empty ones: pages send them.
func (b *searchBody) field(name string, part *multipart.Part) error {
	switch name {
	case "image", "negative_image":
		data, err := io.ReadAll(part)
		if err != nil {
			return formError(err)
		}
		if len(data) > 0 {
			b.of(name).upload = data
		}
		return nil
	case "text", "negative", "id", "negative_id", "instruction", "k", "min_score", "filter":
	default:
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(part, maxField+1))
	switch {
	case err != nil:
		return formError(err)
	case len(data) > maxField:
		return invalid(name, "the field is too long")
	case !utf8.Valid(data):
		return invalid(name, "the field is not UTF-8")
	case len(data) == 0:
		return nil
	}
	return b.set(name, string(data))
}

// of returns the query that a field belongs to: the query itself, or its negative.
func (b *searchBody) of(field string) *searchQuery {
	switch field {
	case "negative", "negative_image", "negative_id":
		if b.Query.Negative == nil {
			b.Query.Negative = &negative{}
		}
		return &b.Query.Negative.searchQuery
	}
	return &b.Query
}

func (b *searchBody) set(name, value string) error {
	switch name {
	case "text", "negative":
		b.of(name).Text = &value
	case "id", "negative_id":
		b.of(name).ID = &value
	case "instruction":
		b.Query.Instruction = &value
	case "k":
		k, err := strconv.Atoi(value)
		if err != nil {
			return invalid(name, "want a whole number")
		}
		b.K = &k
	case "min_score":
		least, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return invalid(name, "want a number")
		}
		b.MinScore = &least
	case "filter":
		if err := checkShape([]byte(value)); err != nil {
			return err
		}
		if json.Unmarshal([]byte(value), &b.Filter) != nil {
			return invalid(name, "want an object, as JSON")
		}
	}
	return nil
}
