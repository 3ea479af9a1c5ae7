package llamatest

import (
	"fmt"
	"strings"
)

// Ids of the special tokens, and of the byte tokens that follow them.
const (
	BOS, EOS  = 1, 2
	FirstByte = 3
)

// words are the tokens beside bytes and letters. Each is made of two shorter ones, or a letter and one.
const words = "▁t he at ▁the ▁c ▁cat ▁d og ▁dog ▁s ▁sa ▁sat ▁o n ▁on [I NS [INS T] [/ INS"

// tokens lists the vocabulary.
func tokens() []string {
	list := []string{"<unk>", "<s>", "</s>"}
	for b := range 256 {
		list = append(list, fmt.Sprintf("<0x%02X>", b))
	}
	seen := map[string]bool{}
	for _, word := range strings.Fields(words) {
		if !seen[word] && len([]rune(word)) > 1 {
			seen[word] = true
			list = append(list, word)
		}
	}
	list = append(list, strings.Split("▁abcdefghijklmnopqrstuvwxyz[]/INST.,!?é", "")...)
	return append(list, "<image>", "<pad>")
}

// vocabulary is the tokenizer.ggml.* form of a sentencepiece BPE with byte fallback and two added tokens.
func vocabulary() (list []string, scores []float32, types []int32) {
	const normal, unknown, control, userDefined, unused, byteType = 1, 2, 3, 4, 5, 6
	list = tokens()
	for id, token := range list {
		score, typ := float32(-id), int32(normal)
		switch {
		case id == 0:
			score, typ = 0, unknown
		case id <= EOS:
			score, typ = 0, control
		case id < FirstByte+256:
			score, typ = 0, byteType
		case token == "<image>" || token == "<pad>":
			score, typ = 0, userDefined
		}
		scores, types = append(scores, score), append(types, typ)
	}
	for i := range SpareRows {
		list, scores, types = append(list, fmt.Sprintf("[PAD%d]", i)), append(scores, 0), append(types, unused)
	}
	return list, scores, types
}

// Rows returns the rows of the token table.
func Rows() int { return len(tokens()) + SpareRows }

// ID returns the id of a token. It panics where there is none.
func ID(token string) int32 {
	for id, other := range tokens() {
		if other == token {
			return int32(id)
		}
	}
	panic("llamatest: no token " + token)
}

// Image returns the id of the image token.
func Image() int32 { return ID("<image>") }
