// Package bench times whole models at their real size. Its benchmarks make a checkpoint of BGE-VL-base's geometry with
// random weights once, in build/bench, since speed does not depend on what the weights are:
//
//	go test -run '^$' -bench . ./bench
//
// BGEVL_BENCH_MODEL names a CLIP GGUF file to time instead. Folder sidebyside measures this project beside its peers.
package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/clip"
	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/testenv"
)

// model returns the path of a GGUF file of BGE-VL-base's geometry, made at the first call and kept.
func model(b *testing.B, typ string) string {
	b.Helper()
	if path := os.Getenv("BGEVL_BENCH_MODEL"); path != "" {
		return path
	}
	dir := filepath.Join(testenv.Root(b), "build", "bench")
	path := filepath.Join(dir, "clip-base-"+typ+".gguf")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	require.NoError(b, os.MkdirAll(dir, 0o750))
	checkpoint := filepath.Join(dir, "clip-base")
	if _, err := os.Stat(filepath.Join(checkpoint, "config.json")); err != nil {
		require.NoError(b, randmodel.CLIP(checkpoint, randmodel.Base()))
	}
	_, err := convert.Run(context.Background(), checkpoint, path, &convert.Options{Types: []string{typ}})
	require.NoError(b, err)
	return path
}

// perSecond runs encode and reports the items it embedded in a second.
func perSecond(b *testing.B, items int, encode func() error) {
	b.Helper()
	require.NoError(b, encode()) // repacks weights outside the timed part
	for b.Loop() {
		require.NoError(b, encode())
	}
	b.ReportMetric(float64(items)*float64(b.N)/b.Elapsed().Seconds(), "items/s")
}

var (
	types   = []string{"f16", "q8_0", "q4_k_m"}
	batches = []int{1, 8}
)

// each runs a benchmark for every type of weights and batch size.
func each(b *testing.B, run func(b *testing.B, m *clip.Model, batch int)) {
	for _, typ := range types {
		m, err := clip.Open(model(b, typ), nil)
		require.NoError(b, err)
		for _, batch := range batches {
			b.Run(fmt.Sprintf("%s/batch=%d", typ, batch), func(b *testing.B) { run(b, m, batch) })
		}
		require.NoError(b, m.Close())
	}
}

func BenchmarkImage(b *testing.B) {
	each(b, func(b *testing.B, m *clip.Model, batch int) {
		pixels := make([]float32, batch*m.PixelCount())
		for i := range pixels {
			pixels[i] = float32(i%251)/125 - 1
		}
		dst := make([]float32, batch*m.Dim())
		perSecond(b, batch, func() error { return m.EncodeImage(b.Context(), pixels, dst) })
	})
}

// BenchmarkText embeds rows of 16 tokens, as the peers' benchmark does.
func BenchmarkText(b *testing.B) {
	each(b, func(b *testing.B, m *clip.Model, batch int) {
		const tokens = 16
		rows := make([][]int32, batch)
		for i := range rows {
			ids, _, err := m.Tokenize("", false)
			require.NoError(b, err)
			start, end := ids[0], ids[len(ids)-1]
			rows[i] = append(rows[i], start)
			for t := range tokens - 2 {
				rows[i] = append(rows[i], int32(100+7*i+t))
			}
			rows[i] = append(rows[i], end)
		}
		dst := make([]float32, batch*m.Dim())
		perSecond(b, batch, func() error { return m.EncodeTokens(b.Context(), rows, dst) })
	})
}
