package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

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
		Usage: "embed with the GGUF file `MODEL`, or with NAME or NAME:TYPE of the hub, pulled on first use (default: $BGEVL_MODEL)"}}
	return append(append(flags, own...),
		&cli.StringFlag{Name: "instruction", Usage: "the query's instruction is `TEXT`; CLIP models have none and ignore it"},
		&cli.StringFlag{Name: "task", Usage: "the query's instruction is that of the task `NAME`; bgevl embed --list-tasks tells which there are"},
		&cli.BoolFlag{Name: "truncate", Usage: "cut texts that are too long for the model instead of failing them"},
		&cli.IntFlag{Name: "context", Usage: "an input may have `N` tokens; more take more memory (default: what an MLLM model was trained for, " +
			"but at most 8192)"},
		&cli.StringFlag{Name: "mmproj", Usage: "the model's vision side is `FILE` (default: mmproj-NAME.gguf beside NAME.gguf)"},
		&cli.StringFlag{Name: "device", Usage: "compute on `NAME` of bgevl devices, or on several with " +
			"commas between; auto is its default (default: $BGEVL_DEVICE, or auto)"},
		&cli.IntFlag{Name: "gpu-layers", Usage: "put the last `N` layers of each network on the device, and compute the others on the " +
			"processor (default: as many as its memory holds)"},
		threadsFlag("compute"),
		&cli.IntFlag{Name: "batch-size", Usage: "compute `N` images, or four times as many texts, at a time (default 8); " +
			"MLLM models compute one image at a time"},
	)
}

// openModel opens the model that the options name.
func openModel(c *cli.Context) (*bgevl.Embedder, error) {
	path := c.String("model")
	if path == "" {
		return nil, usagef("no model: give -m MODEL, a GGUF file made by bgevl convert, or a name such as base (bgevl pull --list-models)")
	}
	options, err := modelOptions(c)
	if err != nil {
		return nil, err
	}
	return openNamed(c, path, options)
}

// openNamed opens the model that -m has as path.
func openNamed(c *cli.Context, path string, o *bgevl.Options) (*bgevl.Embedder, error) {
	path, err := hubModel(c.Context, streamsOf(c), path)
	if err != nil {
		return nil, err
	}
	if isFolder(path) {
		return nil, fmt.Errorf("%s: %s is a folder: convert the checkpoint first: bgevl convert %s -o NAME.gguf", c.Command.Name, path, path)
	}
	return bgevl.Open(path, o)
}

// modelOptions returns what the command line says of how a model is opened.
func modelOptions(c *cli.Context) (*bgevl.Options, error) {
	threads, err := threads(c)
	if err != nil {
		return nil, err
	}
	batch := c.Int("batch-size")
	if c.IsSet("batch-size") && batch < 1 {
		return nil, usagef("--batch-size %d: want at least 1", batch)
	}
	window := c.Int("context")
	if c.IsSet("context") && window < 1 {
		return nil, usagef("--context %d: want at least 1", window)
	}
	device, layers, err := deviceOptions(c)
	if err != nil {
		return nil, err
	}
	cache, err := parseSize(c.String("image-cache"))
	if err != nil {
		return nil, usagef("--image-cache %s: %v", c.String("image-cache"), err)
	}
	return &bgevl.Options{Threads: threads, BatchSize: batch, Truncate: c.Bool("truncate"), Context: window,
		Projector: c.String("mmproj"), ImageCacheBytes: cache, Device: device, DeviceLayers: layers}, nil
}

// deviceOptions returns what the options say of devices, as bgevl.Options has it.
func deviceOptions(c *cli.Context) (device string, layers int, err error) {
	layers = c.Int("gpu-layers")
	switch {
	case layers < 0:
		return "", 0, usagef("--gpu-layers %d: want at least 0", layers)
	case c.IsSet("gpu-layers") && layers == 0:
		return "cpu", 0, nil
	}
	return c.String("device"), layers, nil
}

// instruction returns the instruction that was given, itself or by its task; an empty one is one.
func instruction(c *cli.Context) (*string, error) {
	switch {
	case c.IsSet("instruction") && c.IsSet("task"):
		return nil, usagef("--instruction and --task: want one of them")
	case c.IsSet("instruction"):
		return new(c.String("instruction")), nil
	case c.IsSet("task"):
		task, ok := bgevl.FindTask(c.String("task"))
		if !ok {
			return nil, usagef("--task %s: no such task (bgevl embed --list-tasks)", c.String("task"))
		}
		return &task.Instruction, nil
	}
	return nil, nil
}

// instructionRemedy is how a command's user can give what bgevl.WarnNoInstruction misses.
const instructionRemedy = "give --task (bgevl embed --list-tasks) or --instruction"

func taskNames() []string {
	var names []string
	for _, t := range bgevl.Tasks() {
		names = append(names, t.Name)
	}
	return names
}

// parseSize reads a number of bytes as people write it: "512MB", "2G", "1.5 GiB". Nothing is none.
func parseSize(text string) (int64, error) {
	const want = "want a size, as 512MB or 2GiB"
	if text == "" {
		return 0, nil
	}
	number := strings.TrimRight(text, "KMGTIBkmgtib ")
	unit := strings.ToUpper(strings.TrimSpace(text[len(number):]))
	base := 1000.0
	if rest, ok := strings.CutSuffix(unit, "IB"); ok {
		unit, base = rest, 1024
	} else {
		unit = strings.TrimSuffix(unit, "B")
	}
	power := strings.Index("KMGT", unit) + 1
	if unit == "" {
		power = 0
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || len(unit) > 1 || unit != "" && power == 0 || n < 0 || n != n {
		return 0, errors.New(want)
	}
	if n *= math.Pow(base, float64(power)); n > 1<<46 {
		return 0, errors.New("more than any machine has: " + want)
	}
	return int64(n), nil
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
