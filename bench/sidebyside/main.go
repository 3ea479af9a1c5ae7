package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// options are what the command line says.
type options struct {
	groups, peers, types string
	rounds, threads      int
	seconds              float64
	commit, check        bool
	prepare              bool
	root, python, bgevl  string
}

func main() {
	err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside:", oneLine(err))
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "-serve" {
		err := serve(args[1:])
		if err != nil {
			say(answer{Error: err.Error()})
		}
		return err
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.check {
		return check(o)
	}
	r, err := measure(o, false)
	if err != nil || o.prepare {
		return err
	}
	return publish(o, r)
}

// Whom a run compares with by default, and a check, which is to be run often and leaves those out that are far behind.
const (
	allPeers   = "torch ort ov llamacpp ggml"
	checkPeers = "ov"
)

func given(f *flag.FlagSet, name string) (found bool) {
	f.Visit(func(one *flag.Flag) { found = found || one.Name == name })
	return found
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("sidebyside", flag.ContinueOnError)
	f.StringVar(&o.groups, "groups", "all", "what to measure: words that names of groups begin with, and start")
	f.StringVar(&o.peers, "peers", allPeers, "whom to compare with: words that names of peers begin with")
	f.StringVar(&o.types, "types", "", "types of this project's weights (default: f16 q8_0 q4_k_m, and bf16 where the processor multiplies that)")
	f.IntVar(&o.rounds, "rounds", 5, "samples of each program in each case")
	f.Float64Var(&o.seconds, "seconds", sampleSeconds, "least seconds of a sample")
	f.IntVar(&o.threads, "threads", runtime.GOMAXPROCS(0), "threads of everything")
	f.BoolVar(&o.commit, "commit", false, "write the report to bench/results too")
	f.BoolVar(&o.check, "check", false, "compare with bench/results instead, and fail where something got slower")
	f.BoolVar(&o.prepare, "prepare", false, "make models and start each program once, which fills their caches, and measure nothing")
	f.StringVar(&o.root, "root", ".", "the repository")
	f.StringVar(&o.python, "python", "build/peers/bin/python", "Python with the peers, of bench/peers/setup.sh")
	f.StringVar(&o.bgevl, "bgevl", "bin/bgevl", "the command line, for cold starts")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.rounds < 1 || o.threads < 1 || o.seconds <= 0 {
		return o, fmt.Errorf("%v: want options only, and numbers above 0", args)
	}
	if o.check && !given(f, "peers") {
		o.peers = checkPeers
	}
	if o.types == "" {
		o.types = "f16 q8_0 q4_k_m"
	}
	return o, nil
}

// measure runs what the options ask for.
func measure(o options, onlyOurs bool) (*report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := setup{root: o.root, dir: filepath.Join(o.root, "build", "bench")}
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return nil, err
	}
	program, err := s.limitProgram()
	if err != nil {
		return nil, err
	}
	logs := filepath.Join(s.dir, "logs")
	l, err := startLimits(program, logs)
	if err != nil {
		return nil, err
	}
	defer l.program.stop()
	p := &planner{self: self, python: o.python, peersDir: filepath.Join(o.root, "bench", "peers"), dir: s.dir,
		types: strings.Fields(o.types), peers: strings.Fields(o.peers), how: l.how, threads: o.threads, rounds: o.rounds}
	if l.how["bf16"] != "" && !slices.Contains(p.types, "bf16") {
		p.types = append(p.types, "bf16")
	}
	p.onlyOurs = onlyOurs || len(p.peers) == 0
	if _, err := os.Stat(o.python); err != nil && !p.onlyOurs {
		p.onlyOurs = true
		p.left = append(p.left, "every peer: there is no "+o.python+": bench/peers/setup.sh makes it")
	}
	words := strings.Fields(o.groups)
	groups := p.groups(words)
	withStarts := slices.Contains(words, "start") || slices.Contains(words, "all") && !o.check
	if len(groups) == 0 && !withStarts {
		return nil, fmt.Errorf("no group begins with any of %q", words)
	}
	if err := s.prepare(groups, p.types); err != nil {
		return nil, err
	}
	if o.prepare {
		return nil, rehearse(groups, logs)
	}
	return collect(o, s, p, l, groups, withStarts, logs)
}

// rehearse starts each program once, one after another, and says which cannot compute.
func rehearse(groups []group, logs string) error {
	for _, g := range groups {
		for _, spec := range g.subjects {
			ready, missing := startAll([]subjectSpec{spec}, filepath.Join(logs, g.name))
			for _, s := range ready {
				fmt.Fprintf(os.Stderr, "sidebyside: %s, %s: ready after %.1f s\n", g.name, spec.name, s.ready.Load)
				s.stop()
			}
			for _, m := range missing {
				fmt.Fprintf(os.Stderr, "sidebyside: %s: left out: %s\n", g.name, m)
			}
		}
	}
	return nil
}

// collect takes the samples.
func collect(o options, s setup, p *planner, l *limits, groups []group, withStarts bool, logs string) (*report, error) {
	r := &report{Format: reportFormat, Date: now(), Commit: commit(o.root), Processor: readProcessor(), Threads: o.threads,
		Seconds: o.seconds, Missing: p.left}
	r.Load[0] = loadAverage()
	run := &runner{limits: l, seconds: o.seconds}
	var err error
	if r.Limits, err = run.limitRows(o.threads); err != nil {
		return nil, err
	}
	for _, g := range groups {
		results, missing := run.run(g, filepath.Join(logs, g.name))
		rows := run.rows(g, results)
		rows.Commit = r.Commit
		r.Groups = append(r.Groups, rows)
		r.Missing = append(r.Missing, missing...)
	}
	if withStarts {
		if err := errors.Join(s.models("clip-base", p.types), s.pictures()); err != nil {
			return nil, err
		}
		if r.Starts, err = starts(o.bgevl, s.dir, p.types); err != nil {
			r.Missing = append(r.Missing, "cold starts: "+oneLine(err))
		}
	}
	r.Load[1] = loadAverage()
	return r, nil
}

// limitRows measures each limit several times with one thread and with all.
func (r *runner) limitRows(threads int) (map[string]limitRow, error) {
	const times = 5
	rows := map[string]limitRow{}
	for kind, how := range r.limits.how {
		var one, all []float64
		for range times {
			a, err := r.limits.measure(kind, 1)
			if err != nil {
				return nil, err
			}
			b, err := r.limits.measure(kind, threads)
			if err != nil {
				return nil, err
			}
			one, all = append(one, a), append(all, b)
		}
		rows[kind] = limitRow{how, spreadOf(one), spreadOf(all)}
	}
	return rows, nil
}

// publish writes the report and shows it.
func publish(o options, r *report) error {
	if err := r.write(filepath.Join(o.root, "build", "bench"), "report"); err != nil {
		return err
	}
	fmt.Print(r.markdown("report"))
	fmt.Fprintln(os.Stderr, "sidebyside: wrote build/bench/report.md, .json and .png")
	if !o.commit {
		return nil
	}
	dir := filepath.Join(o.root, "bench", "results")
	old, err := readReport(filepath.Join(dir, r.Processor.slug()+".json"))
	if err == nil {
		r.keep(old)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fmt.Fprintf(os.Stderr, "sidebyside: wrote bench/results/%s.{md,json,png}\n", r.Processor.slug())
	return r.write(dir, r.Processor.slug())
}

// commit returns what git calls the tree, "unknown" without git.
func commit(root string) string {
	out, err := exec.Command("git", "-C", root, "describe", "--always", "--dirty").Output() //nolint:gosec // a folder's name
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
