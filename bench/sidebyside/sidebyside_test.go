package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/testenv"
)

// The work of the models as others have counted it, all layers in full: 35.1 GFLOP for a picture with CLIP base, 162 with
// large. What a result needs is 7% and 4% less.
func TestWork(t *testing.T) {
	for i, want := range []float64{35.1e9, 162e9} {
		m := clipModels[i]
		patches := 2 * m.patches() * 3 * m.patch * m.patch * m.vision.width
		full := patches + m.vision.layers*m.vision.full(m.patches()+1)
		require.InEpsilon(t, want, full, 0.01, m.name)
		require.InEpsilon(t, []float64{0.93, 0.96}[i], m.work("image")/full, 0.01, m.name)
	}
	require.InEpsilon(t, 2*2*2929*(4096*(4096+1024+1024+4096)+3*4096*14336)+2*4*2929*2929*4096/2., prefillWork(), 1e-9)
}

func TestSpread(t *testing.T) {
	require.Equal(t, spread{3, 2, 4}, spreadOf([]float64{5, 1, 4, 2, 3}))
	require.Equal(t, spread{7, 7, 7}, spreadOf([]float64{7}))
	require.Equal(t, spread{1.5, 1.25, 1.75}, spreadOf([]float64{1, 2}))
}

// reportOf makes a report with one ratio to a peer and one to the limit.
func reportOf(over, limit spread) *report {
	return &report{Format: reportFormat, Commit: "abc", Threads: 2, Processor: processor{Name: "P", Cores: 2}, Groups: []groupReport{{
		Name: "clip-base-image", Rows: []row{
			{Case: "1", What: "batch 1", Subject: "bgevl f16", Ours: true, Limit: "f32", OfLimit: limit, Over: map[string]spread{"ov": over}},
			{Case: "1", What: "batch 1", Subject: "ov", Limit: "f32", OfLimit: limit}}}}}
}

// What is slower by more than the noise of both runs is named, what is within is not, and what is faster is not either.
func TestCompareNamesWhatGotSlower(t *testing.T) {
	steady := func(x float64) spread { return spread{x, x * 0.99, x * 1.01} }
	old := reportOf(steady(1.2), steady(0.8))
	for _, c := range []struct {
		over, limit float64
		slower      []string
	}{
		{1.2, 0.8, nil}, {1.16, 0.77, nil}, {1.5, 0.9, nil},
		{1.1, 0.8, []string{"rate over ov"}},
		{1.2, 0.7, []string{"share of the f32 limit"}},
		{1.0, 0.7, []string{"rate over ov", "share of the f32 limit"}},
	} {
		worse, compared := compare(old, reportOf(steady(c.over), steady(c.limit)), nil)
		require.Equal(t, 2, compared)
		require.Len(t, worse, len(c.slower), "%v", c)
		for i, want := range c.slower {
			require.Contains(t, worse[i].name, "clip-base-image, batch 1, bgevl f16: "+want)
		}
	}
	// A run whose rounds differ by a third cannot tell a tenth.
	worse, _ := compare(old, reportOf(spread{1.1, 0.9, 1.3}, steady(0.8)), nil)
	require.Empty(t, worse)
}

// A report comes back from its file, and takes over what a newer one did not measure.
func TestReportFile(t *testing.T) {
	dir := t.TempDir()
	r := reportOf(spread{1.2, 1.1, 1.3}, spread{0.8, 0.8, 0.8})
	r.Limits = map[string]limitRow{"f32": {"FMA", spread{1e11, 1e11, 1e11}, spread{2e11, 2e11, 2e11}}}
	require.NoError(t, r.write(dir, "x"))
	back, err := readReport(filepath.Join(dir, "x.json"))
	require.NoError(t, err)
	require.Equal(t, r, back)
	text, err := os.ReadFile(filepath.Join(dir, "x.md"))
	require.NoError(t, err)
	require.Contains(t, string(text), "| ov () | 0.000 | 0.00 ms | 0.80 of f32 |  | f16 1.20 |")
	require.FileExists(t, filepath.Join(dir, "x.png"))

	newer := &report{Threads: 2, Processor: r.Processor, Groups: []groupReport{{Name: "decoder"}}}
	newer.keep(back)
	require.Equal(t, []string{"clip-base-image", "decoder"}, []string{newer.Groups[0].Name, newer.Groups[1].Name})
	other := &report{Threads: 1, Processor: r.Processor}
	other.keep(back)
	require.Empty(t, other.Groups)
}

// Peers are picked by the beginning of their names; those that would emulate bf16 only by their whole name.
func TestChoosePeers(t *testing.T) {
	all := []peer{{"torch", "f32"}, {"torch-bf16", "bf16"}, {"ort", "f32"}, {"ov-int8", "int8"}}
	for _, c := range []struct {
		words, how string
		want       []peer
	}{
		{"torch ov", "f32 bf16", []peer{all[0], all[1], all[3]}},
		{"torch ov", "f32", []peer{all[0], all[3]}},
		{"torch-bf16", "f32", []peer{all[1]}},
		{"to", "f32", nil},
		{"", "f32", nil},
	} {
		p := &planner{peers: strings.Fields(c.words), how: map[string]string{}}
		for _, kind := range strings.Fields(c.how) {
			p.how[kind] = "measured"
		}
		require.Equal(t, c.want, p.choose(all), "%+v", c)
	}
}

// A subject that is ready, one that says why not, and one that says nothing.
func TestSubjects(t *testing.T) {
	shell := testenv.Tool(t, "sh")
	script := func(name, text string) subjectSpec { return subjectSpec{name: name, argv: []string{shell, "-c", text}} }
	ready, missing := startAll([]subjectSpec{
		script("good", `echo '{"ready":true,"version":"v1"}'; while read line; do echo '{"items":2,"times":[0.5,0.25],"cpu":1}'; done`),
		script("bad", `echo '{"error":"no such model"}'`),
		script("silent", `exit 3`),
		{name: "absent", argv: []string{filepath.Join(t.TempDir(), "none")}},
	}, t.TempDir())
	require.Len(t, ready, 1)
	require.Equal(t, "v1", ready[0].ready.Version)
	require.Len(t, missing, 3)
	require.Contains(t, missing[0], "bad: no such model")
	require.Contains(t, missing[1], "silent ended early")
	a, err := ready[0].ask(question{Case: "1", Seconds: 0.1})
	require.NoError(t, err)
	require.Equal(t, []float64{0.5, 0.25}, a.Times)
	begin := time.Now()
	ready[0].stop()
	require.Less(t, time.Since(begin), patience)
}

// The program limit answers, for one thread and for two.
func TestLimitProgram(t *testing.T) {
	testenv.Tool(t, "cc")
	program, err := setup{root: testenv.Root(t), dir: t.TempDir()}.limitProgram()
	require.NoError(t, err)
	l, err := startLimits(program, t.TempDir())
	require.NoError(t, err)
	defer l.program.stop()
	require.Equal(t, "f32", l.kind("f32"))
	require.Equal(t, "f32", l.kind("no such kind"))
	for kind := range l.how {
		for _, threads := range []int{1, 2} {
			ops, err := l.measure(kind, threads)
			require.NoError(t, err)
			require.Greater(t, ops, 1e8, kind) // the slowest processor that runs this makes more than one in ten cycles
		}
	}
	_, err = l.measure("none", 1)
	require.ErrorContains(t, err, "no limit none")
}

// What is said of a program's closeness is the worst of its vectors, against a program in float32 where there is one.
func TestCosineIsOfTheFarthestVector(t *testing.T) {
	exact := [][]float32{{1, 0}, {0, 2}}
	require.InDelta(t, 1, lowestCosine(exact, [][]float32{{3, 0}, {0, 1}}), 1e-12)
	require.InDelta(t, 0.8, lowestCosine(exact, [][]float32{{1, 0}, {3, 4}}), 1e-6)
	require.Equal(t, "0.9999954", cosine(0.99999549))
	require.Equal(t, "0.99899", cosine(0.998999))
	require.Empty(t, cosine(0))

	said := func(name string, ours bool, limit string, x float32) *result {
		return &result{s: &subject{spec: subjectSpec{name: name, ours: ours, limit: limit}, ready: answer{Vectors: [][]float32{{x}}}}}
	}
	f16, int8s, floats := said("bgevl f16", true, "bf16", 1), said("ov-int8", false, "int8", 2), said("ov", false, "f32", 3)
	require.Equal(t, floats.s.ready.Vectors, reference([]*result{f16, int8s, floats}))
	require.Equal(t, f16.s.ready.Vectors, reference([]*result{int8s, f16}))
	require.Nil(t, reference([]*result{int8s}))
}

// Numbers that programs share come back as they were written.
func TestNumbersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbers")
	require.NoError(t, writeNumbers(path, []float32{1.5, -2, 3}))
	got, err := readNumbers[float32](path, 2)
	require.NoError(t, err)
	require.Equal(t, []float32{1.5, -2}, got)
	_, err = readNumbers[float32](path, 4)
	require.Error(t, err)
}
