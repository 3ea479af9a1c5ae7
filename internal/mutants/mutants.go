// Package mutants is how tests feed a reader of files with damaged ones, many thousands of them, without harm to the
// test process: they run in a child whose memory is limited and that is ended when a file hangs it.
//
// It is for tests only. Run is for one test of a package, named TestMutants; the other functions may be called from
// anywhere.
package mutants

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	usual    = 20_000                // how many run where nothing else is asked
	envCount = "BGEVL_MUTANTS"       // how many to run
	envChild = "BGEVL_MUTANTS_CHILD" // set in the child, which runs them
)

// Run gives each mutant's number to run, which feeds that mutant to the reader and reports whether it was accepted:
// 20,000, a tenth of that with -short, or as many as BGEVL_MUTANTS says. It must be called by TestMutants alone. It
// fails where a mutant takes more than MaxTime, and where nearly all are accepted or refused: then they test nothing.
func Run(t *testing.T, run func(i int) (accepted bool)) {
	if os.Getenv(envChild) != "" {
		child(t, run)
		return
	}
	count := usual
	if s := os.Getenv(envCount); s != "" {
		var err error
		count, err = strconv.Atoi(s)
		require.NoError(t, err, envCount)
	} else if testing.Short() {
		count = usual / 10
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMutants$", "-test.v", "-test.timeout=30m") //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), envChild+"="+strconv.Itoa(count))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

func child(t *testing.T, run func(i int) bool) {
	count, err := strconv.Atoi(os.Getenv(envChild))
	require.NoError(t, err)
	limitMemory(t)
	var current atomic.Int64
	go watch(&current)
	accepted := 0
	for i := range count {
		current.Store(int64(i))
		ok := false
		took := Fastest(func() { ok = run(i) })
		require.Less(t, took, MaxTime, "mutant %d", i)
		if ok {
			accepted++
		}
	}
	t.Logf("%d mutants, %d accepted", count, accepted)
	require.Greater(t, accepted, count/100, "hardly a mutant reaches what lies behind the checks")
	require.Less(t, accepted, count/2, "hardly a mutant is malformed")
}

// Fastest returns how long f takes. Where that is MaxTime or more it tries twice more: on a busy machine a process may
// have to wait, but what f does wrong it does each time.
func Fastest(f func()) time.Duration {
	least := time.Duration(math.MaxInt64)
	for range 3 {
		start := time.Now()
		f()
		if least = min(least, time.Since(start)); least < MaxTime {
			break
		}
	}
	return least
}

// watch ends the process with a mutant's number when that never ends.
func watch(current *atomic.Int64) {
	const patience = time.Minute
	for last := int64(-1); ; {
		i := current.Load()
		if i == last {
			fmt.Printf("mutant %d hangs\n", i)
			os.Exit(3)
		}
		last = i
		time.Sleep(patience)
	}
}
