package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Bounds of a JSON body beside its size, which keep the memory that it is decoded into near that size.
const (
	maxDepth    = 16      // no dialect nests deeper than 6
	maxElements = 1 << 17 // fields and elements in all, far above what MaxInputs inputs have
)

// decodeBody reads a request's JSON body into v. It refuses what is no JSON, or not sent as such, is too large or nested
// too deep, or has anything after it. Fields that v does not have are ignored: clients send all kinds. Where the queue
// is full the body is not even read.
func (s *Server) decodeBody(r *http.Request, v any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return &apiError{status: http.StatusUnsupportedMediaType, code: codeContentType, message: "send the header Content-Type: application/json"}
	}
	if err := s.queue.admits(callOf(r.Context()).client, 1); err != nil {
		return err
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if object := bytes.TrimLeft(data, " \t\r\n"); len(object) > 0 && object[0] != '{' && json.Valid(object) {
		return invalid("", "want an object: {...}")
	}
	return decodeJSON(data, v)
}

// decodeJSON is decodeBody of what was read.
func decodeJSON(data []byte, v any) error {
	if !utf8.Valid(data) {
		return invalid("", "the body is not UTF-8")
	}
	if err := checkShape(data); err != nil {
		return err
	}
	err := json.Unmarshal(data, v)
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid(kind.Field, "the field has a value of the wrong type")
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalid("", fmt.Sprintf("the body is no JSON, as byte %d shows", syntax.Offset))
	}
	if e, ok := errors.AsType[*apiError](err); ok {
		return e // of a type that decodes itself
	}
	if err != nil {
		return invalid("", "the body is no JSON that this route takes")
	}
	return nil
}

// checkShape refuses JSON that is nested too deep or has too many parts, without decoding any of it. What is no JSON at
// all it need not notice.
func checkShape(data []byte) error {
	depth, elements, quoted := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ',':
			elements++
		}
		if depth > maxDepth {
			return invalid("", fmt.Sprintf("the body is nested more than %d deep", maxDepth))
		}
		if elements > maxElements {
			return invalid("", fmt.Sprintf("the body has more than %d fields and elements", maxElements))
		}
	}
	return nil
}

// newPicture returns the picture that a string in a body means: a data URI, base64 by itself, or an https URL where those
// are on. It never means a path. param names the field in errors.
func (s *Server) newPicture(ref, param string) (*picture, error) {
	if len(ref) >= 5 && strings.EqualFold(ref[:5], "data:") {
		head, data, ok := strings.Cut(ref[5:], ",")
		if !ok || !strings.HasSuffix(strings.ToLower(head), ";base64") {
			return nil, badPicture(param, "want a data URI with base64: data:image/png;base64,...")
		}
		return decodePicture(data, param)
	}
	if strings.Contains(ref, ":") { // base64 has none
		if s.fetcher.off() {
			return nil, badPicture(param, "image URLs are off on this server: send the picture itself, as a data URI or base64")
		}
		return &picture{url: ref}, nil
	}
	return decodePicture(ref, param)
}

func badPicture(param, message string) *apiError {
	return &apiError{status: http.StatusBadRequest, code: codeImage, param: param, message: message}
}

// decodePicture decodes base64, of either alphabet, with its padding or without.
func decodePicture(text, param string) (*picture, error) {
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	text = strings.TrimRight(text, "\r\n")
	data, err := encoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, badPicture(param, "the picture is no base64: send it as a data URI or base64")
	}
	if len(data) == 0 {
		return nil, badPicture(param, "the picture is empty")
	}
	return &picture{data: data}, nil
}
