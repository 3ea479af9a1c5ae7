package modelfile

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/csrc"
)

func TestPlacement(t *testing.T) {
	processor := csrc.Placement{FileMapped: true}
	on := func(layers int, names ...string) csrc.Placement {
		return csrc.Placement{FileMapped: true, Devices: names, DeviceLayers: layers}
	}
	for _, c := range []struct {
		environment string
		d           Devices
		want        csrc.Placement
	}{
		{"", Devices{}, processor},
		{"", Devices{Layers: 3}, processor},
		{"", Devices{Device: "CPU"}, processor},
		{"", Devices{Device: "Vulkan0,Vulkan1"}, on(csrc.AllThatFit, "Vulkan0", "Vulkan1")},
		{"Vulkan1", Devices{Layers: 7}, on(7, "Vulkan1")},
		{"Vulkan1", Devices{Device: "cpu"}, processor},
	} {
		t.Setenv("BGEVL_DEVICE", c.environment)
		got, err := c.d.Placement()
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%+v", c)
	}
	_, err := Devices{Layers: -1}.Placement()
	require.ErrorContains(t, err, "-1 layers")
}
