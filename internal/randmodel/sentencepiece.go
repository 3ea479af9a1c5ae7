package randmodel

import (
	"fmt"
	"strings"
)

const (
	space      = "\u2581" // what sentencepiece writes for a space
	imageToken = "<image>"
)

// pieces is a vocabulary of sentencepiece's kind, as Mistral's is built: three control tokens, a token for each byte,
// the merged ones, and single characters last. Added tokens follow.
type pieces struct {
	vocab  []string // without the added ones
	added  []string
	merges [][2]string
	ids    map[string]int
}

func newPieces(merges int, instruct bool) *pieces {
	p := &pieces{
		merges: learnMerges(trainingText, merges, func(word string) []string { return strings.Split(space+word, "") }),
		added:  []string{imageToken, "<pad>"},
		ids:    map[string]int{},
	}
	if instruct {
		p.added = append(p.added, "<instruct>", "<query>")
	}
	p.vocab = append(p.vocab, "<unk>", "<s>", "</s>")
	for b := range 256 {
		p.vocab = append(p.vocab, fmt.Sprintf("<0x%02X>", b))
	}
	for _, m := range p.merges {
		p.vocab = append(p.vocab, m[0]+m[1])
	}
	p.vocab = append(p.vocab, space)
	for c := '!'; c <= '~'; c++ {
		p.vocab = append(p.vocab, string(c))
	}
	for id, token := range append(p.vocab[:len(p.vocab):len(p.vocab)], p.added...) {
		p.ids[token] = id
	}
	return p
}

func (p *pieces) size() int { return len(p.vocab) + len(p.added) }

// write writes the files of transformers' LlamaTokenizer: of the newer kind with a Metaspace pre-tokenizer, of the older
// with a normalizer.
func (p *pieces) write(dir string, metaspace bool) error {
	if err := writeJSON(dir, "tokenizer.json", p.json(metaspace)); err != nil {
		return err
	}
	special := map[string]any{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
	if err := writeJSON(dir, "special_tokens_map.json", special); err != nil {
		return err
	}
	decoder := map[string]any{}
	for _, token := range p.special() {
		decoder[fmt.Sprint(p.ids[token])] = flags(token)
	}
	special["tokenizer_class"], special["add_bos_token"], special["add_eos_token"] = "LlamaTokenizer", true, false
	special["legacy"], special["padding_side"], special["added_tokens_decoder"] = !metaspace, "left", decoder
	return writeJSON(dir, "tokenizer_config.json", special)
}

func (p *pieces) special() []string { return append([]string{"<unk>", "<s>", "</s>"}, p.added...) }

// flags returns an added token as both files have it.
func flags(token string) map[string]any {
	return map[string]any{
		"content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true,
	}
}

// json returns tokenizer.json.
func (p *pieces) json(metaspace bool) map[string]any {
	type object = map[string]any
	vocab := make(map[string]int, len(p.vocab))
	for _, token := range p.vocab {
		vocab[token] = p.ids[token]
	}
	var added []object
	for _, token := range p.special() {
		one := flags(token)
		one["id"] = p.ids[token]
		added = append(added, one)
	}
	replace := func(from, to string) object {
		return object{"type": "Replace", "pattern": object{"String": from}, "content": to}
	}
	var normalizer, pre any = object{"type": "Sequence", "normalizers": []object{
		{"type": "Prepend", "prepend": space}, replace(" ", space),
	}}, nil
	if metaspace {
		normalizer, pre = nil, object{"type": "Metaspace", "replacement": space, "prepend_scheme": "first", "split": false}
	}
	start := object{"SpecialToken": object{"id": "<s>", "type_id": 0}}
	return object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": normalizer, "pre_tokenizer": pre,
		"post_processor": object{
			"type":   "TemplateProcessing",
			"single": []object{start, {"Sequence": object{"id": "A", "type_id": 0}}},
			"pair": []object{start, {"Sequence": object{"id": "A", "type_id": 0}},
				{"SpecialToken": object{"id": "<s>", "type_id": 1}}, {"Sequence": object{"id": "B", "type_id": 1}}},
			"special_tokens": object{"<s>": object{"id": "<s>", "ids": []int{p.ids["<s>"]}, "tokens": []string{"<s>"}}},
		},
		"decoder": object{"type": "Sequence", "decoders": []object{
			replace(space, " "), {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0},
		}},
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": "<unk>", "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": vocab, "merges": p.merges,
		},
	}
}
