package pixels

import (
	"fmt"
	"math"

	"github.com/bgevl/bgevl/csrc"
)

// Filter is a resampling filter. The values are Pillow's Image.Resampling, which preprocessor_config.json stores.
type Filter int

// The filters that Resize knows.
const (
	Nearest  Filter = 0
	Lanczos  Filter = 1
	Bilinear Filter = 2
	Bicubic  Filter = 3
	Box      Filter = 4
	Hamming  Filter = 5
)

// String returns Pillow's name of the filter in lower case.
func (f Filter) String() string {
	names := [...]string{"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"}
	if f < 0 || int(f) >= len(names) {
		return fmt.Sprintf("filter %d", int(f))
	}
	return names[f]
}

// valid reports whether the filter is one of this package's.
func (f Filter) valid() bool { return f >= Nearest && f <= Hamming }

// kernel returns the filter's weight function and the distance beyond which it is 0. The filter isn't Nearest.
//
// Products are wrapped in float64() wherever they are added to something: it keeps the compiler from fusing them on
// machines that can, so that the weights are the same everywhere.
func (f Filter) kernel() (weight func(float64) float64, support float64) {
	switch f {
	case Box:
		return boxWeight, 0.5
	case Bilinear:
		return bilinearWeight, 1
	case Hamming:
		return hammingWeight, 1
	case Lanczos:
		return lanczosWeight, 3
	}
	return bicubicWeight, 2
}

func boxWeight(x float64) float64 {
	if x > -0.5 && x <= 0.5 {
		return 1
	}
	return 0
}

func bilinearWeight(x float64) float64 {
	if x = math.Abs(x); x < 1 {
		return 1 - x
	}
	return 0
}

// The window's coefficients are 0.54 and 0.46 in single precision: Pillow has them so, and 16-bit samples show it.
const (
	hammingBase = 0.540000021457672119140625
	hammingWave = 0.46000000834465026855
)

func hammingWeight(x float64) float64 {
	x = math.Abs(x)
	if x == 0 {
		return 1
	}
	if x >= 1 {
		return 0
	}
	x *= math.Pi
	return math.Sin(x) / x * (hammingBase + float64(hammingWave*math.Cos(x)))
}

// bicubicWeight is Keys' cubic with a = -0.5.
func bicubicWeight(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	if x < 1 {
		return float64(float64((float64((a+2)*x)-(a+3))*x)*x) + 1
	}
	if x < 2 {
		return (float64((float64((x-5)*x)+8)*x) - 4) * a
	}
	return 0
}

func lanczosWeight(x float64) float64 {
	if x >= -3 && x < 3 {
		return sinc(x) * sinc(x/3)
	}
	return 0
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// taps are the weights of a run of output positions along one axis.
type taps struct {
	csrc.Taps           // for 8-bit samples
	exact     []float64 // the weights before rounding, for 16-bit samples
}

// newTaps computes the weights of the outputs [lo, hi) where in positions are resampled to out positions.
func newTaps(in, out, lo, hi int, f Filter) *taps {
	weight, support := f.kernel()
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support *= stretch
	width, n := int(math.Ceil(support))*2+1, hi-lo
	t := &taps{csrc.Taps{Width: width, First: make([]int32, n), Size: make([]int32, n), Weight: make([]int32, n*width)},
		make([]float64, n*width)}
	inv := 1 / stretch
	for i := range n {
		center := (float64(lo+i) + 0.5) * scale
		first := max(0, int(center-support+0.5))
		size := min(in, int(center+support+0.5)) - first
		k := t.exact[i*width:][:size]
		sum := 0.0
		for j := range k {
			k[j] = weight((float64(j+first) - center + 0.5) * inv)
			sum += k[j]
		}
		for j := range k {
			if sum != 0 {
				k[j] /= sum
			}
			v := float64(k[j] * (1 << csrc.ResizeBits))
			t.Weight[i*width+j] = int32(v + math.Copysign(0.5, v))
		}
		t.First[i], t.Size[i] = int32(first), int32(size)
	}
	return t
}

// bounds returns the input positions that the outputs read: [lo, hi).
func (t *taps) bounds() (lo, hi int) {
	n := len(t.First) - 1
	return int(t.First[0]), int(t.First[n] + t.Size[n])
}

// shift makes the input positions count from lo.
func (t *taps) shift(lo int) {
	for i := range t.First {
		t.First[i] -= int32(lo)
	}
}
