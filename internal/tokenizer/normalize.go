package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// A normalizer rewrites a text before it is cut into words.
type normalizer interface{ normalize(s string) string }

// lowerRun and classRun are the rows of the generated tables.
type (
	lowerRun struct {
		first, last   rune
		stride, delta int32
	}
	classRun struct {
		first, last rune
		class       uint8
	}
)

type (
	nfc       struct{ chars *charTable }
	spaces    struct{ with string } // each longest run of white space becomes with
	lowercase struct{ chars *charTable }
	prepend   struct{ prefix string } // in front of every text that isn't empty
	replace   struct{ old, with string }
)

func (p prepend) normalize(s string) string {
	if s == "" {
		return s
	}
	return p.prefix + s
}

func (r replace) normalize(s string) string { return strings.ReplaceAll(s, r.old, r.with) }

func (w spaces) normalize(s string) string {
	if w.with == " " && !strings.Contains(s, "  ") &&
		strings.IndexFunc(s, func(r rune) bool { return r != ' ' && isSpace(r) }) < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	inRun := false
	for _, r := range s {
		switch space := isSpace(r); {
		case !space:
			b.WriteRune(r)
			inRun = false
		case !inRun:
			b.WriteString(w.with)
			inRun = true
		}
	}
	return b.String()
}

func (l lowercase) normalize(s string) string {
	first := strings.IndexFunc(s, func(r rune) bool { return l.chars.at(r)&hasLower != 0 })
	if first < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)+len(s)/8), s[:first]...)
	for _, r := range s[first:] {
		switch {
		case r == 'İ': // the only character whose lower case is two characters
			b = append(b, "i\u0307"...)
			continue
		case l.chars.at(r)&hasLower != 0:
			r = toLower(r)
		}
		b = utf8.AppendRune(b, r)
	}
	return string(b)
}

// toLower is the lower case of a character by itself: no final sigma, as in the reference.
func toLower(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	i, found := slices.BinarySearchFunc(lowerRuns[:], r, func(run lowerRun, r rune) int {
		return compareRange(run.first, run.last, r)
	})
	if found && (r-lowerRuns[i].first)%lowerRuns[i].stride == 0 {
		return r + lowerRuns[i].delta
	}
	return r
}

// isSpace is \s of the reference's regular expressions. The set hasn't changed since Unicode 6.3.
func isSpace(r rune) bool {
	switch {
	case r <= 0x20:
		return r == ' ' || '\t' <= r && r <= '\r'
	case r < 0x1680:
		return r == 0x85 || r == 0xa0
	}
	return r == 0x1680 || 0x2000 <= r && r <= 0x200a || r == 0x2028 || r == 0x2029 || r == 0x202f || r == 0x205f ||
		r == 0x3000
}

func compareRange(first, last, r rune) int {
	switch {
	case last < r:
		return -1
	case first > r:
		return 1
	}
	return 0
}

// Hangul syllables are composed by arithmetic.
const (
	hangulL, hangulV, hangulT, hangulS = 0x1100, 0x1161, 0x11a7, 0xac00
	nL, nV, nT                         = 19, 21, 28
	nS                                 = nL * nV * nT
)

// normalize returns the canonical composition. Unlike x/text's it doesn't break up long runs of marks, and it knows
// the marks that the reference knows and no newer ones.
func (n nfc) normalize(s string) string {
	const mayChange = isMark | isDecomposed | isSecond
	if strings.IndexFunc(s, func(r rune) bool { return n.chars.at(r)&mayChange != 0 }) < 0 {
		return s
	}
	size := utf8.RuneCountInString(s)
	size += size / 8 // for what is decomposed
	runes := make([]rune, 0, size)
	classes := make([]uint8, 0, size)
	for _, r := range s {
		switch bits := n.chars.at(r); {
		case bits&isDecomposed != 0:
			runes, classes = appendDecomposed(runes, classes, r)
		case bits&isMark != 0:
			runes, classes = append(runes, r), append(classes, combiningClass(r))
		default:
			runes, classes = append(runes, r), append(classes, 0)
		}
	}
	orderMarks(runes, classes)
	return string(n.composeRunes(runes, classes))
}

// appendDecomposed appends the characters that r, which has a canonical decomposition, is made of.
func appendDecomposed(runes []rune, classes []uint8, r rune) ([]rune, []uint8) {
	if k := r - hangulS; 0 <= k && k < nS {
		runes = append(runes, hangulL+k/(nV*nT), hangulV+k%(nV*nT)/nT)
		classes = append(classes, 0, 0)
		if t := k % nT; t != 0 {
			runes, classes = append(runes, hangulT+t), append(classes, 0)
		}
		return runes, classes
	}
	i, _ := slices.BinarySearch(decomposed[:], r)
	for _, d := range decomposedTo[decomposedAt[i]:decomposedAt[i+1]] {
		runes, classes = append(runes, d), append(classes, combiningClass(d))
	}
	return runes, classes
}

func combiningClass(r rune) uint8 {
	if r < classRuns[0].first {
		return 0
	}
	i, found := slices.BinarySearchFunc(classRuns[:], r, func(run classRun, r rune) int {
		return compareRange(run.first, run.last, r)
	})
	if !found {
		return 0
	}
	return classRuns[i].class
}

// orderMarks sorts each run of marks by class and keeps the order within a class. A counting sort, since a hostile
// text may be one long run.
func orderMarks(runes []rune, classes []uint8) {
	for i := 0; i < len(runes); i++ {
		if classes[i] == 0 {
			continue
		}
		end, sorted := i+1, true
		for ; end < len(runes) && classes[end] != 0; end++ {
			sorted = sorted && classes[end-1] <= classes[end]
		}
		if !sorted {
			countingSort(runes[i:end], classes[i:end])
		}
		i = end
	}
}

func countingSort(runes []rune, classes []uint8) {
	var start [257]int
	for _, c := range classes {
		start[int(c)+1]++
	}
	for c := range 256 {
		start[c+1] += start[c]
	}
	sorted := make([]rune, len(runes))
	sortedClasses := make([]uint8, len(runes))
	for i, c := range classes {
		at := start[c]
		start[c]++
		sorted[at], sortedClasses[at] = runes[i], c
	}
	copy(runes, sorted)
	copy(classes, sortedClasses)
}

// composeRunes joins each starter with the marks and starters that it composes with, in place.
func (n nfc) composeRunes(runes []rune, classes []uint8) []rune {
	out := 0
	starter := -1 // where the last starter was written
	last := -1    // class of the last character written after it, -1 if none was
	for i, r := range runes {
		class := int(classes[i])
		if starter >= 0 && last < class && n.chars.at(r)&isSecond != 0 {
			if c, ok := composePair(runes[starter], r); ok {
				runes[starter] = c
				continue
			}
		}
		if class == 0 {
			starter, last = out, -1
		} else {
			last = class
		}
		runes[out] = r
		out++
	}
	return runes[:out]
}

func composePair(a, b rune) (rune, bool) {
	if l, v := a-hangulL, b-hangulV; 0 <= l && l < nL && 0 <= v && v < nV {
		return hangulS + (l*nV+v)*nT, true
	}
	if s, t := a-hangulS, b-hangulT; 0 <= s && s < nS && s%nT == 0 && 0 < t && t < nT {
		return a + t, true
	}
	i, found := slices.BinarySearch(composedFrom[:], uint64(a)<<21|uint64(b))
	if !found {
		return 0, false
	}
	return composedTo[i], true
}
