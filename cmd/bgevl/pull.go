package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/hub"
)

func pullCommand(s *streams) command {
	return command{
		name:    "pull",
		summary: "download a model from the Hugging Face hub",
		usage:   []string{"MODEL [-o NAME.gguf [--type TYPE[,TYPE...]]] [options]", "--list-models"},
		description: []string{
			"Downloads a model's files into the cache that Python's huggingface_hub uses too, and prints their folder. MODEL is a " +
				"short name (--list-models) or a repository ORG/NAME. Of a checkpoint it takes what bgevl convert reads, never code " +
				"or pickles; of a repository of GGUF files the one that --file names, and its mmproj file.",
			"What is there is not downloaded again. Interrupted or killed at any moment, it goes on from there when it is run " +
				"again. Every file is checked against the digest in its commit before it appears under its name.",
			"With -o the checkpoint becomes a GGUF file as bgevl convert makes it; with --keep-checkpoint=false the checkpoint is " +
				"removed from the cache after that.",
			"HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH and HF_HUB_OFFLINE mean what they mean to Python's tools. " +
				"The token goes to the endpoint alone.",
			"With --json, one object with the keys repo, revision (the commit), path, files (path, bytes, digest), bytes, " +
				"downloaded (bytes that were missing), kept (whether the checkpoint is still there) and, with -o, converted (as " +
				"bgevl convert --json prints).",
		},
		operands: "MODEL",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "revision", Aliases: []string{"r"}, Usage: "take the branch, tag or commit `REVISION` (default: main, or the commit that is known to work)"},
			&cli.StringSliceFlag{Name: "file", Usage: "take files whose names match `PATTERN`, such as '*q8_0.gguf'; may be repeated"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "convert the checkpoint to `FILE`"},
			&cli.StringFlag{Name: "type", Aliases: []string{"t"}, Value: "f16", Usage: "store its weights as `TYPE[,TYPE...]` (default f16)"},
			&cli.BoolFlag{Name: "keep-checkpoint", Value: true, Usage: "keep the checkpoint when it is converted; --keep-checkpoint=false removes it"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace FILE where it exists"},
			&cli.BoolFlag{Name: "verify", Usage: "read what is there already too, and download again what has other bytes than it should"},
			&cli.BoolFlag{Name: "list-models", Usage: "list the short names, and do nothing else"},
			threadsFlag("quantise"),
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		choices: map[string][]string{"": shortNames(), "type": convert.TypeNames()},
		examples: []example{
			{"download BAAI/BGE-VL-base and make base.gguf of it", "bgevl pull base -o base.gguf"},
			{"a 7B model as q8_0; its checkpoint takes 15 GB until then", "bgevl pull v1.5-zs -o zs.gguf --type q8_0 --keep-checkpoint=false"},
			{"one of several GGUF files", "bgevl pull ORG/NAME --file '*q4_k_m.gguf'"},
			{"by a mirror", "HF_ENDPOINT=https://hf-mirror.com bgevl pull large"},
		},
		action: func(c *cli.Context) error { return runPull(c, s) },
	}
}

func shortNames() []string {
	var names []string
	for _, m := range hub.Models() {
		names = append(names, m.Short)
	}
	return names
}

func runPull(c *cli.Context, s *streams) error {
	if c.Bool("list-models") {
		return listModels(c, s)
	}
	if err := checkPullArguments(c); err != nil {
		return err
	}
	threads, err := threads(c)
	if err != nil {
		return err
	}
	types, err := types(c)
	if err != nil {
		return err
	}
	out, how := c.String("output"), &convert.Options{Types: types, Threads: threads, Overwrite: c.Bool("force")}
	if out != "" { // before a long download
		if err := convert.CheckOutput(out, how); err != nil {
			return replaceable("pull", err)
		}
	}
	client, repo, revision, err := openHub(c.Args().First(), c.String("revision"))
	if err != nil {
		return err
	}
	defer client.Close()
	snapshot, err := download(c.Context, s, client, repo, revision, &hub.PullOptions{Files: c.StringSlice("file"), Verify: c.Bool("verify")})
	if err != nil {
		return err
	}
	if snapshot.Unreachable != nil {
		s.complain("pull: the hub cannot be reached, this is what the cache has: " + snapshot.Unreachable.Error())
	}
	var made *convert.Result
	if out != "" {
		if made, err = convertSnapshot(c.Context, s, snapshot, out, how); err != nil {
			return replaceable("pull", err)
		}
		if !c.Bool("keep-checkpoint") {
			if err := client.Remove(c.Context, snapshot, snapshot.Files); err != nil {
				return err
			}
		}
	}
	if c.Bool("json") {
		return printJSON(s.out, pulledJSON(snapshot, made, c.Bool("keep-checkpoint")))
	}
	printPulled(s, snapshot, made, c.Bool("keep-checkpoint"))
	return nil
}

func checkPullArguments(c *cli.Context) error {
	switch {
	case c.NArg() == 0:
		return usagef("no model: name a repository ORG/NAME, or one of %s", strings.Join(shortNames(), ", "))
	case c.NArg() > 1:
		return usagef("%s: one model at a time", c.Args().Get(1))
	case c.String("output") == "" && !c.Bool("keep-checkpoint"):
		return usagef("--keep-checkpoint=false: want -o FILE too, or nothing would be left")
	case c.String("output") == "" && (c.IsSet("type") || c.Bool("force")):
		return usagef("--type and --force: want -o FILE too")
	}
	return nil
}

func listModels(c *cli.Context, s *streams) error {
	if c.NArg() > 0 {
		return usagef("%s: --list-models takes no operand", c.Args().First())
	}
	if c.Bool("json") {
		type row struct {
			Name     string `json:"name"`
			Repo     string `json:"repo"`
			Revision string `json:"revision"`
		}
		var rows []row
		for _, m := range hub.Models() {
			rows = append(rows, row{m.Short, m.Repo, m.Revision})
		}
		return printJSON(s.out, rows)
	}
	var rows [][]string
	for _, m := range hub.Models() {
		rows = append(rows, []string{m.Short, m.Repo, m.Revision})
	}
	s.table([]column{{name: "name"}, {name: "repository"}, {name: "revision", give: true}}, rows)
	return nil
}

// openHub returns a client as the environment asks for, and what a name stands for.
func openHub(name, revision string) (c *hub.Client, repo, rev string, err error) {
	if repo, rev, err = hub.Resolve(name, revision); err != nil {
		return nil, "", "", fmt.Errorf("pull: %w", err)
	}
	o, err := hub.FromEnvironment(os.LookupEnv)
	if err != nil {
		return nil, "", "", err
	}
	o.UserAgent = "bgevl/" + strings.Fields(versionText())[0]
	c, err = hub.New(&o)
	return c, repo, rev, err
}

// download pulls and draws how far it is.
func download(ctx context.Context, s *streams, c *hub.Client, repo, revision string, o *hub.PullOptions) (*hub.Snapshot, error) {
	var b *bar
	file := ""
	defer func() { b.finish() }()
	o.Progress = func(p hub.Progress) {
		if b == nil {
			b = s.progress("downloading", p.Total, true)
		}
		b.set(p.Done)
		if b != nil && p.File != file {
			file = p.File
			b.bar.Describe(printable(path.Base(file)))
		}
	}
	return c.Pull(ctx, repo, revision, o)
}

// convertSnapshot makes GGUF files of a checkpoint in the cache.
func convertSnapshot(ctx context.Context, s *streams, snapshot *hub.Snapshot, out string, o *convert.Options) (*convert.Result, error) {
	for _, f := range snapshot.Files {
		if path.Ext(f.Path) == ".gguf" {
			return nil, fmt.Errorf("pull: %s is a GGUF file already: leave out -o, and give -m %s", f.Path, snapshot.Path(f))
		}
	}
	o.Name = path.Base(snapshot.Repo)
	return convertTo(ctx, s, snapshot.Dir, out, o)
}

func printPulled(s *streams, snapshot *hub.Snapshot, made *convert.Result, kept bool) {
	total := int64(0)
	for _, f := range snapshot.Files {
		total += f.Size
	}
	switch {
	case made == nil || kept:
		fmt.Fprintf(s.out, "%s: %s, %d files, %s\n", printable(snapshot.Dir), snapshot.Repo, len(snapshot.Files), size(total))
	default:
		fmt.Fprintf(s.out, "%s: %d files, %s, removed when they were converted\n", snapshot.Repo, len(snapshot.Files), size(total))
	}
	if made == nil {
		for _, f := range snapshot.Files {
			if path.Ext(f.Path) == ".gguf" {
				fmt.Fprintln(s.out, printable(snapshot.Path(f)))
			}
		}
		return
	}
	printConversion(s, made)
}

// pulledJSON is the documented JSON of a pull.
func pulledJSON(snapshot *hub.Snapshot, made *convert.Result, kept bool) any {
	type file struct {
		Path   string `json:"path"`
		Bytes  int64  `json:"bytes"`
		Digest string `json:"digest"`
	}
	out := struct {
		Repo       string `json:"repo"`
		Revision   string `json:"revision"`
		Path       string `json:"path"`
		Files      []file `json:"files"`
		Bytes      int64  `json:"bytes"`
		Downloaded int64  `json:"downloaded"`
		Kept       bool   `json:"kept"`
		Converted  any    `json:"converted,omitempty"`
	}{
		Repo: snapshot.Repo, Revision: snapshot.Commit, Path: filepath.ToSlash(snapshot.Dir), Files: []file{},
		Downloaded: snapshot.Missing, Kept: made == nil || kept,
	}
	for _, f := range snapshot.Files {
		out.Files = append(out.Files, file{filepath.ToSlash(snapshot.Path(f)), f.Size, string(f.Digest)})
		out.Bytes += f.Size
	}
	if made != nil {
		out.Converted = conversion(made)
	}
	return out
}
