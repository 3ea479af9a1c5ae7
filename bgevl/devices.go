package bgevl

import (
	"fmt"
	"time"

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

	// Default says that it computes where Options.Device and BGEVL_DEVICE name none: of those that compute what the
	// processor's kernels do it is the fastest.
	Default bool

	// Probe is how long the small piece of work took that devices are tried with, and Fault says in words what went wrong
	// with it. Probe is zero then, and where there is no device beside the processor, since none is tried.
	Probe time.Duration
	Fault string
}

// Devices lists what models can be computed on with this build on this machine, the processor first. Others are there
// in builds that were made for them. The first call, or Open, starts their drivers and tries each, which may take
// seconds; what was found then holds for the process.
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
