package bulk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/internal/bulk"
)

// fake answers every text with a vector of its length, and fails the text "fail".
type fake struct{ ahead int }

func (f fake) Stream(ctx context.Context, inputs iter.Seq2[bgevl.Input, error]) iter.Seq2[bgevl.Result, error] {
	return func(yield func(bgevl.Result, error) bool) {
		index := 0
		next, stop := iter.Pull2(inputs)
		defer stop()
		for {
			if ctx.Err() != nil {
				yield(bgevl.Result{}, ctx.Err())
				return
			}
			var batch []bgevl.Result
			for range f.ahead {
				in, err, ok := next()
				if !ok {
					break
				}
				batch = append(batch, answer(index, in, err))
				index++
			}
			if len(batch) == 0 {
				return
			}
			for _, r := range batch {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

func answer(index int, in bgevl.Input, err error) bgevl.Result {
	r := bgevl.Result{Index: index}
	switch {
	case err != nil:
		r.Err = &bgevl.InputError{Index: index, Err: err}
	case in.Text != nil && *in.Text == "fail":
		r.Err = &bgevl.InputError{Index: index, Operand: "text", Err: errors.New("was told to")}
	case in.Text != nil:
		r.Embedding = []float32{float32(len(*in.Text)), 0.1}
	default:
		r.Embedding = []float32{-1, 1e-7}
	}
	return r
}

func run(t *testing.T, input string) (string, bulk.Stats) {
	t.Helper()
	var out bytes.Buffer
	sink := bulk.NewJSONL(&out)
	stats, err := bulk.Run(context.Background(), fake{3}, bulk.NewReader(strings.NewReader(input), nil).All(), sink, nil)
	require.NoError(t, err)
	require.NoError(t, sink.Close())
	return out.String(), stats
}

func TestOneBadLineNeverStopsTheRest(t *testing.T) {
	lines := []struct{ in, out string }{
		{`{"id":"a","text":"four"}`, `{"id":"a","embedding":[4,0.1]}`},
		{`{"id":"b","text":`, `{"id":null,"error":"line 2: malformed JSON: unexpected end of JSON input"}`},
		{`{"text":"x"}`, `{"id":null,"error":"line 3: no \"id\": give each line a string or a number"}`},
		{`[1]`, `{"id":null,"error":"line 4: want a JSON object, got array"}`},
		{`{"id":5}`, `{"id":5,"error":"line 5: nothing to embed: give \"text\", \"image\" or both"}`},
		{`{"id":"c","text":7}`, `{"id":"c","error":"line 6: \"text\": want a string, got 7"}`},
		{`{"id":"d","text":"x","role":"judge"}`, `{"id":"d","error":"line 7: \"role\": want \"query\" or \"candidate\", got \"judge\""}`},
		{`{"id":"e","text":"fail"}`, `{"id":"e","error":"line 8: text: was told to"}`},
		{"{\"id\":\"f\",\"text\":\"\xff\"}", `{"id":null,"error":"line 9: malformed JSON: not UTF-8"}`},
		{`{"id":{"x":1},"text":"a"}`, `{"id":null,"error":"line 10: \"id\": want a string or a number, got {\"x\":1}"}`},
		{`{"id":-1.5,"text":"","image":null,"other":[1]}`, `{"id":-1.5,"embedding":[0,0.1]}`},
		{`{"id":"g","image":""}`, `{"id":"g","error":"line 12: \"image\": an empty path"}`},
		{`{"id":"h","text":"a"} {"id":"i"}`, `{"id":null,"error":"line 13: malformed JSON: invalid character '{' after top-level value"}`},
		{`{"id":"<&>","role":"candidate","image":"x.png"}`, `{"id":"<&>","embedding":[-1,1e-07]}`},
	}
	var in, want strings.Builder
	for _, l := range lines {
		in.WriteString(l.in + "\n")
		want.WriteString(l.out + "\n")
	}
	got, stats := run(t, in.String())
	require.Equal(t, want.String(), got)
	require.Equal(t, 14, stats.Done)
	require.Equal(t, 11, stats.Failed)
	require.Equal(t, "line 2: malformed JSON: unexpected end of JSON input", stats.First)
	for _, line := range strings.Split(strings.TrimSpace(got), "\n") {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

// instructed answers every input with the length of its instruction, and warns where there is none.
type instructed struct{}

func (instructed) Stream(_ context.Context, inputs iter.Seq2[bgevl.Input, error]) iter.Seq2[bgevl.Result, error] {
	return func(yield func(bgevl.Result, error) bool) {
		index := 0
		for in, err := range inputs {
			r := bgevl.Result{Index: index, Err: err, Embedding: []float32{-1}}
			if in.Instruction != nil {
				r.Embedding[0] = float32(len(*in.Instruction))
			} else {
				r.Warning = bgevl.WarnNoInstruction
			}
			if !yield(r, nil) {
				return
			}
			index++
		}
	}
}

func TestInstructions(t *testing.T) {
	task, _ := bgevl.FindTask("composed-retrieval")
	length := fmt.Sprint(len(task.Instruction))
	lines := []struct{ in, out string }{
		{`{"id":1,"text":"a"}`, `{"id":1,"embedding":[-1]}`},
		{`{"id":2,"text":"a","instruction":null,"task":null}`, `{"id":2,"embedding":[-1]}`},
		{`{"id":3,"text":"a","instruction":"four"}`, `{"id":3,"embedding":[4]}`},
		{`{"id":4,"text":"a","instruction":""}`, `{"id":4,"embedding":[0]}`},
		{`{"id":5,"text":"a","task":"composed-retrieval"}`, `{"id":5,"embedding":[` + length + `]}`},
		{`{"id":6,"text":"a","task":"composed-retrieval","instruction":null}`, `{"id":6,"embedding":[` + length + `]}`},
		{`{"id":7,"text":"a","task":"composed-retrieval","instruction":""}`,
			`{"id":7,"error":"line 7: \"task\" and \"instruction\": want one of them"}`},
		{`{"id":8,"text":"a","task":"x"}`,
			`{"id":8,"error":"line 8: \"task\": no task is called \"x\": bgevl embed --list-tasks tells which there are"}`},
		{`{"id":9,"text":"a","task":7}`, `{"id":9,"error":"line 9: \"task\": want a string, got 7"}`},
	}
	var in, want strings.Builder
	for _, l := range lines {
		in.WriteString(l.in + "\n")
		want.WriteString(l.out + "\n")
	}
	var out bytes.Buffer
	sink := bulk.NewJSONL(&out)
	stats, err := bulk.Run(context.Background(), instructed{}, bulk.NewReader(strings.NewReader(in.String()), nil).All(), sink, nil)
	require.NoError(t, err)
	require.Equal(t, want.String(), out.String())
	require.Equal(t, 2, stats.Warned, "what failed has no warning")
	require.Equal(t, bgevl.WarnNoInstruction, stats.Warning)
}

func TestLineEnds(t *testing.T) {
	got, stats := run(t, "\ufeff{\"id\":1,\"text\":\"a\"}\r\n\n   \n{\"id\":2,\"text\":\"bb\"}")
	require.Equal(t, "{\"id\":1,\"embedding\":[1,0.1]}\n{\"id\":2,\"embedding\":[2,0.1]}\n", got)
	require.Equal(t, 2, stats.Done)
	got, stats = run(t, "")
	require.Empty(t, got)
	require.Zero(t, stats.Done)
}

func TestLongLineIsAFailureOfItsOwn(t *testing.T) {
	long := `{"id":1,"text":"` + strings.Repeat("a", 5<<20) + `"}`
	got, stats := run(t, long+"\n{\"id\":2,\"text\":\"a\"}\n"+long)
	require.Equal(t, "{\"id\":null,\"error\":\"line 1: longer than 4194304 bytes\"}\n{\"id\":2,\"embedding\":[1,0.1]}\n"+
		"{\"id\":null,\"error\":\"line 3: longer than 4194304 bytes\"}\n", got)
	require.Equal(t, 2, stats.Failed)
}

// endless gives lines until it has given n bytes, without ever holding them.
type endless struct {
	line string
	left int
}

func (e *endless) Read(b []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := copy(b, e.line)
	e.left -= n
	return n, nil
}

func TestMemoryIsBounded(t *testing.T) {
	for _, c := range []struct {
		name, line string
		bytes      int
	}{
		{"good", `{"id":"a","text":"` + strings.Repeat("word ", 200) + `"}` + "\n", 64 << 20},
		{"malformed", "{\n", 1 << 18},
	} {
		t.Run(c.name, func(t *testing.T) {
			var peak uint64
			var stats runtime.MemStats
			n := 0
			look := func(int64) {
				if n++; n%10000 == 0 {
					runtime.GC()
					runtime.ReadMemStats(&stats)
					peak = max(peak, stats.HeapAlloc)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&stats)
			before := stats.HeapAlloc
			items := bulk.NewReader(&endless{c.line, c.bytes}, nil).All()
			got, err := bulk.Run(context.Background(), fake{32}, items, bulk.NewJSONL(io.Discard), look)
			require.NoError(t, err)
			require.Greater(t, got.Done, 50000)
			require.NotZero(t, peak)
			require.Less(t, peak, before+(4<<20), "live bytes while %d went through", c.bytes)
		})
	}
}

func TestReadErrorEndsTheRun(t *testing.T) {
	broken := errors.New("the disk is on fire")
	r := io.MultiReader(strings.NewReader("{\"id\":1,\"text\":\"a\"}\n"), &failing{broken})
	var out bytes.Buffer
	stats, err := bulk.Run(context.Background(), fake{1}, bulk.NewReader(r, nil).All(), bulk.NewJSONL(&out), nil)
	require.ErrorIs(t, err, broken)
	require.Equal(t, 1, stats.Done)
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error)  { return 0, f.err }
func (f *failing) Write([]byte) (int, error) { return 0, f.err }

func TestSinkErrorEndsTheRun(t *testing.T) {
	full := errors.New("no space left")
	items := bulk.NewReader(strings.NewReader("{\"id\":1,\"text\":\"a\"}\n{\"id\":2,\"text\":\"a\"}\n"), nil).All()
	_, err := bulk.Run(context.Background(), fake{1}, items, bulk.NewJSONL(&failing{full}), nil)
	require.ErrorIs(t, err, full)
}

func TestCancelledRunSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	items := bulk.NewReader(&endless{"{\"id\":1,\"text\":\"a\"}\n", 1 << 30}, nil).All()
	stats, err := bulk.Run(ctx, fake{1}, items, bulk.NewJSONL(io.Discard), func(int64) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, stats.Done)
}

func TestProgressReachesTheEnd(t *testing.T) {
	input := "{\"id\":1,\"text\":\"a\"}\n\n{bad\n{\"id\":2,\"text\":\"a\"}\n"
	var counts []int64
	_, err := bulk.Run(context.Background(), fake{2}, bulk.NewReader(strings.NewReader(input), nil).All(),
		bulk.NewJSONL(io.Discard), func(done int64) { counts = append(counts, done) })
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 3}, counts)
	for text, want := range map[string]int64{"": 0, "a": 1, "a\n": 1, "a\n\nb": 3, "\n": 1, strings.Repeat("ab\n", 1<<17): 1 << 17} {
		lines, err := bulk.CountLines(strings.NewReader(text))
		require.NoError(t, err)
		require.Equal(t, want, lines)
	}
}

func TestJSONIsOneArray(t *testing.T) {
	for input, want := range map[string]string{
		"": `[]`,
		"{\"id\":1,\"text\":\"a\"}\n{\"id\":2}\n": `[{"id":1,"embedding":[1,0.1]},` +
			`{"id":2,"error":"line 2: nothing to embed: give \"text\", \"image\" or both"}]`,
	} {
		var out bytes.Buffer
		sink := bulk.NewJSON(&out)
		_, err := bulk.Run(context.Background(), fake{2}, bulk.NewReader(strings.NewReader(input), nil).All(), sink, nil)
		require.NoError(t, err)
		require.NoError(t, sink.Close())
		require.JSONEq(t, want, out.String())
	}
}

func TestCreateRefusesUnknownFormats(t *testing.T) {
	dir := t.TempDir()
	_, err := bulk.Create(bulk.OutputOptions{Path: filepath.Join(dir, "out"), Format: "xml"})
	require.ErrorContains(t, err, `"xml"`)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "a temporary file was left")
}

func TestNPYToAWriter(t *testing.T) {
	var out bytes.Buffer
	var failed []string
	o, err := bulk.Create(bulk.OutputOptions{Stdout: &out, Format: "npy", Dim: 2,
		Failed: func(r bulk.Record) { failed = append(failed, fmt.Sprint(r.Where, ": ", r.Err)) }})
	require.NoError(t, err)
	input := "{\"id\":1,\"text\":\"abc\"}\n{\"id\":2,\"text\":\"fail\"}\n"
	_, err = bulk.Run(context.Background(), fake{2}, bulk.NewReader(strings.NewReader(input), nil).All(), o, nil)
	require.NoError(t, err)
	require.Empty(t, out.Bytes(), "written before it was whole")
	require.NoError(t, o.Commit())
	require.Equal(t, []string{"line 2: text: was told to"}, failed)
	b := out.Bytes()
	require.Len(t, b, 128+2*2*4)
	require.Equal(t, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }",
		strings.TrimRight(string(b[:127]), " "))
	require.Equal(t, byte('\n'), b[127])
	require.Equal(t, []byte{0, 0, 0x40, 0x40, 0xcd, 0xcc, 0xcc, 0x3d}, b[128:136], "3 and 0.1")
	require.NoError(t, o.Discard())
}
