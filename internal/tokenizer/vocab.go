package tokenizer

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math/bits"
)

// Bounds on what a file may ask for. The vocabularies of the field have 32,000 to 260,000 tokens.
const (
	maxTokens    = 1 << 20
	maxMerges    = 1 << 22
	maxTokenSize = 1 << 12
	maxAdded     = 1 << 16
	maxAddedSize = 1 << 8  // a text is compared with an added token at every position
	maxAddedText = 1 << 20 // of all added tokens together
	maxFile      = 64 << 20
)

const noToken = int32(-1)

// A vocab maps spellings to ids and back. It has no lock: it isn't changed after it was filled.
//
// A table of its own, instead of a map, because a map of 50,000 strings costs more time at start than all else: here
// the spellings lie in one block and the slots hold part of the hash.
type vocab struct {
	seed  maphash.Seed
	text  []byte
	spans []span   // by id
	slots []uint64 // hash's upper half | id+1; 0 where free; a power of two of them, at most half full
	count int
}

// A span is where a spelling lies in the text. size is -1 where no token has the id.
type span struct {
	start uint32
	size  int32
}

// newVocab makes room for about n tokens.
func newVocab(n int) *vocab {
	return &vocab{seed: maphash.MakeSeed(), spans: make([]span, 0, n), slots: make([]uint64, slotsFor(n))}
}

func slotsFor(n int) int { return 1 << bits.Len(uint(max(n, 8)*2-1)) }

// add fails if the id or the spelling is there already.
func (v *vocab) add(token []byte, id int32) error {
	if len(token) > maxTokenSize {
		return fmt.Errorf("token %.40q...: %d bytes long, want at most %d", token, len(token), maxTokenSize)
	}
	if len(v.text)+len(token) > maxFile {
		return fmt.Errorf("token %d: the spellings take more than %d bytes", id, maxFile)
	}
	for int(id) >= len(v.spans) {
		v.spans = append(v.spans, span{size: -1})
	}
	if v.spans[id].size >= 0 {
		return fmt.Errorf("tokens %q and %q have the same id, %d", v.bytes(id), token, id)
	}
	if 2*(v.count+1) > len(v.slots) {
		v.grow()
	}
	h := maphash.Bytes(v.seed, token)
	at, found := v.find(token, h)
	if found >= 0 {
		return fmt.Errorf("token %q is there twice, with ids %d and %d", token, found, id)
	}
	v.spans[id] = span{uint32(len(v.text)), int32(len(token))}
	v.text = append(v.text, token...)
	v.slots[at] = h&^0xffffffff | uint64(id+1)
	v.count++
	return nil
}

func (v *vocab) grow() {
	v.slots = make([]uint64, 2*len(v.slots))
	mask := uint64(len(v.slots) - 1)
	for id := range v.spans {
		if v.spans[id].size < 0 {
			continue
		}
		h := maphash.Bytes(v.seed, v.bytes(int32(id)))
		at := h & mask
		for v.slots[at] != 0 {
			at = (at + 1) & mask
		}
		v.slots[at] = h&^0xffffffff | uint64(id+1)
	}
}

// find returns the slot of a spelling with hash h, or the free one where it would be, and its id or noToken.
func (v *vocab) find(token []byte, h uint64) (int, int32) {
	mask := uint64(len(v.slots) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		slot := v.slots[at]
		if slot == 0 {
			return int(at), noToken
		}
		if id := int32(uint32(slot)) - 1; slot>>32 == h>>32 && bytes.Equal(v.bytes(id), token) {
			return int(at), id
		}
	}
}

// id returns noToken for a spelling that isn't there.
func (v *vocab) id(token []byte) int32 {
	_, id := v.find(token, maphash.Bytes(v.seed, token))
	return id
}

func (v *vocab) has(id int32) bool { return id >= 0 && int(id) < len(v.spans) && v.spans[id].size >= 0 }

// bytes returns the spelling of an id that is there.
func (v *vocab) bytes(id int32) []byte {
	s := v.spans[id]
	return v.text[s.start : s.start+uint32(s.size)]
}

// A pairTable maps two neighbouring tokens to the token they merge into and the rank of that merge.
type pairTable struct {
	seed  uint64
	slots []pairSlot // a power of two of them, at most half full
	made  []int32    // by rank: what the pair of that rank becomes
	count int
}

// A merge is what a pair becomes. Lower ranks go first.
type merge struct{ rank, id int32 }

// A pairSlot's key and value lie in one line of the cache.
type pairSlot struct {
	key uint64 // left<<32 | right, plus 1; 0 where free
	merge
}

// newPairTable makes room for about n merges.
func newPairTable(n int) *pairTable {
	// An odd seed that nobody can know beforehand, so that a file can't be made to fill one chain.
	seed := maphash.Bytes(maphash.MakeSeed(), nil) | 1
	return &pairTable{seed: seed, slots: make([]pairSlot, slotsFor(n)), made: make([]int32, 0, n)}
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) + 1 }

func (p *pairTable) slot(key uint64) *pairSlot {
	hi, lo := bits.Mul64(key^p.seed, p.seed)
	mask := uint64(len(p.slots) - 1)
	at := (hi ^ lo) & mask
	for p.slots[at].key != 0 && p.slots[at].key != key {
		at = (at + 1) & mask
	}
	return &p.slots[at]
}

// add adds a merge with the next rank; of two for the same pair the later one counts, as in the reference.
func (p *pairTable) add(left, right, made int32) {
	m := merge{int32(len(p.made)), made}
	p.made = append(p.made, made)
	if 2*(p.count+1) > len(p.slots) {
		old := p.slots
		p.slots = make([]pairSlot, 2*len(old))
		for _, s := range old {
			if s.key != 0 {
				*p.slot(s.key) = s
			}
		}
	}
	s := p.slot(pairKey(left, right))
	if s.key == 0 {
		p.count++
	}
	*s = pairSlot{pairKey(left, right), m}
}

func (p *pairTable) get(left, right int32) (merge, bool) {
	s := p.slot(pairKey(left, right))
	return s.merge, s.key != 0
}

// tokens returns the spellings by id. It fails where an id below the largest has none.
func (v *vocab) tokens() ([]string, error) {
	out := make([]string, len(v.spans))
	for id := range out {
		if !v.has(int32(id)) {
			return nil, fmt.Errorf("no token has the id %d, but there are %d tokens", id, v.count)
		}
		out[id] = string(v.bytes(int32(id)))
	}
	return out, nil
}
