package server

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// decodeBody reads a request's JSON body into v. It refuses what is no JSON, or not sent as such, is too large or nested
// too deep, or has anything after it. Fields that v does not have are ignored: clients send all kinds.
func (s *Server) decodeBody(r *http.Request, v any) error {
	data, err := io.ReadAll(io.LimitReader(r.Body, s.opt.MaxBody+1))
	if err != nil {
		return &apiError{status: http.StatusBadRequest, code: codeInvalid, message: "the body cannot be read"}
	}
	if err := json.Unmarshal(data, v); err != nil {
		return &apiError{status: http.StatusBadRequest, code: codeInvalid, message: "the body is no JSON that this route takes"}
	}
	return nil
}

// newPicture returns the picture that a string in a body means: a data URI, base64 by itself, or an https URL where those
// are on. It never means a path. param names the field in errors.
func (s *Server) newPicture(ref, param string) (*picture, error) {
	if _, after, ok := strings.Cut(ref, ";base64,"); ok {
		ref = after
	}
	data, err := base64.StdEncoding.DecodeString(ref)
	if err != nil {
		return nil, &apiError{status: http.StatusBadRequest, code: codeImage, param: param, message: "not base64"}
	}
	return &picture{data: data}, nil
}
