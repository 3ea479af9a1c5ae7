package tokenizer

// What a character is to a CLIP tokenizer. The bits of a charTable.
const (
	isLetter     = 1 << iota // \p{L} of the reference's regular expressions
	isNumber                 // \p{N}
	isSpaceChar              // \s
	hasLower                 // becomes another character in lower case
	isMark                   // has a canonical combining class other than 0
	isDecomposed             // has a canonical decomposition
	isSecond                 // composes with some character before it

	isWordChar = isLetter | isNumber | isSpaceChar // the rest are symbols
)

// A charTable holds the bits of every character, in pages of 256 that are shared where they are the same. It is made
// from the generated tables, which takes a fraction of a millisecond, and doesn't change afterwards.
type charTable struct {
	page   [0x110000 >> 8]uint16
	pages  [][256]uint8 // the first has no bits set
	shared []bool       // by page: several ranges of characters use it
}

// at returns the bits of a valid character.
func (c *charTable) at(r rune) uint8 { return c.pages[c.page[r>>8]][r&0xff] }

func newCharTable() *charTable {
	c := &charTable{pages: make([][256]uint8, 1, 256), shared: []bool{true}}
	for _, x := range letters {
		c.set(x[0], x[1], isLetter)
	}
	for _, x := range numbers {
		c.set(x[0], x[1], isNumber)
	}
	for r := rune(0); r <= 0x3000; r++ {
		if isSpace(r) {
			c.set(r, r, isSpaceChar)
		}
	}
	for _, x := range lowerRuns {
		for r := x.first; r <= x.last; r += x.stride {
			c.set(r, r, hasLower)
		}
	}
	c.set('İ', 'İ', hasLower)
	for _, x := range classRuns {
		c.set(x.first, x.last, isMark)
	}
	for _, r := range decomposed {
		c.set(r, r, isDecomposed)
	}
	c.set(hangulS, hangulS+nS-1, isDecomposed)
	for _, pair := range composedFrom {
		second := rune(pair & (1<<21 - 1))
		c.set(second, second, isSecond)
	}
	c.set(hangulV, hangulV+nV-1, isSecond)
	c.set(hangulT+1, hangulT+nT-1, isSecond)
	return c
}

// set sets a bit for the characters from first to last.
func (c *charTable) set(first, last rune, bit uint8) {
	var full uint16 // the page of this range alone
	for p := first >> 8; p <= last>>8; p++ {
		lo, hi := max(first, p<<8), min(last, p<<8|0xff)
		whole := hi-lo == 0xff && c.page[p] == 0
		if whole && full != 0 {
			c.page[p] = full
			continue
		}
		at := c.page[p]
		if c.shared[at] {
			c.pages, c.shared = append(c.pages, c.pages[at]), append(c.shared, whole)
			at = uint16(len(c.pages) - 1)
			c.page[p] = at
		}
		for r := lo; r <= hi; r++ {
			c.pages[at][r&0xff] |= bit
		}
		if whole {
			full = at
		}
	}
}
