package bgevl

import (
	"fmt"

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
	all, err := modelfile.ListDevices()
	if err != nil {
		return nil, fmt.Errorf("bgevl: devices: %w", err)
	}
	list := make([]Device, len(all))
	for i, d := range all {
		list[i] = Device(d)
	}
	return list, nil
}
