package tokenizer

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// FromSentencePiece makes a tokenizer from the contents of a sentencepiece tokenizer.model alone. It takes what
// transformers takes where nothing else is said: <s> before a text, the prefix space before every piece. Where there
// is a configuration beside the file, [CheckpointJSON] follows it.
func FromSentencePiece(model []byte) (Tokenizer, error) {
	text, err := sentencePieceText(model, specialFiles{})
	if err != nil {
		return nil, fmt.Errorf("tokenizer: tokenizer.model: %w", err)
	}
	return FromJSON(text)
}

// A pieceModel is what counts of a sentencepiece model.
type pieceModel struct {
	tokens  []string
	scores  []float64
	types   []uint64
	kind    uint64 // 1 unigram, 2 BPE
	unknown string
}

// Piece types of sentencepiece. The others have no part here.
const (
	pieceControl     = 3
	pieceUserDefined = 4
	modelBPE         = 2
)

// sentencePieceText makes the tokenizer.json of a sentencepiece BPE, as transformers converts a LlamaTokenizer.
func sentencePieceText(data []byte, f specialFiles) ([]byte, error) {
	p := pieceModel{kind: 1, unknown: "<unk>"}
	if err := p.read(data); err != nil {
		return nil, err
	}
	if p.kind != modelBPE {
		return nil, fmt.Errorf("trainer_spec.model_type: want %d (BPE), got %d", modelBPE, p.kind)
	}
	for name, usual := range map[*specialName]string{&f.BOS: "<s>", &f.EOS: "</s>", &f.Unknown: "<unk>"} {
		if name.Content == "" {
			name.AddedToken = AddedToken{Content: usual, Special: true}
		}
	}
	merges, err := mergesByScore(p.tokens, p.scores)
	if err != nil {
		return nil, err
	}
	m := mistral{
		tokens: p.tokens, merges: merges, unknown: p.unknown, legacy: f.Legacy == nil || *f.Legacy,
		addPrefixSpace: f.AddPrefixSpace == nil || string(f.AddPrefixSpace) == "true",
	}
	m.bos, m.eos = f.around()
	// What the configuration says of a token counts before what the model says.
	listed := map[int32]specialName{}
	for id, token := range p.tokens {
		if p.types[id] == pieceControl || p.types[id] == pieceUserDefined {
			listed[int32(id)] = specialName{AddedToken{Content: token, Special: p.types[id] == pieceControl}}
		}
	}
	for id, a := range f.Added {
		listed[id] = a
	}
	f.Added = listed
	if m.added, err = f.added(tokenIDs(p.tokens)); err != nil {
		return nil, err
	}
	return m.text()
}

// A field is one field of a protocol buffer message.
type field struct {
	number uint64
	value  uint64 // of a number; of a 32-bit one its bits
	data   []byte // of a text or message
}

var errProto = errors.New("not a sentencepiece model: broken protocol buffer")

// fields calls f for each field of a message.
func fields(data []byte, f func(field) error) error {
	for len(data) > 0 {
		tag, n := binary.Uvarint(data)
		if n <= 0 {
			return errProto
		}
		data = data[n:]
		x := field{number: tag >> 3}
		switch tag & 7 {
		case 0:
			if x.value, n = binary.Uvarint(data); n <= 0 {
				return errProto
			}
			data = data[n:]
		case 1:
			if len(data) < 8 {
				return errProto
			}
			x.value, data = binary.LittleEndian.Uint64(data), data[8:]
		case 2:
			size, n := binary.Uvarint(data)
			if n <= 0 || size > uint64(len(data)-n) {
				return errProto
			}
			x.data, data = data[n:n+int(size)], data[n+int(size):]
		case 5:
			if len(data) < 4 {
				return errProto
			}
			x.value, data = uint64(binary.LittleEndian.Uint32(data)), data[4:]
		default: // groups, which the format doesn't have
			return errProto
		}
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

// read reads a ModelProto: field 1 is a piece, field 2 the trainer's settings.
func (p *pieceModel) read(data []byte) error {
	err := fields(data, func(x field) error {
		switch x.number {
		case 1:
			return wrap(fmt.Sprintf("piece %d", len(p.tokens)), p.readPiece(x.data))
		case 2:
			return fields(x.data, func(x field) error {
				switch x.number {
				case 3:
					p.kind = x.value
				case 45:
					p.unknown = string(x.data)
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && len(p.tokens) == 0 {
		err = errors.New("no pieces")
	}
	return err
}

func (p *pieceModel) readPiece(data []byte) error {
	if len(p.tokens) >= maxTokens {
		return fmt.Errorf("want at most %d pieces", maxTokens)
	}
	token, score, typ := "", 0.0, uint64(1)
	err := fields(data, func(x field) error {
		switch x.number {
		case 1:
			token = string(x.data)
		case 2:
			score = float64(math.Float32frombits(uint32(x.value)))
		case 3:
			typ = x.value
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case token == "" || !utf8.ValidString(token):
		return fmt.Errorf("%.40q: want a spelling in UTF-8", token)
	case math.IsNaN(score):
		return fmt.Errorf("%.40q: the score isn't a number", token)
	}
	if len(p.tokens) < 3 {
		score = 0 // as the reference has it for <unk>, <s> and </s>
	}
	p.tokens, p.scores, p.types = append(p.tokens, token), append(p.scores, score), append(p.types, typ)
	return nil
}

// maxSplitWork bounds the bytes that mergesByScore compares: a vocabulary of the field takes a few million.
const maxSplitWork = 1 << 28

// mergesByScore lists the merges of a sentencepiece vocabulary in order of rank: every way to put a token together
// from two others, the best score first, as transformers derives them from a tokenizer.model.
func mergesByScore(tokens []string, scores []float64) ([][2]string, error) {
	work := 0
	lengths := make([]int, len(tokens))
	for i, token := range tokens {
		if work += len(token) * len(token); len(token) > maxTokenSize || work > maxSplitWork {
			return nil, fmt.Errorf("token %d: the tokens are too long to find their merges", i)
		}
		lengths[i] = utf8.RuneCountInString(token)
	}
	ids := tokenIDs(tokens)
	type split struct {
		left, right int32
		score       float64
	}
	var all []split
	for id, token := range tokens {
		if ids[token] != int32(id) {
			return nil, fmt.Errorf("token %.40q is there twice, with ids %d and %d", token, id, ids[token])
		}
		start := len(all)
		for i := range token {
			if i == 0 {
				continue
			}
			left, ok := ids[token[:i]]
			if !ok {
				continue
			}
			if right, ok := ids[token[i:]]; ok {
				all = append(all, split{left, right, scores[id]})
			}
		}
		slices.SortFunc(all[start:], func(a, b split) int {
			return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
		})
		if len(all) > maxMerges {
			return nil, fmt.Errorf("token %d: more than %d merges", id, maxMerges)
		}
	}
	slices.SortStableFunc(all, func(a, b split) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(lengths[b.left], lengths[a.left]),
			cmp.Compare(lengths[b.right], lengths[a.right]))
	})
	merges := make([][2]string, len(all))
	for i, m := range all {
		merges[i] = [2]string{tokens[m.left], tokens[m.right]}
	}
	return merges, nil
}
