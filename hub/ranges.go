package hub

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// span is the bytes [from, to) of a file.
type span struct{ from, to int64 }

func (s span) length() int64 { return s.to - s.from }

// header is the span as a Range header has it. The span is not empty.
func (s span) header() string {
	return "bytes=" + strconv.FormatInt(s.from, 10) + "-" + strconv.FormatInt(s.to-1, 10)
}

const (
	minPiece, maxPiece = 256 << 10, 4 << 20
	// pieceTime is how long one piece should take its connection. What is under way is lost where the process is killed.
	pieceTime = 2 * time.Second
)

// A planner cuts the rest of a file into pieces, each for one request, so that they follow one another without a gap.
// Pieces are small until the connection has shown how fast it is. It is safe for many goroutines.
type planner struct {
	mu         sync.Mutex
	next, size int64
	length     int64
}

func newPlanner(from, size int64) *planner { return &planner{next: from, size: size, length: minPiece} }

// take returns the next piece, or false at the file's end.
func (p *planner) take() (span, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next >= p.size {
		return span{}, false
	}
	s := span{p.next, p.next + min(p.length, p.size-p.next)}
	p.next = s.to
	return s, true
}

// took tells how long some bytes took.
func (p *planner) took(n int64, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	target := int64(maxPiece)
	if d > 0 {
		target = int64(min(float64(maxPiece), float64(n)*float64(pieceTime)/float64(d)))
	}
	// At most twice the last length: one short piece from a cache says little of the next.
	p.length = max(minPiece, min(target, 2*p.length))
}

// contentRange is what a 206 says that it holds.
type contentRange struct {
	span
	size int64 // of the whole file, or below 0 where the server does not know
}

// parseContentRange reads "bytes FIRST-LAST/SIZE" strictly.
func parseContentRange(text string) (contentRange, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "bytes ")
	if !ok {
		return contentRange{}, false
	}
	interval, total, ok := strings.Cut(rest, "/")
	first, last, ok2 := strings.Cut(interval, "-")
	if !ok || !ok2 {
		return contentRange{}, false
	}
	r := contentRange{size: -1}
	from, ok := digits(first)
	to, ok2 := digits(last)
	if !ok || !ok2 || to < from {
		return contentRange{}, false
	}
	r.span = span{from, to + 1}
	if total != "*" {
		if r.size, ok = digits(total); !ok || r.size < r.to {
			return contentRange{}, false
		}
	}
	return r, true
}

// digits reads a number of decimal digits alone, far enough from overflowing.
func digits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 62)
	return n, err == nil
}
