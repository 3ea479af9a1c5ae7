package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// question is a line that a subject is sent.
type question struct {
	Case    string  `json:"case"`
	Seconds float64 `json:"seconds"`
	Profile bool    `json:"profile,omitempty"` // of this project's own side: says which share of the time Go took
}

// answer is a line that a subject says: one when it is ready, then one for each question.
type answer struct {
	Error string `json:"error,omitempty"`

	Ready   bool              `json:"ready,omitempty"`
	Version string            `json:"version,omitempty"`
	Cases   []string          `json:"cases,omitempty"`
	Load    float64           `json:"load,omitempty"`    // seconds until it was ready
	Limits  map[string]string `json:"limits,omitempty"`  // of the program limit: kind and how it is measured
	Vectors [][]float32       `json:"vectors,omitempty"` // of the probes

	Items float64   `json:"items,omitempty"` // of a call
	Times []float64 `json:"times,omitempty"` // seconds of each call
	CPU   float64   `json:"cpu,omitempty"`   // seconds of processor time of all calls
	Peak  int64     `json:"peak,omitempty"`  // bytes resident, the most so far
	Go    float64   `json:"go,omitempty"`    // share of the processor time that Go's code took
	Ops   float64   `json:"ops,omitempty"`   // operations a second of the program limit
}

// subject is a program that is measured. One question is asked at a time.
type subject struct {
	spec  subjectSpec
	ready answer

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	log string
}

// start runs a subject's program. It fails where the program cannot be started; await tells whether it can compute.
func start(spec subjectSpec, logs string) (*subject, error) {
	s := &subject{spec: spec, log: filepath.Join(logs, strings.NewReplacer(" ", "-", ",", "").Replace(spec.name)+".log")}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()                                    // the process has its own
	s.cmd = exec.Command(spec.argv[0], spec.argv[1:]...) //nolint:gosec // the benchmark's own programs
	s.cmd.Stderr = log
	s.cmd.Env = append(os.Environ(), "TOKENIZERS_PARALLELISM=false", "HF_HUB_OFFLINE=1")
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	return s, s.cmd.Start()
}

func (s *subject) read() (answer, error) {
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return answer{}, fmt.Errorf("%s ended early (%s says why): %w", s.spec.name, s.log, err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("%s: %q: %w", s.spec.name, line, err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("%s: %s", s.spec.name, a.Error)
	}
	return a, nil
}

// await waits until the subject can compute.
func (s *subject) await() error {
	a, err := s.read()
	if err == nil && !a.Ready {
		err = fmt.Errorf("%s said something else than that it is ready", s.spec.name)
	}
	s.ready = a
	return err
}

func (s *subject) ask(q question) (answer, error) {
	line, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	if _, err := s.in.Write(append(line, '\n')); err != nil {
		return answer{}, fmt.Errorf("%s: %w", s.spec.name, err)
	}
	return s.read()
}

// patience is how long a subject may take to end once its input has ended.
const patience = 10 * time.Second

// stop ends the subject's program and waits for it.
func (s *subject) stop() {
	s.in.Close()
	kill := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	_ = s.cmd.Wait() // it was measured; how it ends says nothing
}

// startAll starts subjects and waits until all can compute. Those that cannot are left out and named in missing.
func startAll(specs []subjectSpec, logs string) (ready []*subject, missing []string) {
	if err := os.MkdirAll(logs, 0o750); err != nil {
		return nil, []string{err.Error()}
	}
	started, errs := make([]*subject, len(specs)), make([]error, len(specs))
	var wait sync.WaitGroup
	limit := make(chan struct{}, 2) // more at once only take each other's processors and memory
	for i, spec := range specs {
		wait.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			s, err := start(spec, logs)
			if err == nil {
				started[i] = s
				err = s.await()
			}
			errs[i] = err
		})
	}
	wait.Wait()
	for i, s := range started {
		if errs[i] != nil {
			missing = append(missing, oneLine(errs[i]))
			if s != nil {
				s.stop()
			}
			continue
		}
		ready = append(ready, s)
	}
	return ready, missing
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// limits is the program that measures what the processor can do.
type limits struct {
	program *subject
	how     map[string]string
}

func startLimits(path, logs string) (*limits, error) {
	if err := os.MkdirAll(logs, 0o750); err != nil {
		return nil, err
	}
	s, err := start(subjectSpec{name: "limit", argv: []string{path}}, logs)
	if err != nil {
		return nil, err
	}
	if err := s.await(); err != nil {
		s.stop()
		return nil, err
	}
	if s.ready.Limits["f32"] == "" {
		s.stop()
		return nil, errors.New("the program limit measures no floats")
	}
	return &limits{program: s, how: s.ready.Limits}, nil
}

// kind returns the limit that applies to a subject: its own kind where the processor has such instructions, else that of
// floats.
func (l *limits) kind(wanted string) string {
	if l.how[wanted] == "" {
		return "f32"
	}
	return wanted
}

// measure returns the operations a second that so many threads reach now.
func (l *limits) measure(kind string, threads int) (float64, error) {
	if _, err := fmt.Fprintf(l.program.in, "%s %d\n", kind, threads); err != nil {
		return 0, err
	}
	a, err := l.program.read()
	return a.Ops, err
}
