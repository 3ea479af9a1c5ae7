package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Nothing may get slower unseen. What is compared are ratios, to the limit beside each sample and to peers in the same
// round, since a rate depends on the clock and on who else is there.
//
// A ratio counts as slower where it is below the committed one by more than baseTolerance and by more than noise times the
// quartile ranges that both runs had. baseTolerance is a guess: how much two runs on an idle machine differ has not been
// measured. A median of n values of a normal spread has a standard error of 0.93 IQR/sqrt(n): 1.5 times the sum of both half
// ranges is about three of them for five rounds.
const (
	baseTolerance = 0.05
	noise         = 1.5
)

// ratio is one that is compared.
type ratio struct {
	name string // what a reader knows it by
	key  [4]string
	spread
}

// ratios returns all of a report's that say something about this project.
func (r *report) ratios() (all []ratio) {
	for _, g := range r.Groups {
		for _, w := range g.Rows {
			if !w.Ours {
				continue
			}
			name := fmt.Sprintf("%s, %s, %s", g.Name, w.What, w.Subject)
			if w.OfLimit.Median > 0 {
				all = append(all, ratio{name + ": share of the " + w.Limit + " limit", [4]string{g.Name, w.Case, w.Subject, "limit"}, w.OfLimit})
			}
			for peer, s := range w.Over {
				all = append(all, ratio{name + ": rate over " + peer, [4]string{g.Name, w.Case, w.Subject, peer}, s})
			}
		}
	}
	slices.SortFunc(all, func(a, b ratio) int { return strings.Compare(a.name, b.name) })
	return all
}

// slower reports whether a ratio is below what was committed by more than noise explains, and the least that would do.
func slower(committed, got spread) (least float64, bad bool) {
	half := func(s spread) float64 { return (s.High - s.Low) / 2 }
	least = committed.Median - max(baseTolerance*committed.Median, noise*(half(committed)+half(got)))
	return least, got.Median < least
}

// check compares a run with the committed results of the same processor. What seems slower is measured once more.
func check(o options) error {
	path := filepath.Join(o.root, "bench", "results", readProcessor().slug()+".json")
	old, err := readReport(path)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Printf("bench-check: there are no committed ratios for this processor (%s): make bench-commit writes them\n", path)
		return nil
	}
	if err != nil {
		return err
	}
	if old.Threads != o.threads {
		return fmt.Errorf("%s is of %d threads, not %d: give THREADS=%d", path, old.Threads, o.threads, old.Threads)
	}
	first, err := measure(o, false)
	if err != nil {
		return err
	}
	worse, compared := compare(old, first, nil)
	if len(worse) > 0 {
		fmt.Fprintf(os.Stderr, "bench-check: %d ratios of %d seem lower: measuring their groups once more\n", len(worse), compared)
		o.groups = groupsOf(worse)
		second, err := measure(o, false)
		if err != nil {
			return err
		}
		worse, _ = compare(old, second, worse)
	}
	n, of := first.disturbed()
	if n > 0 {
		fmt.Printf("bench-check: others disturbed %d of %d samples: on an idle machine this says more\n", n, of)
	}
	if compared == 0 {
		return fmt.Errorf("nothing of %s was measured: are its groups and types asked for?", path)
	}
	if len(worse) == 0 {
		fmt.Printf("bench-check: %d ratios are what they were in %s (%s), or better\n", compared, path, old.Commit)
		return nil
	}
	var lines []string
	for _, w := range worse {
		lines = append(lines, w.name)
	}
	return fmt.Errorf("slower than %s (%s): %s", path, old.Commit, strings.Join(lines, "; "))
}

// compare returns which ratios are lower than the committed ones, of those in only where it is not nil, and how many it
// compared. It prints each.
func compare(old, got *report, only []ratio) (worse []ratio, compared int) {
	committed := map[[4]string]ratio{}
	for _, r := range old.ratios() {
		committed[r.key] = r
	}
	for _, r := range got.ratios() {
		was, ok := committed[r.key]
		if !ok || only != nil && !slices.ContainsFunc(only, func(x ratio) bool { return x.key == r.key }) {
			continue
		}
		compared++
		least, bad := slower(was.spread, r.spread)
		word := "ok"
		if bad {
			word = "SLOWER"
			worse = append(worse, ratio{fmt.Sprintf("%s is %.3f, was %.3f, at least %.3f wanted", r.name, r.Median, was.Median, least), r.key, r.spread})
		}
		fmt.Printf("%-7s %-72s %.3f, was %.3f, at least %.3f\n", word, r.name, r.Median, was.Median, least)
	}
	return worse, compared
}

func groupsOf(ratios []ratio) string {
	var names []string
	for _, r := range ratios {
		if !slices.Contains(names, r.key[0]) {
			names = append(names, r.key[0])
		}
	}
	return strings.Join(names, " ")
}
