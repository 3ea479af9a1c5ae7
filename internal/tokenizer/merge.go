package tokenizer

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// maxPooled bounds the symbols that a tokenizer keeps room for between calls: texts are short, and one long one must
// not hold its memory for good.
const maxPooled = 1 << 14

// symbols is one word while its symbols are merged. It is kept and used again from word to word.
type symbols struct {
	list []symbol
	// heap holds the pairs that may be merged, as rank<<32 | position of the left symbol, which is the order in which
	// they are. Each has four children: there is less to move than with two.
	heap []uint64
}

// A symbol is one token of the word, in a list that is linked both ways by index. id is noToken once it was merged
// into the one before it.
type symbol struct{ id, prev, next int32 }

// reset makes room for a word of up to n symbols.
func (w *symbols) reset(n int) { w.list = slices.Grow(w.list[:0], n) }

func (w *symbols) add(id int32) {
	n := int32(len(w.list))
	w.list = append(w.list, symbol{id, n - 1, n + 1})
}

// setByteTokens looks up the tokens of single bytes.
func (t *bpe) setByteTokens() {
	for b := range 256 {
		c := string(byteRune(byte(b)))
		t.ofByte[b] = t.vocab.id([]byte(c))
		t.ofLastByte[b] = t.vocab.id([]byte(c + t.suffix))
		t.fallback[b] = t.vocab.id(fmt.Appendf(nil, "<0x%02X>", b))
	}
}

// startBytes makes w the bytes of a word of CLIP's.
func (t *bpe) startBytes(w *symbols, word string) {
	w.reset(len(word))
	unk := noToken // not yet added: with fuseUnk several become one
	for i := range len(word) {
		id := t.ofByte[word[i]]
		if i == len(word)-1 {
			id = t.ofLastByte[word[i]]
		}
		unk = t.addOrUnk(w, id, unk)
	}
	if unk != noToken {
		w.add(unk)
	}
}

func (t *bpe) addOrUnk(w *symbols, id, unk int32) int32 {
	if unk != noToken && (id != noToken || !t.fuseUnk) {
		w.add(unk)
		unk = noToken
	}
	if id == noToken {
		return t.unk
	}
	w.add(id)
	return unk
}

// startRunes makes w the characters of a sentencepiece text, and the bytes of those that have no token.
func (t *bpe) startRunes(w *symbols, text string) {
	w.reset(len(text))
	unk := noToken
	var buf [utf8.UTFMax + maxGrowth]byte
	for i, r := range text {
		c := utf8.AppendRune(buf[:0], r)
		size := len(c)
		if i+size == len(text) {
			c = append(c, t.suffix...)
		}
		id := t.vocab.id(c)
		if id == noToken && t.byteFallback && t.allBytes(c) {
			// As in the reference, these don't end a run of unknown characters.
			for _, b := range c {
				w.add(t.fallback[b])
			}
			continue
		}
		unk = t.addOrUnk(w, id, unk)
	}
	if unk != noToken {
		w.add(unk)
	}
}

func (t *bpe) allBytes(c []byte) bool {
	for _, b := range c {
		if t.fallback[b] == noToken {
			return false
		}
	}
	return true
}

// merge merges the pairs of w, best rank first and of those the leftmost, and appends what is left to ids.
//
// Its cost grows with n log n. The order is the reference's to the letter, stale candidates included: one whose
// symbols have changed still counts where the new pair becomes the same token.
func (t *bpe) merge(ids []int32, w *symbols) []int32 {
	n := int32(len(w.list))
	if n == 0 {
		return ids
	}
	w.list[n-1].next = -1
	w.heap = w.heap[:0]
	for i := range n - 1 {
		if m, ok := t.merges.get(w.list[i].id, w.list[i+1].id); ok {
			w.heap = append(w.heap, uint64(m.rank)<<32|uint64(i))
		}
	}
	for i := (len(w.heap) - 2) / heapWidth; i >= 0 && len(w.heap) > 1; i-- {
		w.down(i)
	}
	for len(w.heap) > 0 {
		top := w.pop()
		at, made := int32(uint32(top)), t.merges.made[top>>32]
		left := &w.list[at]
		if left.id == noToken || left.next < 0 {
			continue
		}
		right := &w.list[left.next]
		if m, ok := t.merges.get(left.id, right.id); !ok || m.id != made {
			continue
		}
		left.id, right.id = made, noToken
		if left.next = right.next; left.next >= 0 {
			w.list[left.next].prev = at
			t.propose(w, at)
		}
		if left.prev >= 0 {
			t.propose(w, left.prev)
		}
	}
	if n > int32(cap(ids)-len(ids)) {
		ids = slices.Grow(ids, w.count())
	}
	for i := int32(0); i >= 0; i = w.list[i].next {
		ids = append(ids, w.list[i].id)
	}
	return ids
}

// count returns how many symbols are left.
func (w *symbols) count() int {
	n := 0
	for i := int32(0); i >= 0; i = w.list[i].next {
		n++
	}
	return n
}

// propose adds the pair of the symbol at and the one after it, if it can be merged.
func (t *bpe) propose(w *symbols, at int32) {
	s := w.list[at]
	m, ok := t.merges.get(s.id, w.list[s.next].id)
	if !ok {
		return
	}
	key := uint64(m.rank)<<32 | uint64(at)
	w.heap = append(w.heap, key)
	i := len(w.heap) - 1
	for i > 0 {
		parent := (i - 1) / heapWidth
		if w.heap[parent] <= key {
			break
		}
		w.heap[i] = w.heap[parent]
		i = parent
	}
	w.heap[i] = key
}

const heapWidth = 4

func (w *symbols) pop() uint64 {
	top := w.heap[0]
	last := len(w.heap) - 1
	w.heap[0] = w.heap[last]
	w.heap = w.heap[:last]
	if last > 0 {
		w.down(0)
	}
	return top
}

// down moves the key at i to its place below.
func (w *symbols) down(i int) {
	heap, key := w.heap, w.heap[i]
	for {
		child := heapWidth*i + 1
		if child >= len(heap) {
			break
		}
		least := heap[child]
		for c := child + 1; c < min(heapWidth*i+1+heapWidth, len(heap)); c++ {
			if heap[c] < least {
				child, least = c, heap[c]
			}
		}
		if key <= least {
			break
		}
		heap[i] = least
		i = child
	}
	heap[i] = key
}
