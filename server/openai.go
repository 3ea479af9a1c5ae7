package server

import "net/http"

// openAIRoutes are the routes that OpenAI's clients call.
func (s *Server) openAIRoutes() []route {
	return []route{
		{pattern: "GET /v1/models", dialect: openAIError, handle: s.openAIModels},
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
	b := body{Message: e.message, Type: openAIErrorType(e.status), Code: string(e.code)}
	if e.param != "" {
		b.Param = &e.param
	}
	return e.status, map[string]body{"error": b}
}

func openAIErrorType(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status >= http.StatusInternalServerError:
		return "server_error"
	}
	return "invalid_request_error"
}

func (s *Server) openAIModels(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []any{
		map[string]any{"id": s.opt.ModelName, "object": "model", "owned_by": "bgevl"},
	}})
	return nil
}
