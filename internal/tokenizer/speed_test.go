package tokenizer

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// hostileSize and hostileLimit are the project's own bound: see the scoreboard of hostile conditions.
const (
	hostileSize  = 100_000
	hostileLimit = 50 * time.Millisecond
)

// hostileTexts are texts of hostileSize bytes that ask for the most work.
func hostileTexts() map[string]string {
	repeat := func(s string) string { return strings.Repeat(s, hostileSize/len(s)+1)[:hostileSize] }
	r := &random{1}
	fill := func(f func() string) string {
		var b strings.Builder
		for b.Len() < hostileSize {
			b.WriteString(f())
		}
		return b.String()[:hostileSize]
	}
	return map[string]string{
		"one letter":      repeat("a"),
		"two letters":     repeat("ab"),
		"one word":        repeat("internationalization"),
		"random letters":  fill(func() string { return string(rune('a' + r.below(26))) }),
		"capitals":        fill(func() string { return string(rune('A' + r.below(26))) }),
		"spaces":          repeat(" "),
		"newlines":        repeat("\n"),
		"emoji":           repeat("👩‍👩‍👧"),
		"random emoji":    fill(func() string { return string(rune(0x1f300 + r.below(0x2ff))) }),
		"han":             fill(func() string { return string(rune(0x4e00 + r.below(0x51ff))) }),
		"hangul jamo":     repeat("\u1100\u1161\u11a8"),
		"letters of mark": fill(func() string { return "e" + string(rune(0x300+r.below(0x45))) }),
		"one run of mark": "a" + fill(func() string { return string(rune(0x300 + r.below(0x70))) }),
		"symbols":         fill(func() string { return string(rune('!' + r.below(15))) }),
		"exclamations":    repeat("!"),
		"digits":          repeat("1234567890"),
		"apostrophes":     repeat("'"),
		"contractions":    repeat("'s'll"),
		"bytes":           fill(func() string { return string([]byte{byte(r.below(256))}) }),
		"broken UTF-8":    repeat("\xf0\x9f\x98"),
		"zeros":           repeat("\x00"),
		"end of text":     repeat("<|endoftext|>"),
		"almost one":      repeat("<|endoftext|"),
		"less than":       repeat("<"),
		"image":           repeat("<image>"),
		"metaspace":       repeat("▁"),
		"astral":          fill(func() string { return string(rune(0x10000 + r.below(0x100000))) }),
		"words":           repeat("the quick brown fox jumps over the lazy dog, "),
	}
}

func requireFast(t *testing.T, name string, tok Tokenizer) {
	for kind, text := range hostileTexts() {
		if raceEnabled {
			text = text[:hostileSize/20]
		}
		best := time.Hour
		for try := 0; try < 20 && best >= hostileLimit; try++ { // the machine may be busy with other work
			var ids []int32
			best = min(best, timeOf(func() { ids = tok.Encode(text) }))
			require.NotEmpty(t, ids)
			if raceEnabled {
				break
			}
		}
		t.Logf("%s: %s: %v", name, kind, best)
		if !raceEnabled {
			require.Less(t, best, hostileLimit, "%s: %s", name, kind)
		}
	}
}

func TestHostileTextsAreFast(t *testing.T) {
	for _, name := range []string{"small-clip", "small-mistral", "small-mistral-first"} {
		requireFast(t, name, checkpointTokenizer(t, filepath.Join("testdata", name)))
	}
	t.Run("real", func(t *testing.T) {
		checkpoints := filepath.Join(testenv.Shared(t), "fixtures", "checkpoints")
		for _, name := range []string{"clip-base-tiny", "mllm-tiny", "mllm-tiny-v15"} {
			requireFast(t, name, checkpointTokenizer(t, filepath.Join(checkpoints, name)))
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	checkpoints := filepath.Join(testenv.Shared(b), "fixtures", "checkpoints")
	for _, name := range []string{"clip-large-tiny", "mllm-tiny"} {
		b.Run(name, func(b *testing.B) {
			tok := checkpointTokenizer(b, filepath.Join(checkpoints, name))
			const text = "Make the background dark, as if the camera has taken the photo at night"
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Encode(text)
			}
		})
	}
}

func BenchmarkFromJSON(b *testing.B) {
	checkpoints := filepath.Join(testenv.Shared(b), "fixtures", "checkpoints")
	for _, name := range []string{"clip-base-tiny", "clip-large-tiny", "mllm-tiny"} {
		b.Run(name, func(b *testing.B) {
			text, err := CheckpointJSON(filepath.Join(checkpoints, name))
			require.NoError(b, err)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := FromJSON(text)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkFromGGUFKeys(b *testing.B) {
	checkpoints := filepath.Join(testenv.Shared(b), "fixtures", "checkpoints")
	for _, name := range []string{"clip-base-tiny", "mllm-tiny"} {
		b.Run(name, func(b *testing.B) {
			f := asGGUF(b, keysOf(b, filepath.Join(checkpoints, name), 0))
			for b.Loop() {
				_, err := FromGGUF(f)
				require.NoError(b, err)
			}
		})
	}
}
