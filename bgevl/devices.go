package bgevl

import (
	"fmt"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/modelfile"
)

// Device is something that a model can be computed on.
type Device struct {
	Name        string // what Options.Device names it by: "cpu", "Vulkan0"
	Kind        string // "cpu", "gpu" or "integrated gpu"
	Backend     string // that drives it: "CPU", "Vulkan", "CUDA", "Metal"
	Description string // what its driver calls it
	Free, Total int64  // bytes of its memory; zero where the backend cannot tell

	// InstructionSets are those of the processor that this build has kernels for and this machine can run, the one in use
	// first. Nil for other devices.
	InstructionSets []string
}

// Devices lists what models can be computed on with this build on this machine, the processor first. Others are there
// in builds that were made for them; starting their drivers may take a second.
func Devices() ([]Device, error) {
	all, err := csrc.Devices()
	if err != nil {
		return nil, fmt.Errorf("bgevl: devices: %w", err)
	}
	sets, err := instructionSets()
	if err != nil {
		return nil, fmt.Errorf("bgevl: devices: %w", err)
	}
	var processor, others []Device
	for _, d := range all {
		device := Device{Name: d.Name, Kind: d.Kind.String(), Backend: d.Backend, Description: d.Description, Free: d.Free, Total: d.Total}
		switch d.Kind {
		case csrc.DeviceCPU:
			device.Name, device.InstructionSets = modelfile.ProcessorDevice, sets
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
