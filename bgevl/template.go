package bgevl

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// templateBGE is the name of the prompt that the BGE-VL models with instructions were trained with, as files have it in
// the key bgevl.template.
const templateBGE = "bge-vl-mllm"

// The parts of that prompt. Every space counts: the models know no other.
const (
	queryOpen     = "[INST] \n <instruct> "
	queryClose    = " <query> "
	queryPlain    = "[INST] \n <instruct>  <query>" // of a query without an instruction: two spaces, and none at the end
	candidateOpen = "[INST] "
	textOpen      = " "
	textClose     = " \n"
	imagePlace    = " " + imageWord
	promptEnd     = " [/INST]"
	imageWord     = "<image>" // the token that stands for the picture
)

// prompt writes an input as its model is to read it. A nil instruction is none and an empty one is one; candidates have
// none whatever it says. A nil text is none and an empty one is one.
func prompt(role Role, instruction, text *string, image bool) string {
	var b strings.Builder
	switch {
	case role == RoleCandidate:
		b.WriteString(candidateOpen)
	case instruction == nil:
		b.WriteString(queryPlain)
	default:
		b.WriteString(queryOpen + *instruction + queryClose)
	}
	if text != nil {
		b.WriteString(textOpen + *text + textClose)
	}
	if image {
		b.WriteString(imagePlace)
	}
	b.WriteString(promptEnd)
	return b.String()
}

// checkTemplate fails for a template that this version does not know.
func checkTemplate(name string) error {
	if name == templateBGE {
		return nil
	}
	return fmt.Errorf("key bgevl.template: %q: this version knows %q: a newer version of bgevl made the file", name, templateBGE)
}

// templateDigest is a digest of what prompt makes of every kind of input.
func templateDigest() string {
	h := sha256.New()
	instruction, text, empty := "{instruction}", "{text}", ""
	for _, role := range []Role{RoleQuery, RoleCandidate} {
		for _, i := range []*string{nil, &empty, &instruction} {
			for _, t := range []*string{nil, &empty, &text} {
				for _, image := range []bool{false, true} {
					fmt.Fprintf(h, "%q\n", prompt(role, i, t, image))
				}
			}
		}
	}
	return templateBGE + ":" + hex.EncodeToString(h.Sum(nil))
}
