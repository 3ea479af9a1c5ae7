package csrc

// #include "bge.h"
import "C"

// Code tells the kinds of failure of the C side apart.
type Code int32

// The codes of bge.h.
const (
	CodeArgument    Code = C.BGE_ERR_ARGUMENT
	CodeMemory      Code = C.BGE_ERR_MEMORY
	CodeCancelled   Code = C.BGE_ERR_CANCELLED
	CodeUnsupported Code = C.BGE_ERR_UNSUPPORTED
	CodeInternal    Code = C.BGE_ERR_INTERNAL
)

// Errors to compare with by errors.Is.
var (
	ErrArgument    = &Error{Code: CodeArgument, Message: "bad argument"}
	ErrMemory      = &Error{Code: CodeMemory, Message: "out of memory"}
	ErrCancelled   = &Error{Code: CodeCancelled, Message: "cancelled"}
	ErrUnsupported = &Error{Code: CodeUnsupported, Message: "unsupported"}
	ErrInternal    = &Error{Code: CodeInternal, Message: "internal fault"}
)

// Error is a failure of the C side. errors.Is compares codes, so that errors.Is(err, ErrMemory) holds for any message.
type Error struct {
	Code    Code
	Message string
	cause   error // of a cancellation: the context's error
}

func (e *Error) Error() string { return "csrc: " + e.Message }

// Is reports whether target is an Error of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error) // Is is asked of one error of a chain at a time
	return ok && t.Code == e.Code
}

// Unwrap returns the context's error where the failure is a cancellation, and nil otherwise.
func (e *Error) Unwrap() error { return e.cause }

// errorOf turns a bge_error into an error; nil for BGE_OK.
func errorOf(code C.int32_t, e *C.bge_error) error {
	if code == C.BGE_OK {
		return nil
	}
	return &Error{Code: Code(code), Message: C.GoString(&e.message[0])}
}

func argumentError(message string) error {
	return &Error{Code: CodeArgument, Message: message}
}
