package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/examples"
	"github.com/bgevl/bgevl/index"
	"github.com/bgevl/bgevl/server"
)

// textsSource is what the texts of --texts are called in results.
const textsSource = "texts"

func serveCommand(s *streams) command {
	flags := withModel(
		&cli.StringFlag{Name: "address", Value: "127.0.0.1:8080", Usage: "listen on `HOST:PORT` (default 127.0.0.1:8080); port 0 is any free one; " +
			"others than this machine need an API key"},
		&cli.StringFlag{Name: "api-key-file", Usage: "ask for one of the keys in `FILE`, a line each, or for $BGEVL_API_KEY"},
		&cli.StringSliceFlag{Name: "image-urls", Usage: "let requests name pictures at https://`HOST`/...; *.HOST is all below it, * all public " +
			"ones; may be given again (default: none)"},
		&cli.StringSliceFlag{Name: "allowed-host", Usage: "answer to the name `HOST` too, as behind a proxy; may be given again"},
		&cli.IntFlag{Name: "max-inputs", Value: 32, Usage: "let a request have `N` texts and pictures (default 32)"},
		&cli.StringFlag{Name: "texts", Usage: "search the lines of `FILE` too, each a text"},
		&cli.StringFlag{Name: "image-cache", Usage: "keep up to `SIZE`, as 2GB, of what an MLLM model made of pictures, for inputs with the " +
			"same one (default: none)"},
		&cli.BoolFlag{Name: "verbose", Usage: "log each request on standard error"},
	)
	flags = slices.DeleteFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == "truncate" }) // each request says it
	return command{
		name:    "serve",
		summary: "answer HTTP requests, and search folders of pictures in a page",
		usage:   []string{"[-m MODEL] [FOLDER...] [options]"},
		description: []string{
			"Takes in the pictures of folders and all below them, and serves a page that searches them by a picture, a text, or " +
				"a picture with a text that says what should be different. Programs find the same at POST /v1/search, and " +
				"embeddings at the routes of OpenAI's API and others: README.md lists them. It prints the page's address, and " +
				"serves at once while pictures are still being taken in; GET /v1/index says how far that is. Pictures that fail " +
				"are named on standard error and passed over.",
			"Without a model, $BGEVL_MODEL included, it is the demo model, which knows drawn shapes and nothing else; without a " +
				"folder it then searches drawings. -m base takes a real model.",
			"Nothing outside the folders is opened, and what is found is kept in memory alone. Names that begin with a dot are " +
				"passed over. SIGINT or SIGTERM lets requests finish, and ends it with status 0.",
		},
		operands: "DIR",
		flags:    flags,
		choices:  map[string][]string{"task": taskNames()},
		examples: []example{
			{"look at it: drawings, and a small model that knows them", "bgevl serve"},
			{"search photos with a real model", "bgevl serve -m base ~/Pictures"},
			{"for others, who need a key of the file", "bgevl serve -m base --address 0.0.0.0:8080 \\\n--api-key-file keys.txt photos"},
		},
		action: func(c *cli.Context) error { return runServe(c, s) },
	}
}

func runServe(c *cli.Context, s *streams) error {
	options, err := serverOptions(c, s)
	if err != nil {
		return err
	}
	if err := server.CheckAddress(c.String("address"), options.APIKeys); err != nil {
		return usagef("--address: %s", strings.TrimPrefix(err.Error(), "server: "))
	}
	texts, err := readTexts(c.String("texts"))
	if err != nil {
		return err
	}
	sources, closeAll, err := openFolders(c.Args().Slice())
	if err != nil {
		return err
	}
	defer closeAll()
	ln, err := net.Listen("tcp", c.String("address"))
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	defer ln.Close() // Serve has closed it
	model, done, err := servedModel(c, s, options)
	if err != nil {
		return err
	}
	defer done()
	if options.Search.Demo && len(sources) == 0 && len(texts) == 0 {
		drawings := examples.NewDrawings()
		sources = append(sources, drawings)
		options.Search.Examples = demoQueries(drawings)
	}
	return serve(c.Context, s, ln, model, options, sources, texts)
}

// serve fills a collection and answers requests until ctx ends.
func serve(ctx context.Context, s *streams, ln net.Listener, model *bgevl.Embedder, o *server.Options, sources []index.Source, texts []string) error {
	fingerprint, err := model.Fingerprint(ctx)
	if err != nil {
		return err
	}
	items, err := index.New(fingerprint)
	if err != nil {
		return err
	}
	all := &collection{Collection: items, fingerprint: fingerprint, state: server.Indexing{State: "running"}}
	for _, src := range sources {
		all.sources = append(all.sources, src.Name())
	}
	if len(texts) > 0 {
		all.sources = append(all.sources, textsSource)
	}
	o.Search.Collection = all
	srv, err := server.New(model, o)
	if err != nil {
		return err
	}
	filling, stop := context.WithCancel(ctx)
	var filler sync.WaitGroup
	filler.Go(func() { all.fill(filling, s, model, sources, texts) })
	defer filler.Wait()
	defer stop()
	fmt.Fprintf(s.out, "http://%s/\n", ln.Addr())
	return srv.Serve(ctx, ln)
}

// servedModel opens the model that the options name, or the demo model. done closes it.
func servedModel(c *cli.Context, s *streams, o *server.Options) (model *bgevl.Embedder, done func(), err error) {
	opening, err := modelOptions(c)
	if err != nil {
		return nil, nil, err
	}
	opening.Truncate = true // what was cut is refused where the request does not allow it
	if path := c.String("model"); path != "" {
		if model, err = openNamed(c, path, opening); err != nil {
			return nil, nil, err
		}
		return model, func() { _ = model.Close() }, nil
	}
	path, remove, err := demoModel(c.Context)
	if err != nil {
		return nil, nil, fmt.Errorf("serve: the demo model: %w", err)
	}
	s.complain("serve: no model was given: this is the demo model, which knows drawn shapes and nothing else; -m base takes a real one")
	o.Search.Demo = true
	if opening.Threads == 0 {
		opening.Threads = 1 // in a network so small more mostly wait
	}
	if model, err = bgevl.Open(path, opening); err != nil {
		remove()
		return nil, nil, err
	}
	return model, func() { _ = model.Close(); remove() }, nil
}

// serverOptions returns what the command line says of the server.
func serverOptions(c *cli.Context, s *streams) (*server.Options, error) {
	keys, err := apiKeys(c.String("api-key-file"))
	if err != nil {
		return nil, err
	}
	told, err := instruction(c)
	if err != nil {
		return nil, err
	}
	inputs := c.Int("max-inputs")
	if inputs < 1 {
		return nil, usagef("--max-inputs %d: want at least 1", inputs)
	}
	level := slog.LevelWarn
	if c.Bool("verbose") {
		level = slog.LevelDebug
	}
	return &server.Options{Version: versionText(), APIKeys: keys, MaxInputs: inputs, ImageURLs: c.StringSlice("image-urls"), AllowedHosts: c.StringSlice("allowed-host"),
		Search: server.SearchOptions{Instruction: told},
		Logger: slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level}))}, nil
}

// apiKeys returns the keys of a file and of the environment.
func apiKeys(path string) ([]string, error) {
	var keys []string
	if key := os.Getenv("BGEVL_API_KEY"); key != "" {
		keys = append(keys, key)
	}
	if path == "" {
		return keys, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("serve: --api-key-file: %w", err)
	}
	before := len(keys)
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(keys, line) {
			keys = append(keys, line)
		}
	}
	if len(keys) == before && len(strings.TrimSpace(string(data))) == 0 {
		return nil, fmt.Errorf("serve: --api-key-file: %s holds no key: put one on a line", path)
	}
	return keys, nil
}

// readTexts returns the lines of a file that are not empty.
func readTexts(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("serve: --texts: %w", err)
	}
	defer f.Close()
	const longest = 1 << 20 // of a line: past what any model takes
	var texts []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			texts = append(texts, strings.ToValidUTF8(line, "\uFFFD"))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("serve: --texts: %s: %w", path, err)
	}
	return texts, nil
}

// openFolders opens folders under names that differ.
func openFolders(paths []string) (sources []index.Source, closeAll func(), err error) {
	closeAll = func() {
		for _, src := range sources {
			if f, ok := src.(*index.Folder); ok {
				f.Close()
			}
		}
	}
	taken := map[string]bool{textsSource: true}
	for _, path := range paths {
		f, err := index.OpenFolder(path, "")
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("serve: %s", strings.TrimPrefix(err.Error(), "index: "))
		}
		name := f.Name()
		for i := 2; taken[name]; i++ {
			name = fmt.Sprintf("%s (%d)", f.Name(), i)
		}
		f.Rename(name)
		taken[name] = true
		sources = append(sources, f)
	}
	return sources, closeAll, nil
}

// demoQueries returns what the page offers to ask of the drawings.
func demoQueries(d *examples.Drawings) []server.Example {
	var list []server.Example
	for _, q := range d.Queries() {
		e := server.Example{Text: q.Text, Negative: q.Negative}
		if q.Picture != "" {
			e.ID = index.ItemID(d.Name(), q.Picture)
		}
		list = append(list, e)
	}
	return list
}
