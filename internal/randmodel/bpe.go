package randmodel

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
)

const (
	startOfText = "<|startoftext|>"
	endOfText   = "<|endoftext|>"
	endOfWord   = "</w>"
)

// byteSymbols returns the character that stands for each byte in a byte-level vocabulary: printable bytes stand for
// themselves, the others follow from U+0100. CLIP lists the printable ones first.
func byteSymbols() (order []string) {
	printable := func(b int) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae && b <= 0xff }
	var others []string
	for b := range 256 {
		if printable(b) {
			order = append(order, string(rune(b)))
		} else {
			others = append(others, string(rune(256+len(others))))
		}
	}
	return append(order, others...)
}

// clipVocabulary returns the tokens by id: bytes, bytes that end a word, merges, and the two special tokens.
func clipVocabulary(merges [][2]string) []string {
	symbols := byteSymbols()
	tokens := append([]string(nil), symbols...)
	for _, s := range symbols {
		tokens = append(tokens, s+endOfWord)
	}
	for _, m := range merges {
		tokens = append(tokens, m[0]+m[1])
	}
	return append(tokens, startOfText, endOfText)
}

// clipSymbols cuts a word into characters as CLIP does: the last one has the mark of the word's end.
func clipSymbols(word string) []string {
	parts := strings.Split(word, "")
	parts[len(parts)-1] += endOfWord
	return parts
}

// learnMerges runs byte-pair encoding over a text of lower-case letters and spaces: up to n times, the most frequent
// pair of neighbours becomes one token, the alphabetically first where several are. cut makes a word into symbols.
func learnMerges(text string, n int, cut func(string) []string) [][2]string {
	counts := map[string]int{}
	for _, word := range strings.Fields(text) {
		counts[word]++
	}
	var words [][]string
	var times []int
	for _, word := range sortedKeys(counts) {
		words, times = append(words, cut(word)), append(times, counts[word])
	}
	var merges [][2]string
	for len(merges) < n {
		best, found := bestPair(words, times)
		if !found {
			break
		}
		merges = append(merges, best)
		for i := range words {
			words[i] = join(words[i], best)
		}
	}
	return merges
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// bestPair returns the most frequent pair, if a word has two tokens left.
func bestPair(words [][]string, times []int) (best [2]string, found bool) {
	pairs := map[[2]string]int{}
	for i, w := range words {
		for j := 1; j < len(w); j++ {
			pairs[[2]string{w[j-1], w[j]}] += times[i]
		}
	}

	most := 0
	for p, count := range pairs {
		if count > most || count == most && (p[0] < best[0] || p[0] == best[0] && p[1] < best[1]) {
			best, most, found = p, count, true
		}
	}
	return best, found
}

// join replaces each occurrence of a pair by one token.
func join(word []string, pair [2]string) []string {
	out := word[:0]
	for i := 0; i < len(word); i++ {
		if i+1 < len(word) && word[i] == pair[0] && word[i+1] == pair[1] {
			out = append(out, pair[0]+pair[1])
			i++
		} else {
			out = append(out, word[i])
		}
	}
	return out
}

// writeTokenizer writes the files of transformers' CLIPTokenizer.
func writeTokenizer(dir string, vocab []string, merges [][2]string, context int) error {
	ids := make(map[string]int, len(vocab))
	for id, token := range vocab {
		ids[token] = id
	}
	var text strings.Builder
	text.WriteString("#version: 0.2\n")
	for _, m := range merges {
		text.WriteString(m[0] + " " + m[1] + "\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "merges.txt"), []byte(text.String()), 0o666); err != nil {
		return err
	}
	if err := writeJSON(dir, "vocab.json", ids); err != nil {
		return err
	}
	special := map[string]any{
		"bos_token": startOfText, "eos_token": endOfText, "unk_token": endOfText, "pad_token": endOfText,
	}
	if err := writeJSON(dir, "special_tokens_map.json", special); err != nil {
		return err
	}
	special["tokenizer_class"], special["model_max_length"], special["errors"] = "CLIPTokenizer", context, "replace"
	return writeJSON(dir, "tokenizer_config.json", special)
}
