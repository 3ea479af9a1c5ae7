package csrc

// #include "bge.h"
import "C"

import "fmt"

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
