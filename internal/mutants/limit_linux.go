//go:build linux && !race

package mutants

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// MaxTime is the scoreboard's bound on a file's check.
const MaxTime = time.Second

// childMemory is far more than a mutant of a few kilobytes may take, and far less than what a count from one could.
const childMemory = 512 << 20

// limitMemory makes the system refuse this process more private memory than childMemory.
func limitMemory(t *testing.T) {
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: childMemory, Max: childMemory}))
}
