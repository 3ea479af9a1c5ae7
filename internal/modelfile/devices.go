package modelfile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/bgevl/bgevl/csrc"
)

// Devices say where a model's weights are to lie and what computes with them. The zero value takes what BGEVL_DEVICE
// names, or else the graphics processors of this build and machine, or else the processor.
type Devices struct {
	Device string // ProcessorDevice, or names of csrc.Devices with commas between; "": chosen here
	Layers int    // of each tower or decoder; 0: as many as the devices have memory for
}

// ProcessorDevice as the name of a device is the processor, with this project's kernels.
const ProcessorDevice = "cpu"

// Make makes a model where the devices say. Where they say nothing and a device that was chosen here cannot take it, the
// processor does.
func (d Devices) Make(make func(csrc.Placement) (*csrc.Model, error)) (*csrc.Model, error) {
	if d.Layers < 0 {
		return nil, fmt.Errorf("options: %d layers on devices: want 0, for as many as fit, or more", d.Layers)
	}
	processor := csrc.Placement{FileMapped: true}
	names, chosen, err := d.names()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return make(processor)
	}
	on := csrc.Placement{FileMapped: true, Devices: names, DeviceLayers: csrc.AllThatFit}
	if d.Layers > 0 {
		on.DeviceLayers = d.Layers
	}
	m, err := make(on)
	if err != nil && chosen && (errors.Is(err, csrc.ErrMemory) || errors.Is(err, csrc.ErrUnsupported) || errors.Is(err, csrc.ErrInternal)) {
		return make(processor)
	}
	return m, err
}

// names returns the devices meant, none for the processor, and whether they were chosen here.
func (d Devices) names() (names []string, chosen bool, err error) {
	asked := d.Device
	if asked == "" {
		asked = os.Getenv("BGEVL_DEVICE")
	}
	if strings.EqualFold(asked, ProcessorDevice) {
		return nil, false, nil
	}
	if asked != "" {
		return strings.Split(asked, ","), false, nil
	}
	all, err := csrc.Devices()
	if err != nil {
		return nil, true, nil // a driver that fails is as good as none, unless it was asked for
	}
	return fastest(all), true, nil
}

// fastest returns the graphics processors with memory of their own, the one with the most of it free first, or else the
// first that shares the machine's; none where there are none or ggml's operations were asked for by BGEVL_CPU.
func fastest(all []csrc.Device) []string {
	if os.Getenv("BGEVL_CPU") != "" {
		return nil // which asks for the processor
	}
	var own []csrc.Device
	for _, d := range all {
		if d.Kind == csrc.DeviceGPU {
			own = append(own, d)
		}
	}
	if len(own) == 0 {
		i := slices.IndexFunc(all, func(d csrc.Device) bool { return d.Kind == csrc.DeviceIntegrated })
		if i < 0 {
			return nil
		}
		return []string{all[i].Name}
	}
	slices.SortStableFunc(own, func(a, b csrc.Device) int { return cmp.Compare(b.Free, a.Free) })
	var names []string
	for _, d := range own {
		names = append(names, d.Name)
	}
	return names
}

// Device is a device as a user chooses it.
type Device struct {
	Name, Kind, Backend, Description string
	Free, Total                      int64
	InstructionSets                  []string // the processor's, the one in use first
}

// ListDevices lists what a Devices can name, the processor first.
func ListDevices() ([]Device, error) {
	all, err := csrc.Devices()
	if err != nil {
		return nil, err
	}
	sets, err := instructionSets()
	if err != nil {
		return nil, err
	}
	var processor, others []Device
	for _, d := range all {
		device := Device{Name: d.Name, Kind: d.Kind.String(), Backend: d.Backend, Description: d.Description, Free: d.Free, Total: d.Total}
		switch d.Kind {
		case csrc.DeviceCPU:
			device.Name, device.InstructionSets = ProcessorDevice, sets
			processor = append(processor, device)
		case csrc.DeviceGPU, csrc.DeviceIntegrated:
			others = append(others, device)
		case csrc.DeviceAccelerator: // helps the processor by itself
		}
	}
	return append(processor, others...), nil
}

// instructionSets returns the processor's, the one that models use by default first.
func instructionSets() ([]string, error) {
	used, err := csrc.Kernels()
	if err != nil {
		return nil, err
	}
	sets := []string{used}
	for _, name := range csrc.AllKernels() {
		if name != used {
			sets = append(sets, name)
		}
	}
	return sets, nil
}
