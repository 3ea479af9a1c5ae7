package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/hub"
)

// largeCheckpoint is from where on a checkpoint becomes q8_0 rather than f16 where nobody says: a 7B model in f16 would
// fill the memory of a usual machine.
const largeCheckpoint = 4 << 30

// hubModel returns the GGUF file that -m names: the path itself, or what NAME or NAME:TYPE stands for on the hub (a short
// name or ORG/NAME). That is downloaded and converted on first use, which is said on standard error; after that no network
// is needed. A file or folder of the name goes before.
func hubModel(ctx context.Context, s *streams, name string) (string, error) {
	// In a folder that is there it is a file, if a missing one: a slip of the hand should not ask the hub.
	folder := filepath.Dir(name)
	if _, err := os.Stat(name); err == nil || strings.HasSuffix(strings.ToLower(name), ".gguf") || folder != "." && isFolder(folder) {
		return name, nil
	}
	model, typ, _ := strings.Cut(name, ":")
	if _, _, err := hub.Resolve(model, ""); err != nil {
		return name, nil // no name of the hub's: opening it says that there is no such file
	}
	if typ != "" && !known(typ, convert.TypeNames()) {
		return "", usagef("-m %s: no such type (bgevl convert --list-types)", name)
	}
	client, repo, revision, err := openHub(model, "")
	if err != nil {
		return "", err
	}
	defer client.Close()
	dir, err := convertedDir()
	if err != nil {
		return "", err
	}
	if commit, ok := client.Commit(repo, revision); ok {
		if file, ok := converted(dir, repo, commit, typ); ok {
			return file, nil
		}
	}
	snapshot, err := download(ctx, s, client, repo, revision, &hub.PullOptions{Plan: func(p hub.Plan) error {
		if p.Missing > 0 {
			s.complain(fmt.Sprintf("pulling %s: %s to download", p.Repo, size(p.Missing)))
		}
		return nil
	}})
	if err != nil {
		return "", fmt.Errorf("-m %s: there is no such file, and: %w", name, err)
	}
	return convertOnce(ctx, s, client, snapshot, dir, typ)
}

// streamsOf returns the ends of the process that a command was started with.
func streamsOf(c *cli.Context) *streams {
	return &streams{in: c.App.Reader, out: c.App.Writer, err: c.App.ErrWriter}
}

// convertedDir is where models that were pulled on first use are kept: BGEVL_CACHE, or bgevl in the user's cache folder.
func convertedDir() (string, error) {
	if dir := os.Getenv("BGEVL_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for converted models: %w: set BGEVL_CACHE", err)
	}
	return filepath.Join(dir, "bgevl"), nil
}

// convertedName is the file that a commit of a repository is converted to.
func convertedName(repo, commit, typ string) string {
	const enough = 12 // digits tell the commits of one repository apart
	return fmt.Sprintf("%s-%s-%s.gguf", strings.ReplaceAll(repo, "/", "--"), commit[:enough], strings.ToLower(typ))
}

// converted finds a model that was converted before. Without a type it is the one that first use chose.
func converted(dir, repo, commit, typ string) (string, bool) {
	types := []string{typ}
	if typ == "" {
		types = []string{"f16", "q8_0"}
	}
	for _, t := range types {
		file := filepath.Join(dir, convertedName(repo, commit, t))
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() {
			return file, true
		}
	}
	return "", false
}

// convertOnce converts a snapshot unless it holds a GGUF file.
func convertOnce(ctx context.Context, s *streams, c *hub.Client, snapshot *hub.Snapshot, dir, typ string) (string, error) {
	total := int64(0)
	for _, f := range snapshot.Files {
		if path.Ext(f.Path) == ".gguf" && !strings.HasPrefix(path.Base(f.Path), "mmproj") {
			if typ != "" {
				return "", fmt.Errorf("-m %s:%s: the repository has GGUF files: bgevl pull %[1]s --file '*.gguf', and give -m its file", snapshot.Repo, typ)
			}
			return snapshot.Path(f), nil
		}
		total += f.Size
	}
	if typ == "" {
		if typ = "f16"; total >= largeCheckpoint {
			typ = "q8_0"
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	file := filepath.Join(dir, convertedName(snapshot.Repo, snapshot.Commit, typ))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	s.complain(fmt.Sprintf("converting %s to %s", snapshot.Repo, file))
	_, err := convertSnapshot(ctx, s, c, snapshot, file, &convert.Options{Types: []string{typ}})
	if errors.Is(err, fs.ErrExist) { // another program was faster
		err = nil
	}
	return file, err
}
