package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// sample is one of a subject's turns.
type sample struct {
	rate   float64 // items a second: of the fastest call, since what disturbs a call only makes it slower
	cpu    float64 // seconds of processor time an item
	limit  float64 // operations a second that registers allow, before and after it
	others float64 // share of the machine that others took meanwhile
	goTime float64 // share of the processor time that Go's code took; of this project where asked for
}

const (
	// pause lets the threads of the subject before fall asleep: OpenMP's and oneTBB's wait actively for some time.
	pause = 250 * time.Millisecond

	// maxOthers is the share of the machine that others may take before a sample counts as disturbed: 2% of two cores is
	// what the system itself takes now and then.
	maxOthers = 0.03

	// A disturbed sample is taken again, unless it takes as long as this.
	retries      = 2
	longestRetry = 6.0 // seconds
)

// result is what was measured of a subject in a case, a number a round.
type result struct {
	s       *subject
	c       kase
	samples []sample
}

// runner takes samples.
type runner struct {
	limits  *limits
	seconds float64
}

// take asks a subject for a sample, with the limit before and after it.
func (r *runner) take(s *subject, c kase, g group) (sample, error) {
	kind := r.limits.kind(s.spec.limit)
	threads := threadsOf(s.spec, g)
	before, err := r.limits.measure(kind, threads)
	if err != nil {
		return sample{}, err
	}
	watch := newWatch()
	a, err := s.ask(question{Case: c.name, Seconds: r.seconds, Profile: g.profile && s.spec.ours})
	if err != nil {
		return sample{}, err
	}
	others := watch.others(a.CPU)
	after, err := r.limits.measure(kind, threads)
	if err != nil {
		return sample{}, err
	}
	return sample{rate: a.Items / slices.Min(a.Times), cpu: a.CPU / (a.Items * float64(len(a.Times))),
		limit: math.Sqrt(before * after), others: others, goTime: a.Go}, nil
}

// threadsOf returns with how many threads the limit is to be measured beside a subject.
func threadsOf(s subjectSpec, g group) int {
	for i, word := range s.argv {
		if word == "-threads" && s.ours {
			var n int
			if _, err := fmt.Sscan(s.argv[i+1], &n); err == nil && n > 0 {
				return n
			}
		}
	}
	return g.threads
}

// patient takes a sample, again where others disturbed it, and returns the least disturbed one.
func (r *runner) patient(s *subject, c kase, g group) (sample, error) {
	best := sample{others: math.Inf(1)}
	for range 1 + retries {
		start := time.Now()
		got, err := r.take(s, c, g)
		if err != nil {
			return got, err
		}
		if got.others < best.others {
			best = got
		}
		if best.others <= maxOthers || time.Since(start).Seconds() > longestRetry {
			break
		}
	}
	return best, nil
}

// run measures a group: its subjects take turns, in another order every round.
func (r *runner) run(g group, logs string) (results []*result, missing []string) {
	subjects, missing := startAll(g.subjects, logs)
	defer func() {
		for _, s := range subjects {
			s.stop()
		}
	}()
	for _, c := range g.cases {
		for _, s := range subjects {
			if s.spec.cases == nil || slices.Contains(s.spec.cases, c.name) {
				results = append(results, &result{s: s, c: c})
			}
		}
	}
	failed := map[*subject]bool{}
	for round := range g.rounds {
		fmt.Fprintf(os.Stderr, "sidebyside: %s, round %d of %d\n", g.name, round+1, g.rounds)
		for i := range results {
			res := results[(i+round*7)%len(results)] // 7: not the same neighbour before everybody
			if failed[res.s] {
				continue
			}
			time.Sleep(pause)
			got, err := r.patient(res.s, res.c, g)
			if err != nil {
				failed[res.s] = true
				missing = append(missing, oneLine(err))
				continue
			}
			res.samples = append(res.samples, got)
		}
	}
	return slices.DeleteFunc(results, func(res *result) bool { return failed[res.s] || len(res.samples) == 0 }), missing
}

// spread is a number that was measured several times: the median and the quartiles around it.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		x := q * float64(len(v)-1)
		i := int(x)
		if i+1 == len(v) {
			return v[i]
		}
		return v[i] + (x-float64(i))*(v[i+1]-v[i])
	}
	return spread{at(0.5), at(0.25), at(0.75)}
}

func (r *result) each(f func(sample) float64) spread {
	values := make([]float64, len(r.samples))
	for i, s := range r.samples {
		values[i] = f(s)
	}
	return spreadOf(values)
}

// over returns how many times faster a subject was than another in the same case, round by round.
func (r *result) over(other *result) spread {
	n := min(len(r.samples), len(other.samples))
	values := make([]float64, n)
	for i := range n {
		values[i] = r.samples[i].rate / other.samples[i].rate
	}
	return spreadOf(values)
}
