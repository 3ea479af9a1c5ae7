//go:build !linux || race

package mutants

import (
	"testing"
	"time"
)

// MaxTime is generous: the race detector costs several times the time, and other systems are not measured.
const MaxTime = 10 * time.Second

// limitMemory does nothing: elsewhere the limit does not exist, and the race detector's own memory exceeds it.
func limitMemory(t *testing.T) { t.Log("memory is not limited here") }
