package server

import (
	_ "embed" // for the document
	"encoding/json"
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"
)

// openapiDocument describes every route of the server. Tests hold the two to each other.
//
//go:embed openapi.yaml
var openapiDocument []byte

// openapiJSON returns the document as programs read it.
func openapiJSON() ([]byte, error) {
	var document map[string]any
	if err := yaml.Unmarshal(openapiDocument, &document); err != nil {
		return nil, fmt.Errorf("server: openapi.yaml: %w", err)
	}
	return json.Marshal(document)
}

// openapiRoutes are those of the document.
func (s *Server) openapiRoutes() []route {
	return []route{{pattern: "GET /openapi.json", dialect: openAIError, handle: s.openapi}}
}

// openapi answers GET /openapi.json.
func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) error {
	document, err := openapiJSON()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(document)
	return err
}
