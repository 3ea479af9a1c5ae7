package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is what the Makefile's build writes into the binary: `git describe` of the sources.
var version string

func versionCommand(s *streams) command {
	return command{
		name:    "version",
		summary: "print the version of the program",
		usage:   []string{"[--json]"},
		description: []string{
			"Prints the version of the program, the Go version that built it and the platform it was built for. " +
				"With --json, one object with the keys version, go and platform.",
		},
		flags:    []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}},
		examples: []example{{"for a report of a fault", "bgevl version"}, {"for a program", "bgevl version --json"}},
		action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("%s: takes no operand", c.Args().First())
			}
			if c.Bool("json") {
				return printJSON(s.out, map[string]string{
					"version": versionText(), "go": runtime.Version(), "platform": platform(),
				})
			}
			_, err := fmt.Fprintf(s.out, "bgevl %s (%s, %s)\n", versionText(), runtime.Version(), platform())
			return err
		},
	}
}

func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// versionText returns the version: the Makefile's, or what `go install` and `go build` record by themselves.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// printJSON writes one value as indented JSON.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
