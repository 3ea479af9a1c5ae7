package modelfile

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/bgevl/bgevl/csrc"
)

// Devices say where a model's weights are to lie and what computes with them. The zero value takes what BGEVL_DEVICE
// names, or else the processor: no other device has been shown to work yet, so that none is taken unasked.
type Devices struct {
	Device string // ProcessorDevice, or names of csrc.Devices with commas between; "": what BGEVL_DEVICE says
	Layers int    // of each tower or decoder; 0: as many as the devices have memory for
}

// ProcessorDevice as the name of a device is the processor, with this project's kernels.
const ProcessorDevice = "cpu"

// Placement returns what the devices mean to C.
func (d Devices) Placement() (csrc.Placement, error) {
	p := csrc.Placement{FileMapped: true}
	if d.Layers < 0 {
		return p, fmt.Errorf("options: %d layers on devices: want 0, for as many as fit, or more", d.Layers)
	}
	names := cmp.Or(d.Device, os.Getenv("BGEVL_DEVICE"), ProcessorDevice)
	if strings.EqualFold(names, ProcessorDevice) {
		return p, nil
	}
	p.Devices, p.DeviceLayers = strings.Split(names, ","), csrc.AllThatFit
	if d.Layers > 0 {
		p.DeviceLayers = d.Layers
	}
	return p, nil
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
