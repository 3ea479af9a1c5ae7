package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A minimal tokenizer.json of each kind, to break in one place.
const (
	tinyCLIP = `{"added_tokens":[{"id":4,"content":"<e>","normalized":true,"special":true}],` +
		`"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},{"type":"Lowercase"}]},` +
		`"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"},"behavior":"Removed","invert":true},{"type":"ByteLevel","add_prefix_space":false}]},` +
		`"post_processor":{"type":"RobertaProcessing","sep":["<e>",4],"cls":["<e>",4]},` +
		`"model":{"type":"BPE","unk_token":"a","end_of_word_suffix":"</w>","vocab":{"a":0,"b":1,"b</w>":2,"ab</w>":3},"merges":["a b</w>"]}}`
	tinyMistral = `{"added_tokens":[{"id":3,"content":"<s>","special":true}],"normalizer":null,` +
		`"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false},` +
		`"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"<s>":{"id":"<s>","ids":[3],"tokens":["<s>"]}}},` +
		`"model":{"type":"BPE","unk_token":"a","fuse_unk":true,"byte_fallback":true,"vocab":{"a":0,"▁":1,"▁a":2},"merges":[["▁","a"]]}}`
)

func TestMinimal(t *testing.T) {
	for text, want := range map[string][]int32{"ab AB<E>": {4, 3, 3, 4, 4}, "": {4, 4}, "x": {4, 0, 4}} {
		tok, err := FromJSON([]byte(tinyCLIP))
		require.NoError(t, err)
		require.Equal(t, want, tok.Encode(text), "%q", text)
		require.Equal(t, 5, tok.VocabSize())
	}
	for text, want := range map[string][]int32{"a": {3, 2}, "": {3}, "xyz": {3, 2}, "a a": {3, 2, 2}, "<s>a": {3, 3, 0}} {
		tok, err := FromJSON([]byte(tinyMistral))
		require.NoError(t, err)
		require.Equal(t, want, tok.Encode(text), "%q", text)
	}
}

// A breakage is a change that makes a file that can't be followed, and what the error must say: it names the field.
type breakage struct{ base, old, new, want string }

func (x breakage) require(t *testing.T) {
	require.Equal(t, 1, strings.Count(x.base, x.old), x.old)
	tok, err := FromJSON([]byte(strings.Replace(x.base, x.old, x.new, 1)))
	require.ErrorContains(t, err, x.want, "%.60s", x.new)
	require.ErrorContains(t, err, "tokenizer: ")
	require.Less(t, len(err.Error()), 500, "an error must not quote the whole file")
	require.Nil(t, tok)
}

func TestMalformedModel(t *testing.T) {
	for _, x := range []breakage{
		{tinyCLIP, `"b":1`, `"b":0`, `vocab: tokens "a" and "b" have the same id, 0`},
		{tinyCLIP, `"b":1`, `"a":1`, `vocab: token "a" is there twice`},
		{tinyCLIP, `"b":1`, `"b":-1`, "vocab: token \"b\""},
		{tinyCLIP, `"b":1`, `"b":1.5`, "vocab"},
		{tinyCLIP, `"b":1`, `"b":01`, "leading zero"},
		{tinyCLIP, `"b":1`, `"b":99999999999999999999`, "token id: want less than"},
		{tinyCLIP, `"b":1`, `"b":1048576`, "token id: want less than"},
		{tinyCLIP, `"b":1`, `"b":null`, "vocab"},
		{tinyCLIP, `"b":1`, `"b":"1"`, "vocab"},
		{tinyCLIP, `"b":1`, `"` + strings.Repeat("b", 5000) + `":1`, "bytes long"},
		{tinyCLIP, `{"a":0,"b":1,"b</w>":2,"ab</w>":3}`, `[]`, "vocab"},
		{tinyCLIP, `["a b</w>"]`, `["a x"]`, `merges: merge 0: "a" + "x"`},
		{tinyCLIP, `["a b</w>"]`, `["a  b</w>"]`, "merges"},
		{tinyCLIP, `["a b</w>"]`, `["ab</w>"]`, "merges"},
		{tinyCLIP, `["a b</w>"]`, `[["a"]]`, "merges"},
		{tinyCLIP, `["a b</w>"]`, `[["a","b","a"]]`, "merges"},
		{tinyCLIP, `["a b</w>"]`, `[1]`, "merges"},
		{tinyCLIP, `["a b</w>"]`, `{}`, "merges"},
		{tinyCLIP, `"merges":["a b</w>"]`, `"other":1`, "merges"},
		{tinyCLIP, `"type":"BPE"`, `"type":"Unigram"`, "model: type"},
		{tinyCLIP, `"type":"BPE"`, `"type":"BPE","dropout":0.1`, "dropout"},
		{tinyCLIP, `"type":"BPE"`, `"type":"BPE","ignore_merges":true`, "ignore_merges"},
		{tinyCLIP, `"type":"BPE"`, `"type":"BPE","continuing_subword_prefix":"##"`, "continuing_subword_prefix"},
		{tinyCLIP, `"type":"BPE"`, `"type":"BPE","type":"BPE"`, "twice"},
		{tinyCLIP, `"type":"BPE"`, `"type":"BPE","byte_fallback":true`, "byte_fallback"},
		{tinyCLIP, `"unk_token":"a"`, `"unk_token":"zz"`, "unk_token"},
	} {
		x.require(t)
	}
}

func TestMalformedParts(t *testing.T) {
	for _, x := range []breakage{
		{tinyCLIP, `"id":4`, `"id":5`, `added_tokens: token "<e>": id 5: want 4`},
		{tinyCLIP, `"id":4`, `"id":0`, "added_tokens"},
		{tinyCLIP, `"id":4`, `"id":-4`, "added_tokens"},
		{tinyCLIP, `"content":"<e>"`, `"content":""`, "content"},
		{tinyCLIP, `"content":"<e>"`, `"content":"` + strings.Repeat("e", 300) + `"`, "content"},
		{tinyCLIP, `"sep":["<e>",4]`, `"sep":["<e>",3]`, "post_processor: sep"},
		{tinyCLIP, `"sep":["<e>",4]`, `"sep":["<x>",4]`, "post_processor: sep"},
		{tinyCLIP, `"sep":["<e>",4]`, `"sep":4`, "post_processor: sep"},
		{tinyCLIP, `"sep":["<e>",4],`, ``, "post_processor: sep"},
		{tinyCLIP, `"RobertaProcessing"`, `"Magic"`, "post_processor: type"},
		{tinyCLIP, `{"type":"NFC"}`, `{"type":"NFKC"}`, "normalizer: type"},
		{tinyCLIP, `"Regex":"\\s+"`, `"Regex":"a+"`, "normalizer: Replace: pattern"},
		{tinyCLIP, `"content":" "`, `"content":"` + strings.Repeat("x", 100) + `"`, "normalizer"},
		{tinyCLIP, `"Removed"`, `"Isolated"`, "pre_tokenizer: Split"},
		{tinyCLIP, `[\\p{L}]+`, `[\\p{M}]+`, "pre_tokenizer"},
		{tinyCLIP, `"add_prefix_space":false`, `"add_prefix_space":true`, "pre_tokenizer"},
		{tinyCLIP, `"model":`, `"madel":`, "model: missing"},
		{tinyCLIP, `"model":`, `"model":{"vocab":{"a":0},"merges":[]},"model":`, "twice"},
		{tinyCLIP, `{"added_tokens"`, `{"decoder":{"type":"CTC"},"added_tokens"`, "decoder: type"},
		{tinyCLIP, `{"added_tokens"`, `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `,"added_tokens"`, "nested deeper"},
		{tinyCLIP, `{"added_tokens"`, "{\"x\":\"\xff\",\"added_tokens\"", "UTF-8"},
		{tinyCLIP, `{"added_tokens"`, `{"x":"\ud800","added_tokens"`, "surrogate"},
		{tinyCLIP, `{"added_tokens"`, `{"x":tru,"added_tokens"`, "want a value"},
		{tinyCLIP, `{"added_tokens"`, `[{"added_tokens"`, "want '{'"},
		{tinyMistral, `"▁","prepend`, `"ab","prepend`, "Metaspace: replacement"},
		{tinyMistral, `"first"`, `"last"`, "Metaspace: prepend_scheme"},
		{tinyMistral, `"ids":[3]`, `"ids":[]`, "post_processor: single"},
		{tinyMistral, `"ids":[3]`, `"ids":[9]`, "post_processor: single"},
		{tinyMistral, `{"Sequence":{"id":"A","type_id":0}}`, `{"SpecialToken":{"id":"<s>"}}`, "post_processor: single"},
		{tinyMistral, `"normalizer":null`, `"normalizer":{"type":"Prepend","prepend":"` + strings.Repeat("a", 99) + `"}`, "normalizer"},
	} {
		x.require(t)
	}
}

func TestTruncated(t *testing.T) {
	for i := range len(tinyMistral) {
		_, err := FromJSON([]byte(tinyMistral[:i]))
		require.Error(t, err, "cut at %d", i)
	}
	_, err := FromJSON([]byte(tinyMistral + "x"))
	require.Error(t, err)
}

// Files that ask for much get little: in time and memory what their size allows.
func TestBombs(t *testing.T) {
	if raceEnabled {
		t.Skip("times and sizes say nothing under the race detector")
	}
	many := func(n int, f func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = f(i)
		}
		return strings.Join(parts, ",")
	}
	bombs := map[string]string{
		"deep":            strings.Repeat(`{"a":`, 2_000_000),
		"deep arrays":     `{"a":` + strings.Repeat("[", 5_000_000),
		"added tokens":    strings.Replace(tinyCLIP, `[{"id":4`, `[`+strings.Repeat("{},", 2_000_000)+`{"id":4`, 1),
		"largest id":      strings.Replace(tinyCLIP, `"b":1`, `"b":1048575`, 1),
		"long string":     `{"a":"` + strings.Repeat("x", 20_000_000) + `"}`,
		"escapes":         `{"a":"` + strings.Repeat(`\u0041`, 3_000_000) + `"}`,
		"normalizers":     strings.Replace(tinyCLIP, `[{"type":"NFC"}`, `[`+strings.Repeat(`{"type":"NFC"},`, 100_000)+`{"type":"NFC"}`, 1),
		"many fields":     "{" + many(1_000_000, func(i int) string { return fmt.Sprintf(`"f%d":0`, i) }) + "}",
		"merges of one":   strings.Replace(tinyCLIP, `["a b</w>"]`, `[`+strings.Repeat(`"a b</w>",`, 2_000_000)+`"a b</w>"]`, 1),
		"same added text": strings.Replace(tinyCLIP, `[{"id":4`, `[`+many(70_000, func(i int) string { return fmt.Sprintf(`{"id":%d,"content":"<%d>"}`, i+4, i) })+`,{"id":4`, 1),
	}
	for name, bomb := range bombs {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		took := timeOf(func() {
			if tok, err := FromJSON([]byte(bomb)); err == nil {
				tok.Encode("a")
			}
		})
		runtime.ReadMemStats(&after)
		require.Less(t, took, time.Second, name)
		require.Less(t, int(after.TotalAlloc-before.TotalAlloc), 5*len(bomb)+(64<<20), name)
	}
}

func TestCheckpointErrors(t *testing.T) {
	empty := t.TempDir()
	_, err := CheckpointJSON(empty)
	require.ErrorContains(t, err, empty)
	require.ErrorContains(t, err, "want tokenizer.json, vocab.json with merges.txt, or tokenizer.model")
	small := filepath.Join("testdata", "small-clip")
	_, err = CheckpointJSON(copyFiles(t, small, "vocab.json"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "merges.txt")
	for name, content := range map[string]string{
		"vocab.json": `{"a":1}`, "merges.txt": "#version\na b c\n", "tokenizer_config.json": `{"added_tokens_decoder":{"-1":{"content":"x"}}}`,
	} {
		dir := copyFiles(t, small, "vocab.json", "merges.txt")
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		_, err = CheckpointJSON(dir)
		require.Error(t, err, name)
	}
	model, err := os.ReadFile(filepath.Join("testdata", "small-mistral", "tokenizer.model"))
	require.NoError(t, err)
	for i := range 64 {
		_, err := FromSentencePiece(model[:i*len(model)/64])
		require.Error(t, err, "cut at %d of 64", i)
	}
	tok, err := FromSentencePiece(model)
	require.NoError(t, err)
	require.Equal(t, 700, tok.VocabSize())
}

func TestGGUFErrors(t *testing.T) {
	clip := keysOf(t, filepath.Join("testdata", "small-clip"), 0)
	llama := keysOf(t, filepath.Join("testdata", "small-mistral"), 0)
	change := func(keys []Key, name string, value any) []Key {
		var out []Key
		for _, k := range keys {
			if k.Name == name {
				k.Value = value
			}
			if k.Value != nil {
				out = append(out, k)
			}
		}
		return out
	}
	for _, x := range []struct {
		keys  []Key
		name  string
		value any
	}{
		{clip, keyModel, nil}, {clip, keyModel, "bert"}, {clip, keyPre, nil}, {clip, keyPre, uint32(1)}, {clip, keyTokens, nil},
		{clip, keyTokens, []string{"a"}}, {clip, keyMerges, nil}, {clip, keyMerges, []string{"a"}}, {clip, keyTypes, []int32{1}},
		{clip, keyBOS, uint32(5000)}, {llama, keyScores, nil}, {llama, keyScores, []float32{1}}, {llama, keyTokens, []string{}},
		{llama, keyAddBOS, "yes"}, {llama, keyEOS, uint32(1 << 31)},
	} {
		_, err := FromGGUF(asGGUF(t, change(x.keys, x.name, x.value)))
		require.ErrorContains(t, err, "tokenizer: ", "%s = %v", x.name, x.value)
	}
	_, err := GGUFKeys(checkpointTokenizer(t, filepath.Join("testdata", "small-clip")), KeysOptions{Rows: 100})
	require.ErrorContains(t, err, "100 rows")
	_, err = GGUFKeys(checkpointTokenizer(t, filepath.Join("testdata", "small-clip")), KeysOptions{Special: Special{EOS: "<nope>"}})
	require.ErrorContains(t, err, "<nope>")
	_, err = GGUFKeys(nil, KeysOptions{})
	require.Error(t, err)
}

// Many goroutines get what one gets.
func TestShared(t *testing.T) {
	tok := checkpointTokenizer(t, filepath.Join("testdata", "small-mistral"))
	a := readAlphabet(t)
	var want [200][]int32
	for i := range want {
		want[i] = tok.Encode(a.text(uint64(i)))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range want {
				if got := tok.Encode(a.text(uint64(i))); !bytes.Equal(pack(got), pack(want[i])) {
					t.Errorf("text %d: want %v, got %v", i, want[i], got)
				}
			}
		})
	}
	wg.Wait()
}

func pack(ids []int32) []byte { return fmt.Append(nil, ids) }

// A tokenizer doesn't see what happens to the bytes it was made from.
func TestKeepsNoReference(t *testing.T) {
	text := []byte(tinyCLIP)
	tok, err := FromJSON(text)
	require.NoError(t, err)
	clear(text)
	require.Equal(t, []int32{4, 3, 4}, tok.Encode("ab"))
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(tinyCLIP))
	f.Add([]byte(tinyMistral))
	f.Add([]byte(`{"model":{"merges":[],"vocab":{}}}`))
	f.Add([]byte(`{"model":{"vocab":{"\ud83d\ude00":0},"merges":[]},"x":[1e5,-0.5,true,null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := FromJSON(data)
		if err != nil {
			require.Nil(t, tok)
			return
		}
		require.True(t, json.Valid(data), "accepted what is no JSON")
		for _, text := range []string{"", "a", "ab <e> <s>", "é\u0301 ▁\xff"} {
			for _, id := range tok.Encode(text) {
				_, ok := tok.Token(id)
				require.True(t, ok, "id %d has no token", id)
				require.Less(t, int(id), tok.VocabSize())
			}
		}
		if keys, err := GGUFKeys(tok, KeysOptions{}); err == nil {
			require.NotEmpty(t, keys)
		}
	})
}

func FuzzFromSentencePiece(f *testing.F) {
	f.Add([]byte("\x0a\x0c\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02\x0a\x0a\x0a\x03<s>\x15\x00\x00\x00\x00\x12\x02\x18\x02"))
	f.Add([]byte("\x0a\x03\x0a\x01a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := FromSentencePiece(data); err == nil {
			tok.Encode("a b")
		}
	})
}

func FuzzEncode(f *testing.F) {
	var toks []Tokenizer
	for _, name := range []string{"small-clip", "small-mistral", "small-mistral-first"} {
		toks = append(toks, checkpointTokenizer(f, filepath.Join("testdata", name)))
	}
	a := readAlphabet(f)
	for i := range 50 {
		f.Add(a.text(uint64(i)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for i, tok := range toks {
			ids := tok.Encode(text)
			for _, id := range ids {
				_, ok := tok.Token(id)
				require.True(t, ok, "id %d has no token", id)
			}
			// What isn't UTF-8 counts as U+FFFD, byte by byte.
			require.Equal(t, tok.Encode(string([]rune(text))), ids)
			// Sentencepiece with byte fallback loses nothing, but where its prefix is also the text's own beginning.
			if i == 1 && !strings.ContainsAny(text, "<▁") || i == 2 && !strings.ContainsAny(text, "<▁ ") {
				require.Equal(t, string([]rune(text)), tok.(Decoder).Decode(ids, true))
			}
		}
	})
}
