package modelfile

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/csrc"
)

func TestFastest(t *testing.T) {
	t.Setenv("BGEVL_CPU", "")
	processor := csrc.Device{Name: "CPU", Kind: csrc.DeviceCPU}
	small := csrc.Device{Name: "Vulkan0", Kind: csrc.DeviceGPU, Free: 4 << 30}
	large := csrc.Device{Name: "Vulkan1", Kind: csrc.DeviceGPU, Free: 24 << 30}
	integrated := csrc.Device{Name: "Vulkan2", Kind: csrc.DeviceIntegrated}
	helper := csrc.Device{Name: "BLAS", Kind: csrc.DeviceAccelerator}
	assert.Empty(t, fastest([]csrc.Device{processor, helper}))
	assert.Equal(t, []string{"Vulkan2"}, fastest([]csrc.Device{integrated, processor}))
	assert.Equal(t, []string{"Vulkan1", "Vulkan0"}, fastest([]csrc.Device{small, large, integrated, processor}))
	t.Setenv("BGEVL_CPU", "avx2")
	assert.Empty(t, fastest([]csrc.Device{large}), "instructions of the processor were asked for")
}

func TestMake(t *testing.T) {
	t.Setenv("BGEVL_DEVICE", "")
	var asked []csrc.Placement
	full := &csrc.Error{Code: csrc.CodeMemory, Message: "full"}
	makes := func(d Devices) error {
		asked = nil
		_, err := d.Make(func(p csrc.Placement) (*csrc.Model, error) {
			asked = append(asked, p)
			if len(p.Devices) > 0 {
				return nil, full
			}
			return nil, nil
		})
		return err
	}
	processor := csrc.Placement{FileMapped: true}
	for _, name := range []string{"cpu", "CPU"} {
		require.NoError(t, makes(Devices{Device: name, Layers: 3}))
		assert.Equal(t, []csrc.Placement{processor}, asked)
	}
	// What was asked for is not replaced by something else.
	require.ErrorIs(t, makes(Devices{Device: "Vulkan0,Vulkan1"}), csrc.ErrMemory)
	assert.Equal(t, []csrc.Placement{{FileMapped: true, Devices: []string{"Vulkan0", "Vulkan1"}, DeviceLayers: csrc.AllThatFit}}, asked)
	t.Setenv("BGEVL_DEVICE", "Vulkan1")
	require.ErrorIs(t, makes(Devices{Layers: 7}), csrc.ErrMemory)
	assert.Equal(t, []csrc.Placement{{FileMapped: true, Devices: []string{"Vulkan1"}, DeviceLayers: 7}}, asked)
	require.NoError(t, makes(Devices{Device: "cpu"}), "an option is before the environment")

	err := makes(Devices{Layers: -1})
	require.ErrorContains(t, err, "-1 layers")
	assert.False(t, errors.Is(err, csrc.ErrMemory))
}
