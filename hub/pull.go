package hub

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// atOnce is how many files are downloaded at a time; the connections are shared between them.
const atOnce = 3

// margin is what should stay free on the disk.
const margin = 64 << 20

// PullOptions says what to pull. The zero value is the repository's model.
type PullOptions struct {
	// Files are patterns (those of path.Match) of the files wanted, such as one of several GGUF files. None: config.json,
	// the files of tokenizer and preprocessor and model.safetensors or its shards, or else the only GGUF model.
	Files []string

	Verify bool // read all files that are there already and compare their digests, instead of their sizes alone

	// SkipWeights leaves a checkpoint's weights that the cache lacks on the hub: they are Snapshot.Skipped.
	SkipWeights bool

	// Plan, where set, is called once before weights are downloaded. An error of it ends the pull.
	Plan func(Plan) error

	// Progress, where set, is called as bytes come, never by two goroutines at once.
	Progress func(Progress)
}

// A Plan is what a pull is about to do.
type Plan struct {
	Repo, Commit string
	Files        []File
	Total        int64 // bytes of all files
	Missing      int64 // bytes to download, those that are skipped included
}

// Progress says how far a pull is.
type Progress struct {
	File                string // that moved
	FileDone, FileTotal int64
	Done, Total         int64 // all files, what was there already included
}

// A Snapshot is a revision's files in the cache.
type Snapshot struct {
	Repo, Commit string
	Dir          string // that the files are in
	Files        []File
	Missing      int64  // bytes that the cache lacked before
	Skipped      []File // those of Files that the cache still lacks: Client.Stream reads them

	// Unreachable, where not nil, says why the hub was not asked: the snapshot is the newest that the cache has.
	Unreachable error
}

// Path returns where a file of the snapshot is.
func (s *Snapshot) Path(f File) string { return filepath.Join(s.Dir, filepath.FromSlash(f.Path)) }

// Pull makes sure that the cache has a revision's files, checked, and returns where. A commit that the cache has in full
// needs no network; a branch or tag is looked up, and where the hub cannot be reached or Offline is set the commit counts
// that it had when it was last pulled. Errors wrap one of this package's kinds, ctx's error or the system's.
func (c *Client) Pull(ctx context.Context, repo, revision string, o *PullOptions) (*Snapshot, error) {
	if o == nil {
		o = &PullOptions{}
	}
	s, err := c.pull(ctx, repo, revision, o)
	if err != nil {
		return nil, fmt.Errorf("hub: pull %s: %w", repo, err)
	}
	return s, nil
}

func (c *Client) pull(ctx context.Context, repo, revision string, o *PullOptions) (*Snapshot, error) {
	if err := errors.Join(CheckRepo(repo), CheckRevision(revision)); err != nil {
		return nil, err
	}
	// Patterns may name more than what is there.
	if c.o.Offline || commitPattern.MatchString(revision) && !o.Verify && len(o.Files) == 0 {
		s, err := c.local(repo, revision, o)
		if err == nil || c.o.Offline {
			return s, err
		}
	}
	listing, err := c.list(ctx, repo, revision)
	if err != nil {
		if ctx.Err() != nil || !unreachable(err) {
			return nil, err
		}
		s, localErr := c.local(repo, revision, o)
		if localErr != nil {
			return nil, err
		}
		s.Unreachable = err
		return s, nil
	}
	r, err := c.repository(repo, true)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p := &puller{c: c, r: r, listing: listing, o: o}
	return p.run(ctx, revision)
}

// local returns what the cache has of a revision, if that is a whole model.
func (c *Client) local(repo, revision string, o *PullOptions) (*Snapshot, error) {
	missing := func(what string) error {
		return failf(ErrOffline, "offline, and the cache %s lacks %s: pull it with a network first", c.o.CacheDir, what)
	}
	r, err := c.repository(repo, false)
	if err != nil {
		return nil, missing("the repository")
	}
	defer r.Close()
	commit, ok := r.commit(revision)
	if !ok {
		return nil, missing("revision " + revision)
	}
	files, err := r.cached(commit)
	if err != nil {
		return nil, missing("commit " + commit)
	}
	wanted, err := choose(files, o.Files, checkCached, func(f File) ([]byte, error) { return r.root.ReadFile(snapshotName(commit, f.Path)) })
	if err != nil {
		return nil, fmt.Errorf("%w: %w", missing("files of commit "+commit), err)
	}
	return &Snapshot{Repo: repo, Commit: commit, Dir: r.path(snapshotName(commit, "")), Files: wanted}, nil
}

// Commit returns the commit that a revision of a repository had when it was last pulled, without asking anybody.
func (c *Client) Commit(repo, revision string) (string, bool) {
	if CheckRepo(repo) != nil || CheckRevision(revision) != nil {
		return "", false
	}
	if commitPattern.MatchString(revision) {
		return revision, true
	}
	r, err := c.repository(repo, false)
	if err != nil {
		return "", false
	}
	defer r.Close()
	return r.commit(revision)
}

// checkCached returns an error unless a file can stand in a snapshot. A copy has no digest.
func checkCached(f File) error {
	if f.Digest != "" {
		if err := f.Digest.check(); err != nil {
			return fmt.Errorf("file %s: %w", quote(f.Path), err)
		}
	}
	return checkFile(f.Path)
}

// Remove removes files of a snapshot from the cache, and their bytes unless another snapshot of the repository has them.
func (c *Client) Remove(ctx context.Context, s *Snapshot, files []File) error {
	err := CheckRepo(s.Repo)
	for _, f := range files {
		err = errors.Join(err, checkCached(f))
	}
	if err == nil && !commitPattern.MatchString(s.Commit) {
		err = failf(ErrName, "commit %s: want 40 hexadecimal digits", quote(s.Commit))
	}
	if err == nil {
		var r *repository
		if r, err = c.repository(s.Repo, false); err == nil {
			defer r.Close()
			err = r.removeUnused(ctx, s.Commit, files)
		}
	}
	if err != nil {
		return fmt.Errorf("hub: remove files of %s: %w", s.Repo, err)
	}
	return nil
}

// puller is one pull under way.
type puller struct {
	c       *Client
	r       *repository
	listing *Listing
	o       *PullOptions

	index int64 // bytes of an index that came before the plan

	mu          sync.Mutex
	done, total int64
}

func (p *puller) run(ctx context.Context, revision string) (*Snapshot, error) {
	commit := p.listing.Commit
	wanted, err := choose(p.listing.Files, p.o.Files, checkWanted, func(f File) ([]byte, error) { return p.early(ctx, f) })
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Repo: p.listing.Repo, Commit: commit, Dir: p.r.path(snapshotName(commit, "")), Files: wanted}
	todo, err := p.plan(ctx, s)
	if err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, f := range todo {
		g.Go(func() error {
			if err := p.blob(gctx, f); err != nil {
				return fmt.Errorf("%s: %w", quote(f.Path), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	// Weights are the last of wanted: a snapshot that has them has all.
	for _, f := range wanted {
		if slices.Contains(s.Skipped, f) {
			continue
		}
		ok, err := p.r.linked(ctx, commit, f)
		if err == nil && !ok {
			err = p.r.link(commit, f)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quote(f.Path), err)
		}
	}
	if revision != commit {
		if err := p.r.setRef(revision, commit); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// early returns the content of an index, which says what else there is to download.
func (p *puller) early(ctx context.Context, f File) ([]byte, error) {
	here, err := p.here(ctx, f)
	if err == nil && !here {
		p.index = f.Size
	}
	if err == nil {
		err = p.blob(ctx, f)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote(f.Path), err)
	}
	return p.r.root.ReadFile(blobName(f.Digest))
}

// plan finds out what is missing, what of it is to be skipped, and whether there is room for the rest.
func (p *puller) plan(ctx context.Context, s *Snapshot) (todo []File, err error) {
	plan := Plan{Repo: s.Repo, Commit: s.Commit, Files: s.Files}
	skipped := int64(0)
	seen := map[Digest]bool{}
	p.done = 0 // an index may have come already
	for _, f := range s.Files {
		plan.Total += f.Size
		here, err := p.here(ctx, f)
		switch {
		case err != nil:
			return nil, err
		case here || seen[f.Digest]:
			p.done += f.Size
		case p.o.SkipWeights && path.Ext(f.Path) == ".safetensors":
			s.Skipped = append(s.Skipped, f)
			skipped += f.Size
		default:
			seen[f.Digest] = true
			todo = append(todo, f)
			plan.Missing += f.Size - p.r.started(f)
		}
	}
	if free, known := p.c.free(p.r.root.Name()); known && free < plan.Missing+margin && len(todo) > 0 {
		return nil, failf(ErrSpace, "%.1f MB are to come and %.1f MB are free in %s: make room, or set HF_HUB_CACHE to a folder on another disk",
			float64(plan.Missing)/1e6, float64(free)/1e6, p.c.o.CacheDir)
	}
	plan.Missing += skipped
	p.total, s.Missing = plan.Total-skipped, plan.Missing+p.index
	if p.o.Plan != nil {
		if err := p.o.Plan(plan); err != nil {
			return nil, err
		}
	}
	return todo, nil
}

// here reports whether a file needs no download.
func (p *puller) here(ctx context.Context, f File) (bool, error) {
	if !p.o.Verify {
		if ok, err := p.r.linked(ctx, p.listing.Commit, f); ok || err != nil {
			return ok, err
		}
	}
	return p.r.hasBlob(ctx, f, p.o.Verify)
}

func (p *puller) advance(f File, n, fileDone int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report(f, n, fileDone)
}

// report tells of n more bytes of a file. p.mu is held.
func (p *puller) report(f File, n, fileDone int64) {
	p.done += n
	if p.o.Progress != nil && p.total > 0 {
		p.o.Progress(Progress{File: f.Path, FileDone: fileDone, FileTotal: f.Size, Done: p.done, Total: p.total})
	}
}
