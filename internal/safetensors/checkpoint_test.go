package safetensors_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/safetensors"
	"github.com/bgevl/bgevl/internal/testenv"
)

const (
	single   = "model.safetensors"
	indexed  = "model.safetensors.index.json"
	shardOne = "model-00001-of-00002.safetensors"
	shardTwo = "model-00002-of-00002.safetensors"
)

// floats is a file with one number under each name, the name's place in the list.
func floats(names ...string) []byte {
	var sb strings.Builder
	for i, n := range names {
		fmt.Fprintf(&sb, `,%q:{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}`, n, i, i+1)
	}
	b := file("{"+strings.TrimPrefix(sb.String(), ",")+"}", len(names))
	for i := range names {
		b[len(b)-len(names)+i] = byte(i)
	}
	return b
}

// folder writes files into a new folder, a path ending in / as a folder, and text that starts with -> as a link.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		if target, ok := strings.CutPrefix(content, "->"); ok {
			require.NoError(t, os.Symlink(target, path))
			continue
		}
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return dir
}

// sharded is a sound checkpoint of two shards, with changes.
func sharded(changes map[string]string) map[string]string {
	files := map[string]string{
		indexed: `{"metadata":{"total_size":3,"more":[1,{"x":null}]},"weight_map":{"a":"` + shardOne + `","b":"` + shardOne +
			`","c":"` + shardTwo + `"}}`,
		shardOne: string(floats("a", "b")),
		shardTwo: string(floats("c")),
	}
	for name, content := range changes {
		files[name] = content
		if content == "" {
			delete(files, name)
		}
	}
	return files
}

func TestShardedCheckpoint(t *testing.T) {
	dir := folder(t, sharded(nil))
	ck, err := safetensors.OpenCheckpoint(dir)
	require.NoError(t, err)
	require.Equal(t, dir, ck.Dir())
	require.Len(t, ck.Files(), 2)
	require.Equal(t, filepath.Join(dir, shardOne), ck.Files()[0].Path())
	var names []string
	for _, x := range ck.Tensors() {
		names = append(names, x.Name)
	}
	require.Equal(t, []string{"a", "b", "c"}, names)
	for name, want := range map[string]byte{"a": 0, "b": 1, "c": 0} {
		x, ok := ck.Tensor(name)
		require.True(t, ok)
		got, err := io.ReadAll(ck.Reader(x))
		require.NoError(t, err)
		require.Equal(t, []byte{want}, got)
	}
	_, ok := ck.Tensor("d")
	require.False(t, ok)
	require.Panics(t, func() { ck.Reader(safetensors.Tensor{Name: "d"}) })
	s := ck.Summary()
	require.Equal(t, 2, s.Files)
	require.EqualValues(t, 3, s.Parameters)
	require.Equal(t, []safetensors.TypeTotal{{DType: "U8", Tensors: 3, Parameters: 3, Bytes: 3}}, s.Types)

	a, _ := ck.Tensor("a")
	require.NoError(t, ck.Close())
	require.NoError(t, ck.Close())
	_, err = io.ReadAll(ck.Reader(a))
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestSingleFileComesFirst(t *testing.T) {
	ck, err := safetensors.OpenCheckpoint(folder(t, sharded(map[string]string{single: string(floats("x"))})))
	require.NoError(t, err)
	defer ck.Close()
	require.Len(t, ck.Tensors(), 1)
}

// shardMap is an index that has tensor c in the named shard.
func shardMap(name string) map[string]string {
	return sharded(map[string]string{indexed: fmt.Sprintf(`{"weight_map":{"a":%q,"b":%q,"c":%q}}`, shardOne, shardOne, name)})
}

type checkpointAttack struct {
	files map[string]string
	says  string
}

func checkpointAttacks(t *testing.T) map[string]checkpointAttack {
	index := func(text string) map[string]string { return sharded(map[string]string{indexed: text}) }
	outside := filepath.Join(folder(t, map[string]string{"secret.safetensors": string(floats("c"))}), "secret.safetensors")
	return map[string]checkpointAttack{
		"parent":                  {shardMap("../secret.safetensors"), "want the plain name of a .safetensors file"},
		"parent, hidden":          {shardMap("x/../../secret.safetensors"), "plain name"},
		"absolute":                {shardMap(outside), "plain name"},
		"subfolder":               {shardMap("sub/c.safetensors"), "plain name"},
		"backslash":               {shardMap(`..\\c.safetensors`), "plain name"},
		"drive":                   {shardMap("c:c.safetensors"), "plain name"},
		"dot dot":                 {shardMap(".."), "plain name"},
		"empty":                   {shardMap(""), "plain name"},
		"only the ending":         {shardMap(".safetensors"), "plain name"},
		"another kind of file":    {shardMap("pytorch_model.bin"), "plain name"},
		"NUL":                     {index(`{"weight_map":{"a":"x\u0000.safetensors"}}`), "plain name"},
		"too long":                {shardMap(strings.Repeat("x", 300) + ".safetensors"), "plain name"},
		"no string":               {index(`{"weight_map":{"a":1}}`), "the shard of tensor a, a string"},
		"missing shard":           {sharded(map[string]string{shardTwo: ""}), "shard " + shardTwo + ", which " + indexed + " names, is missing"},
		"shard cut short":         {sharded(map[string]string{shardTwo: string(floats("c")[:20])}), shardTwo + ": "},
		"tensor missing":          {sharded(map[string]string{shardTwo: string(floats())}), "tensor c is missing: " + indexed + " has it in " + shardTwo},
		"tensor in two shards":    {sharded(map[string]string{shardTwo: string(floats("c", "b"))}), "tensor b is in two shards, " + shardOne + " and " + shardTwo},
		"tensor in another shard": {shardMap(shardOne), "tensor c is missing"},
		"tensors swapped": {index(fmt.Sprintf(`{"weight_map":{"a":%q,"b":%q,"c":%q}}`, shardTwo, shardOne, shardTwo)),
			"tensor a is in " + shardOne + ", but " + indexed + " has it in " + shardTwo},
		"tensor not in the index": {index(fmt.Sprintf(`{"weight_map":{"a":%q,"c":%q}}`, shardOne, shardTwo)),
			"tensor b of " + shardOne + " is not in " + indexed},
		"tensor mapped twice": {index(fmt.Sprintf(`{"weight_map":{"a":%q,"b":%q,"c":%q,"\u0061":%q}}`, shardOne, shardOne, shardTwo, shardTwo)),
			"tensor a is in weight_map twice"},
		"two maps":          {index(`{"weight_map":{},"weight_map":{}}`), "weight_map is there twice"},
		"no map":            {index(`{"Weight_Map":{"a":"b.safetensors"}}`), "it has no weight_map"},
		"map is a list":     {index(`{"weight_map":[]}`), "an object"},
		"index is empty":    {index(" "), "JSON ends at byte 1"},
		"index goes on":     {index(`{"weight_map":{}}x`), "want the end"},
		"index not UTF-8":   {index("{\"weight_map\":{},\"\xff\":1}"), "not UTF-8"},
		"bad literal":       {index(`{"weight_map":{},"x":nul}`), "want a value"},
		"nested 100,000":    {index(`{"metadata":` + strings.Repeat("[", 100_000)), "nests deeper than 64"},
		"nested objects":    {index(`{"metadata":` + strings.Repeat(`{"a":`, 100_000)), "nests deeper than 64"},
		"link out":          {sharded(map[string]string{shardTwo: "->" + outside}), "escapes"},
		"relative link out": {sharded(map[string]string{shardTwo: "->../x.safetensors"}), "escapes"},
		"index is a link":   {sharded(map[string]string{indexed: "->/etc/hostname"}), "escapes"},
		"weights are a link": {map[string]string{single: "->" + outside},
			"escapes"},
		"shard is a folder": {sharded(map[string]string{shardTwo: "", shardTwo + "/x": "y"}), "want a regular file"},
		"nothing":           {map[string]string{"config.json": "{}"}, "want model.safetensors or model.safetensors.index.json"},
	}
}

func TestCheckpointAttacks(t *testing.T) {
	for name, c := range checkpointAttacks(t) {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, c.files)
			before := descriptors(t)
			ck, err := safetensors.OpenCheckpoint(dir)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "safetensors: open checkpoint "+dir)
			require.Nil(t, ck)
			require.Equal(t, before, descriptors(t), "files stay open")
		})
	}
	_, err := safetensors.OpenCheckpoint(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = safetensors.OpenCheckpoint(folder(t, sharded(map[string]string{shardTwo: ""})))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// descriptors counts the files that this process has open, where the system tells.
func descriptors(t *testing.T) int {
	if runtime.GOOS != "linux" {
		return 0
	}
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

func TestIndexLimits(t *testing.T) {
	var sb strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&sb, `,"t%d":"s%d.safetensors"`, i, i)
	}
	_, err := safetensors.OpenCheckpoint(folder(t, map[string]string{indexed: `{"weight_map":{` + sb.String()[1:] + `}}`}))
	require.ErrorContains(t, err, "names 1001 shards: want at most 1000")

	dir := folder(t, map[string]string{indexed: "{"})
	require.NoError(t, os.Truncate(filepath.Join(dir, indexed), 64<<20+1))
	_, err = safetensors.OpenCheckpoint(dir)
	require.ErrorContains(t, err, "it has 67108865 bytes: want at most 67108864")
}

// In the hub's cache the files of a revision are links to blobs, two folders up: they are followed, and none further.
func TestHubCache(t *testing.T) {
	files := map[string]string{"models--a--b/blobs/01": string(floats("a", "b")), "models--a--b/blobs/02": string(floats("c")),
		"models--a--b/blobs/03": sharded(nil)[indexed], "secret": string(floats("c"))}
	const snapshot = "models--a--b/snapshots/cc4c733ed997/"
	for name, blob := range map[string]string{shardOne: "01", shardTwo: "02", indexed: "03"} {
		files[snapshot+name] = "->../../blobs/" + blob
	}
	ck, err := safetensors.OpenCheckpoint(filepath.Join(folder(t, files), snapshot))
	require.NoError(t, err)
	require.Len(t, ck.Tensors(), 3)
	require.NoError(t, ck.Close())

	link := filepath.Join(t.TempDir(), "link") // the folder itself may be reached by one
	require.NoError(t, os.Symlink(filepath.Join(folder(t, files), snapshot), link))
	ck, err = safetensors.OpenCheckpoint(link)
	require.NoError(t, err)
	require.NoError(t, ck.Close())

	files[snapshot+shardTwo] = "->../../../secret"
	_, err = safetensors.OpenCheckpoint(filepath.Join(folder(t, files), snapshot))
	require.ErrorContains(t, err, "escapes")
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := safetensors.Open(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = safetensors.Open(dir)
	require.ErrorContains(t, err, "want a regular file")
}

func TestTensorOfAnotherFilePanics(t *testing.T) {
	b := floats("a")
	f, err := safetensors.Parse(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	require.Panics(t, func() { f.Reader(safetensors.Tensor{Offset: 1, Size: 1}) })
	require.NoError(t, f.Close())
}

// The checkpoints that transformers saved open, sharded ones too.
func TestReferenceCheckpoints(t *testing.T) {
	dir := filepath.Join(testenv.Shared(t), "fixtures", "checkpoints")
	for _, c := range []struct {
		name, tensor string
		files        int
	}{
		{"clip-base-tiny", "text_model.embeddings.token_embedding.weight", 1},
		{"clip-large-tiny", "text_model.embeddings.token_embedding.weight", 1},
		{"mllm-tiny", "multi_modal_projector.linear_1.weight", 3},
		{"mllm-tiny-v15", "multi_modal_projector.linear_1.weight", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			ck, err := safetensors.OpenCheckpoint(filepath.Join(dir, c.name))
			require.NoError(t, err)
			defer ck.Close()
			require.Len(t, ck.Files(), c.files)
			x, ok := ck.Tensor(c.tensor)
			require.True(t, ok)
			require.Len(t, x.Shape, 2)
			require.Equal(t, x.Size, ck.Reader(x).Size())
		})
	}
}
