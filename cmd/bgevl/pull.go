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
				"removed from the cache after that. With --stream weights are converted as they come and never stored, so that the " +
				"disk needs room for the GGUF files alone. Broken connections are gone on with, but a pull that was ended begins anew, " +
				"and no file appears before the digests of all were right.",
			"HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH and HF_HUB_OFFLINE mean what they mean to Python's tools. " +
				"The token goes to the endpoint alone.",
			"With --json, one object with the keys repo, revision (the commit), path, files (path, bytes, digest), bytes, " +
				"downloaded (bytes that were missing), kept (whether the checkpoint is in the cache) and, with -o, converted (as " +
				"bgevl convert --json prints).",
		},
		operands: "MODEL",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "revision", Aliases: []string{"r"}, Usage: "take the branch, tag or commit `REVISION` (default: main, or the commit that is known to work)"},
			&cli.StringSliceFlag{Name: "file", Usage: "take files whose names match `PATTERN`, such as '*q8_0.gguf'; may be repeated"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "convert the checkpoint to `FILE`"},
			&cli.StringFlag{Name: "type", Aliases: []string{"t"}, Value: "f16", Usage: "store its weights as `TYPE[,TYPE...]` (default f16)"},
			&cli.BoolFlag{Name: "keep-checkpoint", Value: true, Usage: "keep the checkpoint when it is converted; --keep-checkpoint=false removes it"},
			&cli.BoolFlag{Name: "stream", Usage: "convert weights as they come, and do not store them"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace FILE where it exists"},
			&cli.BoolFlag{Name: "verify", Usage: "read what is there already too, and download again what has other bytes than it should"},
			&cli.BoolFlag{Name: "list-models", Usage: "list the short names, and do nothing else"},
			threadsFlag("quantise"),
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		choices: map[string][]string{"": shortNames(), "type": convert.TypeNames()},
		examples: []example{
			{"download BAAI/BGE-VL-base and make base.gguf of it", "bgevl pull base -o base.gguf"},
			{"a 7B model as q8_0, without its checkpoint of 15 GB", "bgevl pull v1.5-zs -o zs.gguf --type q8_0 --stream"},
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
	o := &hub.PullOptions{Files: c.StringSlice("file"), Verify: c.Bool("verify"), SkipWeights: c.Bool("stream")}
	if out != "" {
		o.Plan = func(p hub.Plan) error { return convertible(p.Files) }
	}
	snapshot, err := download(c.Context, s, client, repo, revision, o)
	if err != nil {
		return err
	}
	if snapshot.Unreachable != nil {
		s.complain("pull: the hub cannot be reached, this is what the cache has: " + snapshot.Unreachable.Error())
	}
	p := &pulled{snapshot: snapshot, kept: c.Bool("keep-checkpoint") && len(snapshot.Skipped) == 0}
	if out != "" {
		if p.made, err = convertSnapshot(c.Context, s, client, snapshot, out, how); err != nil {
			return replaceable("pull", err)
		}
		if !c.Bool("keep-checkpoint") {
			if err := client.Remove(c.Context, snapshot, snapshot.Files); err != nil {
				return err
			}
		}
	}
	if c.Bool("json") {
		return printJSON(s.out, p.json())
	}
	p.print(s)
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
	case c.String("output") == "" && (c.IsSet("type") || c.Bool("force") || c.Bool("stream")):
		return usagef("--type, --stream and --force: want -o FILE too")
	case c.Bool("stream") && c.IsSet("keep-checkpoint") && c.Bool("keep-checkpoint"):
		return usagef("--stream: there is no checkpoint that --keep-checkpoint could keep: leave out one of them")
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

// convertible returns an error where there is nothing to convert.
func convertible(files []hub.File) error {
	for _, f := range files {
		if path.Ext(f.Path) == ".gguf" {
			return fmt.Errorf("%s is a GGUF file already: leave out -o", printable(f.Path))
		}
	}
	return nil
}

// convertSnapshot makes GGUF files of a checkpoint in the cache, whose weights come from the hub where they were skipped.
func convertSnapshot(ctx context.Context, s *streams, c *hub.Client, snapshot *hub.Snapshot, out string, o *convert.Options) (*convert.Result, error) {
	if err := convertible(snapshot.Files); err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	o.Name = path.Base(snapshot.Repo)
	o.Streams = map[string]convert.Stream{}
	for _, f := range snapshot.Skipped {
		stream, err := c.Stream(ctx, snapshot, f)
		if err != nil {
			return nil, err // the streams before this one have asked nobody for anything
		}
		o.Streams[f.Path] = stream
	}
	return convertTo(ctx, s, snapshot.Dir, out, o)
}

// pulled is what a pull has done.
type pulled struct {
	snapshot *hub.Snapshot
	made     *convert.Result // nil where nothing was converted
	kept     bool            // the checkpoint is in the cache
}

func (p *pulled) print(s *streams) {
	total := int64(0)
	for _, f := range p.snapshot.Files {
		total += f.Size
	}
	files := fmt.Sprintf("%d files, %s", len(p.snapshot.Files), size(total))
	switch {
	case p.kept:
		fmt.Fprintf(s.out, "%s: %s, %s\n", printable(p.snapshot.Dir), p.snapshot.Repo, files)
	case len(p.snapshot.Skipped) > 0:
		fmt.Fprintf(s.out, "%s: %s, converted as they came\n", p.snapshot.Repo, files)
	default:
		fmt.Fprintf(s.out, "%s: %s, removed when they were converted\n", p.snapshot.Repo, files)
	}
	if p.made != nil {
		printConversion(s, p.made)
		return
	}
	for _, f := range p.snapshot.Files {
		if path.Ext(f.Path) == ".gguf" {
			fmt.Fprintln(s.out, printable(p.snapshot.Path(f)))
		}
	}
}

// json is the documented JSON of a pull.
func (p *pulled) json() any {
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
		Repo: p.snapshot.Repo, Revision: p.snapshot.Commit, Path: filepath.ToSlash(p.snapshot.Dir), Files: []file{},
		Downloaded: p.snapshot.Missing, Kept: p.kept,
	}
	for _, f := range p.snapshot.Files {
		out.Files = append(out.Files, file{filepath.ToSlash(p.snapshot.Path(f)), f.Size, string(f.Digest)})
		out.Bytes += f.Size
	}
	if p.made != nil {
		out.Converted = conversion(p.made)
	}
	return out
}
