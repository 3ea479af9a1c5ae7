package csrc

// #include "bge.h"
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"time"
)

// DeviceKind tells devices apart.
type DeviceKind int32

// The kinds of device.
const (
	DeviceCPU         DeviceKind = C.BGE_DEVICE_CPU
	DeviceGPU         DeviceKind = C.BGE_DEVICE_GPU
	DeviceIntegrated  DeviceKind = C.BGE_DEVICE_INTEGRATED  // a GPU that shares the machine's memory
	DeviceAccelerator DeviceKind = C.BGE_DEVICE_ACCELERATOR // helps the processor; holds no weights of its own
)

// String returns "cpu", "gpu", "integrated gpu" or "accelerator".
func (k DeviceKind) String() string {
	switch k {
	case DeviceCPU:
		return "cpu"
	case DeviceGPU:
		return "gpu"
	case DeviceIntegrated:
		return "integrated gpu"
	case DeviceAccelerator:
		return "accelerator"
	}
	return fmt.Sprintf("kind %d", int32(k))
}

// Device is what this build can compute on and this machine has.
type Device struct {
	Name        string // "Vulkan0": what a Placement names it by
	Description string // what the driver calls it
	Backend     string // "Vulkan"
	Kind        DeviceKind
	Free, Total int64 // bytes of its memory; zero where the backend cannot tell
}

// Devices lists the devices of this build and machine, the processor among them. The first call starts the backends,
// which may take a second.
func Devices() ([]Device, error) {
	var e C.bge_error
	n := int32(C.bge_device_count(&e))
	if n < 0 {
		return nil, errorOf(e.code, &e)
	}
	list := make([]Device, n)
	for i := range list {
		var d C.bge_device
		if err := errorOf(C.bge_device_get(C.int32_t(i), &d, &e), &e); err != nil {
			return nil, err
		}
		list[i] = Device{Name: C.GoString(&d.name[0]), Description: C.GoString(&d.description[0]),
			Backend: C.GoString(&d.backend[0]), Kind: DeviceKind(d.kind), Free: int64(d.free_bytes), Total: int64(d.total_bytes)}
	}
	return list, nil
}

// ProbeOutcome is how a device did when it was tried.
type ProbeOutcome int32

// The outcomes.
const (
	ProbeNone   ProbeOutcome = C.BGE_PROBE_NONE   // not tried: it holds no weights
	ProbeRight  ProbeOutcome = C.BGE_PROBE_RIGHT  // computes what the processor's kernels compute
	ProbeWrong  ProbeOutcome = C.BGE_PROBE_WRONG  // computes something else
	ProbeFailed ProbeOutcome = C.BGE_PROBE_FAILED // could not compute, or not in time
)

// Probe is what was found when a device was tried.
type Probe struct {
	Outcome   ProbeOutcome
	Device    time.Duration // that the work takes there; zero unless ProbeRight
	Processor time.Duration // that the same work takes the processor's kernels
	Why       string        // in words, where it is ProbeWrong or ProbeFailed
}

// ProbeDevice tries the device i of Devices with a piece of work whose result is compared with the processor's kernels'.
// A device is tried once in a process, which may take seconds; later calls return what was found then.
func ProbeDevice(i int) (Probe, error) {
	at, err := int32s("number of a device", i)
	if err != nil {
		return Probe{}, err
	}
	var p C.bge_probe
	var e C.bge_error
	if err := errorOf(C.bge_device_probe(at[0], probeThreads(), &p, &e), &e); err != nil {
		return Probe{}, err
	}
	return Probe{Outcome: ProbeOutcome(p.outcome), Device: seconds(p.seconds), Processor: seconds(p.processor_seconds),
		Why: C.GoString(&p.why[0])}, nil
}

// DefaultDevice returns the index in Devices of the device to compute on where none is named: the fastest that
// ProbeDevice finds to be right, or the processor's, which stands for its kernels. Where there is no other, nothing is
// tried.
func DefaultDevice() (int, error) {
	var i C.int32_t
	var e C.bge_error
	if err := errorOf(C.bge_device_default(probeThreads(), &i, &e), &e); err != nil {
		return 0, err
	}
	return int(i), nil
}

// probeThreads is how many threads the processor is tried with: as many as a Context has by default.
func probeThreads() C.int32_t {
	return C.int32_t(min(runtime.GOMAXPROCS(0), math.MaxInt32)) // C takes no more than it can use
}

func seconds(s C.double) time.Duration {
	return time.Duration(float64(s) * float64(time.Second))
}
