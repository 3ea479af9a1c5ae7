package bgevl

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// noTemplate is Fingerprint.Template of families that embed a text as it is.
const noTemplate = "none"

// Fingerprint is everything that a stored embedding depends on besides its input. Embeddings may be compared only if
// their fingerprints are equal; Diff says what differs. The zero Fingerprint is that of vectors of unknown origin.
type Fingerprint struct {
	Family        string `json:"family"`
	Model         string `json:"model"`         // digest of the source weights, or of the file's tensors
	Type          string `json:"type"`          // of the weights: "f16", "q8_0"
	Dim           int    `json:"dim"`           // floats of an embedding
	Tokenizer     string `json:"tokenizer"`     // digest
	Preprocessing string `json:"preprocessing"` // digest of how a picture becomes pixels
	Pooling       string `json:"pooling"`       // which state is the text's, and how features are fused
	Template      string `json:"template"`      // digest of the prompt, or "none"
}

// part is one field of a fingerprint.
type part struct{ name, value string }

func (f Fingerprint) parts() []part {
	return []part{{"family", f.Family}, {"model", f.Model}, {"type", f.Type}, {"dim", strconv.Itoa(f.Dim)},
		{"tokenizer", f.Tokenizer}, {"preprocessing", f.Preprocessing}, {"pooling", f.Pooling}, {"template", f.Template}}
}

// Sum returns one digest over all fields, in hexadecimal. It is the same in every version of this package.
func (f Fingerprint) Sum() string {
	h := sha256.New()
	for _, p := range f.parts() {
		fmt.Fprintf(h, "%s=%q\n", p.name, p.value)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Diff returns the names of the fields in which f and other differ, as they are in JSON, in order of declaration.
func (f Fingerprint) Diff(other Fingerprint) []string {
	var names []string
	theirs := other.parts()
	for i, p := range f.parts() {
		if p != theirs[i] {
			names = append(names, p.name)
		}
	}
	return names
}
