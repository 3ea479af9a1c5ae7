package modelfile

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bgevl/bgevl/csrc"
)

// Devices say where a model's weights are to lie and what computes with them. The zero value takes what BGEVL_DEVICE
// names, or else the fastest device that was found to compute right.
type Devices struct {
	Device string // AutoDevice, ProcessorDevice, or names of csrc.Devices with commas between; "": what BGEVL_DEVICE says
	Layers int    // of each tower or decoder; 0: as many as the devices have memory for
}

// Names of devices that C has no device for.
const (
	ProcessorDevice = "cpu"  // the processor, with this project's kernels
	AutoDevice      = "auto" // the one that csrc.DefaultDevice finds
)

// Placement returns what the devices mean to C. Where none is named, the first call of a process in a build with
// graphics processors tries each, which may take seconds.
func (d Devices) Placement() (csrc.Placement, error) {
	p := csrc.Placement{FileMapped: true}
	if d.Layers < 0 {
		return p, fmt.Errorf("options: %d layers on devices: want 0, for as many as fit, or more", d.Layers)
	}
	names := cmp.Or(d.Device, os.Getenv("BGEVL_DEVICE"), AutoDevice)
	if strings.EqualFold(names, AutoDevice) {
		var err error
		if names, err = defaultDevice(); err != nil {
			return p, err
		}
		p.Optional = true
	}
	if strings.EqualFold(names, ProcessorDevice) {
		return csrc.Placement{FileMapped: true}, nil
	}
	p.Devices, p.DeviceLayers = strings.Split(names, ","), csrc.AllThatFit
	if d.Layers > 0 {
		p.DeviceLayers = d.Layers
	}
	return p, nil
}

// defaultDevice returns the name of the device that computes where none is named. Drivers that do not even start are no
// reason to fail: the processor computes then.
func defaultDevice() (string, error) {
	all, err := csrc.Devices()
	if err != nil {
		return ProcessorDevice, nil
	}
	at, err := csrc.DefaultDevice()
	if err != nil {
		return "", err
	}
	if all[at].Kind == csrc.DeviceCPU {
		return ProcessorDevice, nil
	}
	return all[at].Name, nil
}

// Device is a device as a user chooses it.
type Device struct {
	Name, Kind, Backend, Description string
	Free, Total                      int64
	InstructionSets                  []string      // the processor's, the one in use first
	Default                          bool          // computes where none is named
	Probe                            time.Duration // that the work took which devices are tried with; zero where not tried
	Fault                            string        // why it is never the default, in words
}

// ListDevices lists what a Devices can name, the processor first. Where there is a choice, each is tried.
func ListDevices() ([]Device, error) {
	all, err := csrc.Devices()
	if err != nil {
		return nil, err
	}
	best, err := csrc.DefaultDevice()
	if err != nil {
		return nil, err
	}
	sets, err := instructionSets()
	if err != nil {
		return nil, err
	}
	var processor, others []Device
	var onProcessor time.Duration
	for i, d := range all {
		device := Device{Name: d.Name, Kind: d.Kind.String(), Backend: d.Backend, Description: d.Description, Free: d.Free, Total: d.Total,
			Default: i == best}
		switch d.Kind {
		case csrc.DeviceCPU:
			device.Name, device.InstructionSets = ProcessorDevice, sets
			processor = append(processor, device)
		case csrc.DeviceGPU, csrc.DeviceIntegrated:
			p, err := csrc.ProbeDevice(i) // which DefaultDevice has done
			if err != nil {
				return nil, err
			}
			device.Probe, device.Fault, onProcessor = p.Device, p.Why, p.Processor
			others = append(others, device)
		case csrc.DeviceAccelerator: // helps the processor by itself
		}
	}
	for i := range processor {
		processor[i].Probe = onProcessor
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
