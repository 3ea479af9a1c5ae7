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
		{"", Devices{}, automatic(t)},
		{"", Devices{Device: "CPU"}, processor},
		{"", Devices{Device: "cpu", Layers: 3}, processor},
		{"", Devices{Device: "Vulkan0,Vulkan1"}, on(csrc.AllThatFit, "Vulkan0", "Vulkan1")},
		{"Vulkan1", Devices{Layers: 7}, on(7, "Vulkan1")},
		{"Vulkan1", Devices{Device: "cpu"}, processor},
		{"Vulkan1", Devices{Device: "auto"}, automatic(t)},
		{"auto", Devices{}, automatic(t)},
	} {
		t.Setenv("BGEVL_DEVICE", c.environment)
		got, err := c.d.Placement()
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%+v", c)
	}
	_, err := Devices{Layers: -1}.Placement()
	require.ErrorContains(t, err, "-1 layers")
}

// automatic is the placement on the default device of ListDevices, which is exactly one.
func automatic(t *testing.T) csrc.Placement {
	t.Helper()
	list, err := ListDevices()
	require.NoError(t, err)
	var defaults []Device
	for _, d := range list {
		if d.Default {
			defaults = append(defaults, d)
		}
		assert.Equal(t, len(list) > 1 && d.Fault == "", d.Probe > 0, "%+v: tried where there is a choice, and only there", d)
	}
	require.Len(t, defaults, 1)
	for _, d := range list {
		assert.True(t, d.Fault != "" || d.Probe >= defaults[0].Probe, "%s is faster than %s", d.Name, defaults[0].Name)
	}
	assert.Empty(t, defaults[0].Fault)
	if defaults[0].Name == ProcessorDevice {
		return csrc.Placement{FileMapped: true}
	}
	return csrc.Placement{FileMapped: true, Devices: []string{defaults[0].Name}, DeviceLayers: csrc.AllThatFit, Optional: true}
}
