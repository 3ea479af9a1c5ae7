package csrc

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Results of a device differ from those of the processor's kernels by rounding only: devices may multiply in f16 where
// the reference does in f32, and sum in another order.
const minCosDevice = 0.99999

// devices returns the devices that can hold weights, the processor's own as ggml computes on it among them.
func devices(t *testing.T) []string {
	t.Helper()
	list, err := Devices()
	require.NoError(t, err)
	var names []string
	for _, d := range list {
		require.NotEmpty(t, d.Name)
		require.NotEmpty(t, d.Description)
		require.LessOrEqual(t, d.Free, d.Total)
		if d.Kind != DeviceAccelerator {
			names = append(names, d.Name)
		}
	}
	require.NotEmpty(t, names)
	return names
}

// placements are all kinds of ways to lay a model over devices.
func placements(t *testing.T) map[string]Placement {
	t.Helper()
	all := map[string]Placement{}
	names := devices(t)
	for _, name := range names {
		for _, layers := range []int{AllThatFit, 1, 2, 100, 0} {
			all[fmt.Sprintf("%s, %d layers", name, layers)] = Placement{Devices: []string{name}, DeviceLayers: layers}
		}
	}
	if len(names) > 1 {
		all[fmt.Sprint(names)] = Placement{Devices: names, DeviceLayers: 100}
		slices.Reverse(names)
		all[fmt.Sprint(names)] = Placement{Devices: slices.Clone(names), DeviceLayers: 2}
	}
	return all
}

func requireAlike(t *testing.T, want, got []float32, width int) {
	t.Helper()
	for at := 0; at < len(want); at += width {
		require.GreaterOrEqual(t, cosine(want[at:at+width], got[at:at+width]), minCosDevice, "row %d", at/width)
	}
}

// TestDevicesAgree computes the same on every device, whole and in part, as the processor's kernels do.
func TestDevicesAgree(t *testing.T) {
	clip, decoder := testParams(""), llamaParams("")
	clipTensors, decoderTensors := testTensors(t, clip), llamaTensors(t, decoder)
	texts := testTexts()
	batch, rows := testBatch()
	type results struct{ texts, images, states, scores []float32 }
	compute := func(p Placement) (r results) {
		clip.Placement, decoder.Placement = p, p
		towers, err := NewCLIP(clip, clipTensors)
		require.NoError(t, err)
		defer towers.Close()
		require.Equal(t, clip.Text.Layers+clip.Vision.Layers, towers.Layers())
		c, err := towers.NewContext(ContextOptions{Threads: 2})
		require.NoError(t, err)
		defer c.Close()
		r.texts = make([]float32, len(texts.lengths)*clip.Projection)
		require.NoError(t, c.EncodeText(t.Context(), texts.ids, texts.lengths, texts.pool, r.texts))
		r.images = make([]float32, 3*clip.Projection)
		require.NoError(t, c.EncodeImage(t.Context(), testPixels(3), 3, r.images))

		m, err := NewLlama(decoder, decoderTensors)
		require.NoError(t, err)
		defer m.Close()
		if len(p.Devices) > 0 {
			on := 0
			for i := range p.Devices {
				layers, bytes := m.OnDevice(i)
				require.Equal(t, layers > 0, bytes > 0)
				on += layers
			}
			require.Equal(t, on, m.DeviceLayers())
			if p.DeviceLayers == AllThatFit {
				require.LessOrEqual(t, on, decoder.Layers)
			} else {
				require.Equal(t, min(p.DeviceLayers, decoder.Layers), on)
			}
		}
		d, err := m.NewContext(ContextOptions{Threads: 2})
		require.NoError(t, err)
		defer d.Close()
		r.states = make([]float32, len(rows)*decoderWidth)
		require.NoError(t, d.EncodeTokens(t.Context(), batch, decoderWidth, r.states))
		r.scores = make([]float32, decoderVocab)
		require.NoError(t, d.OpenCache(t.Context(), 50))
		past := 0
		for _, n := range []int{20, 1, 1, 5} {
			b := Batch{IDs: rows[3].IDs[past : past+n], Lengths: []int32{int32(n)}, Wanted: []int32{int32(n - 1)}}
			require.NoError(t, d.Decode(t.Context(), b, decoderWidth, past, r.scores))
			past += n
		}
		return r
	}
	want := compute(Placement{})
	agrees := func(t *testing.T, p Placement) {
		got := compute(p)
		requireAlike(t, want.texts, got.texts, clip.Projection)
		requireAlike(t, want.images, got.images, clip.Projection)
		requireAlike(t, want.states, got.states, decoderWidth)
		requireAlike(t, want.scores, got.scores, decoderVocab)
	}
	for name, p := range placements(t) {
		t.Run(name, func(t *testing.T) {
			agrees(t, p)
		})
	}
	t.Run("without flash attention", func(t *testing.T) {
		t.Setenv("BGEVL_FLASH_ATTENTION", "off")
		agrees(t, Placement{Devices: devices(t)[:1], DeviceLayers: AllThatFit})
	})
	t.Run("flash attention that is neither on nor off", func(t *testing.T) {
		t.Setenv("BGEVL_FLASH_ATTENTION", "perhaps")
		_, err := NewCLIP(testParams(""), clipTensors)
		require.ErrorIs(t, err, ErrUnsupported)
		require.ErrorContains(t, err, "BGEVL_FLASH_ATTENTION=perhaps: want on or off")
	})
}

// TestProbeDevices tries every device; ggml's own processor device, which is always there, must be found to be right.
func TestProbeDevices(t *testing.T) {
	list, err := Devices()
	require.NoError(t, err)
	for i, d := range list {
		p, err := ProbeDevice(i)
		require.NoError(t, err, d.Name)
		t.Logf("%s: %+v", d.Name, p)
		again, err := ProbeDevice(i)
		require.NoError(t, err, d.Name)
		require.Equal(t, p, again, "a device is tried once")
		switch {
		case d.Kind == DeviceAccelerator:
			require.Equal(t, Probe{}, p, d.Name)
		case d.Kind == DeviceCPU || p.Outcome == ProbeRight:
			require.Equal(t, ProbeRight, p.Outcome, "%s: %s", d.Name, p.Why)
			require.Positive(t, p.Device, d.Name)
			require.Positive(t, p.Processor, d.Name)
		default:
			require.NotEmpty(t, p.Why, d.Name)
			require.Zero(t, p.Device, d.Name)
		}
	}
	_, err = ProbeDevice(len(list))
	require.ErrorIs(t, err, ErrArgument)
}

// TestDefaultDevice holds the default to what the probes found: the fastest that is right, or the processor.
func TestDefaultDevice(t *testing.T) {
	list, err := Devices()
	require.NoError(t, err)
	at, err := DefaultDevice()
	require.NoError(t, err)
	best, err := ProbeDevice(at)
	require.NoError(t, err)
	limit := best.Device
	if list[at].Kind == DeviceCPU {
		limit = best.Processor
	}
	for i, d := range list {
		p, err := ProbeDevice(i)
		require.NoError(t, err)
		if d.Kind != DeviceCPU && p.Outcome == ProbeRight {
			require.LessOrEqual(t, limit, p.Device, "%s is faster than %s", d.Name, list[at].Name)
		}
	}
	require.LessOrEqual(t, limit, best.Processor)
}

func TestDevicesThatAreNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		p    Placement
		want string
	}{
		"unknown": {Placement{Devices: []string{"Abacus7"}, DeviceLayers: AllThatFit}, "device Abacus7: this machine and build have "},
		"twice":   {Placement{Devices: []string{"CPU", "CPU"}, DeviceLayers: 1}, "named twice"},
		"empty":   {Placement{Devices: []string{"CPU", ""}, DeviceLayers: 1}, "this machine and build have "},
		"layers":  {Placement{Devices: []string{"CPU"}, DeviceLayers: -2}, "-2 layers on devices"},
		"ggml":    {Placement{Kernels: "ggml", Devices: []string{"CPU"}}, "want one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testParams("")
			p.Placement = c.p
			_, err := NewCLIP(p, testTensors(t, p))
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestGrowOnDevice: batches larger than all before are right, after ones that were cancelled at some moment, too.
func TestGrowOnDevice(t *testing.T) {
	const images = 60
	pixels := testPixels(images)
	want := make([]float32, images*28)
	require.NoError(t, newTestContext(t, "", 2).EncodeImage(t.Context(), pixels, images, want))
	for _, name := range devices(t) {
		c := contextOn(t, name)
		got := make([]float32, len(want))
		for _, n := range []int{1, 2, 8, 9, images} {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			if err := c.EncodeImage(ctx, pixels[:n*3*24*24], n, got[:n*28]); err != nil {
				require.ErrorIs(t, err, ErrCancelled)
				require.ErrorIs(t, err, context.Canceled)
			}
			require.NoError(t, c.EncodeImage(t.Context(), pixels[:n*3*24*24], n, got[:n*28]))
			requireAlike(t, want[:n*28], got[:n*28], 28)
		}
	}
}

// TestWideOnDevice computes what would be a tensor of 139 MB inside the feed-forward block, where Mesa's Vulkan device
// addresses 128 MB.
func TestWideOnDevice(t *testing.T) {
	const images = 250 // of 17 tokens
	p := testParams("")
	p.Vision.FFN = 8192
	want := make([]float32, images*p.Projection)
	pixels := testPixels(images)
	require.NoError(t, contextOf(t, p, 2).EncodeImage(t.Context(), pixels, images, want))
	for _, name := range devices(t) {
		p.Placement = Placement{Devices: []string{name}, DeviceLayers: 100}
		got := make([]float32, len(want))
		require.NoError(t, contextOf(t, p, 2).EncodeImage(t.Context(), pixels, images, got))
		requireAlike(t, want, got, p.Projection)
	}
}

// TestCancelOnDevice: a device stops amid a batch that takes long.
func TestCancelOnDevice(t *testing.T) {
	const (
		long = 500 * time.Millisecond // beside what a device does between two looks at whether to go on
		most = 1 << 14                // images, of 7 KB
	)
	for _, name := range devices(t) {
		t.Run(name, func(t *testing.T) {
			c := contextOn(t, name)
			images := 64
			for ; ; images *= 2 {
				if images > most {
					t.Skipf("%s embeds %d images in less than %s, too little to be stopped within", name, most, long)
				}
				start := time.Now()
				require.NoError(t, c.EncodeImage(t.Context(), testPixels(images), images, make([]float32, images*28)))
				if time.Since(start) > long {
					break
				}
			}
			requireCancellable(t, c, images)
		})
	}
}

// contextOn returns a context of testParams with all layers on a device.
func contextOn(t *testing.T, device string) *Context {
	t.Helper()
	p := testParams("")
	p.Placement = Placement{Devices: []string{device}, DeviceLayers: 100}
	return contextOf(t, p, 2)
}
