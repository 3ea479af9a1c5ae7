// Command bgevl turns images, texts, or both together into BGE-VL embeddings, and converts the models it does that with.
//
// Each command has a file of its own, which reads the arguments, calls one of the module's packages and prints what
// comes back. Results go to standard output and nothing else does; an error is one line on standard error that begins
// with "bgevl:". README.md describes the commands, what they print and the exit status.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"
)

// What the process ends with. README.md and `bgevl --help` document them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitSomeFailed  = 3
	exitInterrupted = 130
)

// A usageError is a mistake in the arguments.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errSomeFailed says that the work went on to its end, but not for every input.
var errSomeFailed = errors.New("inputs failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	s := &streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(run(ctx, s, os.Args))
}

// run is the whole program short of its process: it returns the exit status.
func run(ctx context.Context, s *streams, args []string) int {
	app := newApp(s)
	err := app.RunContext(ctx, flagsFirst(app, args))
	if err == nil {
		return exitOK
	}
	status := exitError
	var usage *usageError
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		err, status = errors.New("interrupted"), exitInterrupted
	case errors.As(err, &usage):
		status = exitUsage
	case errors.Is(err, errSomeFailed):
		status = exitSomeFailed
	}
	s.complain(err.Error())
	return status
}

// oneLine makes a text fit to be one line of a terminal: line breaks become semicolons, and what could drive the
// terminal (file names and metadata come from strangers) is spelled out.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	return printable(text)
}

// printable spells out the characters that a terminal would act on instead of showing.
func printable(text string) string {
	clean := func(r rune) bool { return !unicode.IsPrint(r) }
	if strings.IndexFunc(text, clean) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !clean(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
