package tokenizer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// textCount is how many texts the goldens cover.
const textCount = 10_000

// A random is splitmix64.
type random struct{ state uint64 }

func (r *random) below(n int) int {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}

// A textAlphabet is what the texts are put together from: testdata/texts.json.
type textAlphabet struct {
	Fragments     []string
	Ranges, Marks [][2]int
	Invalid       [][]int
}

func readAlphabet(t testing.TB) textAlphabet {
	data, err := os.ReadFile("testdata/texts.json")
	require.NoError(t, err)
	var a textAlphabet
	require.NoError(t, json.Unmarshal(data, &a))
	return a
}

// text makes the text of an index, step by step as tools/goldens/tokenizer_texts.py does.
func (a textAlphabet) text(index uint64) string {
	r := &random{index * 0x2545f4914f6cdd1d}
	pieces := 1 + r.below(12)
	if r.below(50) == 0 {
		pieces *= 8
	}
	var b strings.Builder
	run := func(ranges [][2]int, length func() int) {
		x := ranges[r.below(len(ranges))]
		for range length() {
			b.WriteRune(rune(x[0] + r.below(x[1]-x[0]+1))) // half a surrogate pair becomes U+FFFD
		}
	}
	for range pieces {
		switch kind := r.below(16); {
		case kind < 5:
			b.WriteString(a.Fragments[r.below(len(a.Fragments))])
		case kind < 11:
			run(a.Ranges, func() int { return 1 + r.below(7) })
		case kind < 12:
			b.WriteRune(rune(r.below(0x110000)))
		case kind < 13:
			run(a.Marks, func() int {
				n := 1 + r.below(4)
				if r.below(20) == 0 {
					n += 40
				}
				return n
			})
		case kind < 15:
			for range 1 + r.below(9) {
				b.WriteByte(byte(0x20 + r.below(0x5f)))
			}
		default:
			for _, c := range a.Invalid[r.below(len(a.Invalid))] {
				b.WriteByte(byte(c))
			}
		}
		if r.below(2) == 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// requireParity compares tok's ids of all texts, and the texts that it decodes them to, with a golden.
func requireParity(t *testing.T, tok Tokenizer, golden string) {
	sums, err := os.ReadFile(filepath.Join("testdata", golden+".ids"))
	require.NoError(t, err)
	require.Len(t, sums, 4*textCount)
	a := readAlphabet(t)
	decoded := sha256.New()
	different := 0
	for i := range textCount {
		if raceEnabled && i%20 != 0 {
			continue
		}
		text := a.text(uint64(i))
		ids := tok.Encode(text)
		var packed []byte
		for _, id := range ids {
			packed = binary.LittleEndian.AppendUint32(packed, uint32(id))
		}
		if sum := sha256.Sum256(packed); string(sum[:4]) != string(sums[4*i:4*i+4]) {
			if different++; different <= 3 {
				t.Errorf("text %d: %q: got %v", i, text, ids)
			}
		}
		_, err = decoded.Write([]byte(tok.(Decoder).Decode(ids, false) + "\x00"))
		require.NoError(t, err)
	}
	require.Zero(t, different, "of %d texts", textCount)
	if raceEnabled {
		return // the hash is over all texts
	}
	want, err := os.ReadFile(filepath.Join("testdata", golden+".decoded"))
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), hex.EncodeToString(decoded.Sum(nil)), "decoded texts")
}

func TestParityOfSmallVocabularies(t *testing.T) {
	for _, name := range []string{
		"small-clip", "small-mistral", "small-mistral-first", "small-clip-options", "small-mistral-options",
	} {
		t.Run(name, func(t *testing.T) {
			requireParity(t, checkpointTokenizer(t, filepath.Join("testdata", name)), name)
		})
	}
}

func TestParityOfRealVocabularies(t *testing.T) {
	checkpoints := filepath.Join(testenv.Shared(t), "fixtures", "checkpoints")
	for _, name := range []string{"clip-base-tiny", "clip-large-tiny", "mllm-tiny", "mllm-tiny-v15"} {
		t.Run(name, func(t *testing.T) {
			requireParity(t, checkpointTokenizer(t, filepath.Join(checkpoints, name)), name)
		})
	}
}
