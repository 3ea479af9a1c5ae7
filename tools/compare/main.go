// Command compare holds embeddings to goldens: compare GOLDENS.jsonl EMBEDDINGS.jsonl prints the lowest and the mean
// cosine of the lines with the same id, texts and pictures apart, and fails where a line is missing, where one side
// refused an input that the other took, or where the lowest cosine is below -min.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
)

type line struct {
	ID        string    `json:"id"`
	Embedding []float64 `json:"embedding"`
	Error     string    `json:"error"`
}

// read returns the lines of a JSONL file by id.
func read(path string) (lines map[string]line, order []string, err error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines = map[string]line{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		lines[l.ID] = l
		order = append(order, l.ID)
	}
	return lines, order, s.Err()
}

func cosine(a, b []float64) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += a[i] * b[i]
		aa += a[i] * a[i]
		bb += b[i] * b[i]
	}
	return ab / math.Sqrt(aa*bb)
}

type summary struct {
	n      int
	lowest float64
	which  string
	sum    float64
}

func compare(goldens, got string) (map[string]*summary, error) {
	want, order, err := read(goldens)
	if err != nil {
		return nil, err
	}
	have, _, err := read(got)
	if err != nil {
		return nil, err
	}
	kinds := map[string]*summary{}
	for _, id := range order {
		w, h := want[id], have[id]
		if (w.Error == "") != (h.Error == "") || (h.ID == "") {
			return nil, fmt.Errorf("%s: the golden's error is %q, ours %q", id, w.Error, h.Error)
		}
		if w.Error != "" {
			continue
		}
		if len(w.Embedding) != len(h.Embedding) {
			return nil, fmt.Errorf("%s: %d values, want %d", id, len(h.Embedding), len(w.Embedding))
		}
		kind, _, _ := strings.Cut(id, "/")
		s := kinds[kind]
		if s == nil {
			s = &summary{lowest: 2}
			kinds[kind] = s
		}
		c := cosine(w.Embedding, h.Embedding)
		s.n++
		s.sum += c
		if c < s.lowest {
			s.lowest, s.which = c, id
		}
	}
	return kinds, nil
}

func run() error {
	least := flag.Float64("min", -1, "lowest cosine allowed")
	flag.Parse()
	if flag.NArg() != 2 {
		return errors.New("usage: compare [-min COSINE] GOLDENS.jsonl EMBEDDINGS.jsonl")
	}
	kinds, err := compare(flag.Arg(0), flag.Arg(1))
	if err != nil {
		return err
	}
	low := false
	for kind, s := range kinds {
		fmt.Printf("%-12s %3d lines  lowest %.7f (%s)  mean %.7f\n", kind, s.n, s.lowest, s.which, s.sum/float64(s.n))
		low = low || s.lowest < *least
	}
	if low {
		return fmt.Errorf("a cosine is below %g", *least)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}
