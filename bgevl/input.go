package bgevl

import (
	"fmt"
	"strings"
)

// Role is what an input is for: models with instructions treat the two differently.
type Role int

const (
	// RoleQuery is the input that one searches with. It is the zero Role.
	RoleQuery Role = iota
	// RoleCandidate is an input that is searched.
	RoleCandidate
)

// String returns "query" or "candidate".
func (r Role) String() string {
	switch r {
	case RoleQuery:
		return "query"
	case RoleCandidate:
		return "candidate"
	}
	return fmt.Sprintf("Role(%d)", int(r))
}

// ParseRole is the inverse of Role.String. The empty string is RoleQuery.
func ParseRole(s string) (Role, error) {
	switch strings.ToLower(s) {
	case "", "query":
		return RoleQuery, nil
	case "candidate":
		return RoleCandidate, nil
	}
	return 0, fmt.Errorf("bgevl: role %q: want query or candidate", s)
}

// Input is what one vector is made from. Text, Image, or both must be there; an empty text is a text.
type Input struct {
	// Text is the text, or nil for none. In Go 1.26 new("a text") makes one.
	Text *string

	// Image is the image, or nil for none.
	Image *Image

	// Role and Instruction say how models with instructions are to read the input. CLIP models ignore both.
	//
	// A query should have the instruction of its task, such as those of Tasks; one without is embedded as the published
	// code does it, with Result.Warning set. A nil Instruction is none; an empty one is an instruction that is empty,
	// which such models tell apart. A candidate has none: one that has fails.
	Role        Role
	Instruction *string

	// ID is handed on to the input's Result and InputError, and is not embedded.
	ID string
}

// check returns what is wrong with an input for any model.
func (in *Input) check() error {
	if in.Text == nil && in.Image == nil {
		return ErrEmptyInput
	}
	if in.Role != RoleQuery && in.Role != RoleCandidate {
		return fmt.Errorf("role %d: want RoleQuery or RoleCandidate", int(in.Role))
	}
	return nil
}

// Warning is what may make an embedding less good than it could be. The empty Warning is none.
type Warning string

// WarnNoInstruction is that of a query without an instruction for a model that was trained with one.
const WarnNoInstruction Warning = "a query without an instruction: these models want one that says what to retrieve"

// Result is what became of one input.
type Result struct {
	Index     int       // position among the inputs, from 0
	ID        string    // Input.ID
	Embedding []float32 // of unit length; nil if the input failed
	Tokens    int       // before any cut, with those that the model adds and those of an MLLM model's image; 0 where there are none
	Truncated bool      // the text was cut to fit the model, which Options.Truncate allowed
	Warning   Warning   // of an input that was embedded
	Err       error     // an *InputError if the input failed
}
