package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/bgevl"
)

// Options that several commands share.

func threadsFlag(does string) cli.Flag {
	return &cli.IntFlag{Name: "threads", Usage: does + " with `N` threads (default: one a processor)"}
}

func threads(c *cli.Context) (int, error) {
	n := c.Int("threads")
	if c.IsSet("threads") && n < 1 {
		return 0, usagef("--threads %d: want at least 1", n)
	}
	return n, nil
}

// withModel adds the options of a command that computes embeddings to its own.
func withModel(own ...cli.Flag) []cli.Flag {
	flags := []cli.Flag{&cli.StringFlag{Name: "model", Aliases: []string{"m"}, EnvVars: []string{"BGEVL_MODEL"},
		Usage: "embed with the GGUF file `MODEL` (default: $BGEVL_MODEL)"}}
	return append(append(flags, own...),
		&cli.StringFlag{Name: "instruction", Usage: "the query's instruction is `TEXT`; CLIP models have none and ignore it"},
		&cli.BoolFlag{Name: "truncate", Usage: "cut texts that are too long for the model instead of failing them"},
		threadsFlag("compute"),
		&cli.IntFlag{Name: "batch-size", Usage: "compute `N` images at a time (default 8)"},
	)
}

// openModel opens the model that the options name.
func openModel(c *cli.Context) (*bgevl.Embedder, error) {
	path := c.String("model")
	if path == "" {
		return nil, usagef("no model: give -m MODEL, a GGUF file made by bgevl convert")
	}
	threads, err := threads(c)
	if err != nil {
		return nil, err
	}
	batch := c.Int("batch-size")
	if c.IsSet("batch-size") && batch < 1 {
		return nil, usagef("--batch-size %d: want at least 1", batch)
	}
	if isFolder(path) {
		return nil, fmt.Errorf("%s: %s is a folder: convert the checkpoint first: bgevl convert %s -o NAME.gguf", c.Command.Name, path, path)
	}
	return bgevl.Open(path, &bgevl.Options{Threads: threads, BatchSize: batch, Truncate: c.Bool("truncate")})
}

// instruction returns the instruction that was given; an empty one is one.
func instruction(c *cli.Context) *string {
	if !c.IsSet("instruction") {
		return nil
	}
	return new(c.String("instruction"))
}

// size writes a number of bytes for a reader: "299.2 MB".
func size(bytes int64) string {
	if bytes < 1000 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	return count(bytes, "kMGT") + "B"
}

// count writes a number with a prefix of a thousand, a million and so on: "149.6 M".
func count(n int64, prefixes string) string {
	x, prefix := float64(n), byte(0)
	for i := 0; i < len(prefixes) && x >= 1000; i++ {
		x, prefix = x/1000, prefixes[i]
	}
	if prefix == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%.1f %c", x, prefix)
}
