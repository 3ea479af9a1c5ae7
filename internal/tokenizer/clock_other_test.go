//go:build !linux

package tokenizer

import "time"

// timeOf returns the time that f takes.
func timeOf(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}
