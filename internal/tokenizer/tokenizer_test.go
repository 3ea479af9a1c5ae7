package tokenizer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

type goldenCase struct {
	ID          string  `json:"id"`
	Text        *string `json:"text"`
	Image       *string `json:"image"`
	Role        string  `json:"role"`
	Instruction *string `json:"instruction"`
	Tokens      []int32 `json:"tokens"`
}

func readCases(t *testing.T, path string) map[string]goldenCase {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	cases := map[string]goldenCase{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var c goldenCase
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		cases[c.ID] = c
	}
	require.NoError(t, lines.Err())
	return cases
}

// prompt is the text that a BGE-VL-MLLM model is given for a case.
func (c goldenCase) prompt() string {
	s := "[INST] "
	switch {
	case c.Role != "candidate" && c.Instruction == nil:
		s = "[INST] \n <instruct>  <query>"
	case c.Role != "candidate":
		s = "[INST] \n <instruct> " + *c.Instruction + " <query> "
	}
	if c.Text != nil {
		s += " " + *c.Text + " \n"
	}
	if c.Image != nil {
		s += " <image>"
	}
	return s + " [/INST]"
}

func checkpointTokenizer(t testing.TB, dir string) Tokenizer {
	text, err := CheckpointJSON(dir)
	require.NoError(t, err)
	tok, err := FromJSON(text)
	require.NoError(t, err)
	return tok
}

func TestGoldens(t *testing.T) {
	fixtures := filepath.Join(testenv.Shared(t), "fixtures")
	for name, file := range map[string]string{
		"clip-base-tiny": "cases_clip.jsonl", "clip-large-tiny": "cases_clip.jsonl",
		"mllm-tiny": "cases_mllm.jsonl", "mllm-tiny-v15": "cases_mllm.jsonl",
	} {
		t.Run(name, func(t *testing.T) {
			tok := checkpointTokenizer(t, filepath.Join(fixtures, "checkpoints", name))
			cases := readCases(t, filepath.Join(fixtures, file))
			checked := 0
			for id, golden := range readCases(t, filepath.Join(fixtures, "checkpoints", name+".golden.jsonl")) {
				if golden.Tokens == nil {
					continue
				}
				text := cases[id].prompt()
				if file == "cases_clip.jsonl" {
					text = *cases[id].Text
				}
				require.Equal(t, golden.Tokens, tok.Encode(text), "%s: %q", id, text)
				checked++
			}
			require.Greater(t, checked, 15)
		})
	}
}
