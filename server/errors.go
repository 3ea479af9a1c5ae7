package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/bgevl/bgevl/bgevl"
)

// apiError is why a request was not answered, as the client may know it.
type apiError struct {
	status     int       // of HTTP
	code       errorCode // what a program tells errors apart by
	param      string    // the field of the body that is at fault, "input[2]", where there is one
	message    string    // for people: a fixed text, with field names and numbers at most
	retryAfter time.Duration
}

func (e *apiError) Error() string { return e.message }

// errorCode tells errors apart. Dialects turn it into what their clients know.
type errorCode string

// Every code that a handler may meet.
const (
	codeInvalid     errorCode = "invalid_value"           // 400: a field of the body, named by param
	codeEmpty       errorCode = "empty_input"             // 400: no inputs, or one with neither text nor image
	codeTooMany     errorCode = "too_many_inputs"         // 413
	codeBody        errorCode = "body_too_large"          // 413
	codeTooLong     errorCode = "context_length_exceeded" // 400: a text that is too long
	codeImage       errorCode = "invalid_image"           // 400: no picture, too large a one, or one that cannot be fetched
	codeContentType errorCode = "unsupported_media_type"  // 415
	codeKey         errorCode = "invalid_api_key"         // 401
	codeForbidden   errorCode = "forbidden"               // 403: a Host or Origin
	codeNotFound    errorCode = "not_found"               // 404
	codeMethod      errorCode = "method_not_allowed"      // 405
	codeSlow        errorCode = "request_timeout"         // 408
	codeGone        errorCode = "client_closed_request"   // 499: nobody reads it
	codeBusy        errorCode = "overloaded"              // 429
	codeStopping    errorCode = "shutting_down"           // 503
	codeModel       errorCode = "model_failed"            // 500: the model failed on an input that looked right
	codeInternal    errorCode = "internal_error"          // 500
)

// invalid is the error of a field of the body.
func invalid(param, message string) *apiError {
	return &apiError{status: http.StatusBadRequest, code: codeInvalid, param: param, message: message}
}

// dialect returns the status and the body, written as JSON, of an error response.
type dialect func(e *apiError) (status int, body any)

// statusGone is for logs and metrics: the client hung up, and hardly gets it.
const statusGone = 499

// fail writes an error. It is the one place where that happens, and where the server's own failures are logged.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, d dialect, err error) {
	e := seen(err)
	s.meter.failed(e.code)
	if e.status >= http.StatusInternalServerError && e.code != codeStopping {
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "code", string(e.code), "error", err)
	}
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.retryAfter.Seconds()))))
	}
	status, body := d(e)
	writeJSON(w, status, body)
}

// seen is what a client may know of an error.
func seen(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if failure, ok := errors.AsType[*modelFailure](err); ok {
		return &apiError{status: http.StatusInternalServerError, code: codeModel, param: failure.param,
			message: "the model failed on this input: the server's log says more"}
	}
	if errors.Is(err, bgevl.ErrClosed) {
		return stopping()
	}
	if errors.Is(err, context.Canceled) {
		return &apiError{status: statusGone, code: codeGone, message: "the connection was closed before the answer"}
	}
	return &apiError{status: http.StatusInternalServerError, code: codeInternal, message: "internal error: the server's log says more"}
}
