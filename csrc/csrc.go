// Package csrc is the boundary to C: the only package of the project that says import "C".
//
// It runs models. [NewCLIP] makes a [Model] from weights that its caller has validated and keeps in memory outside
// Go's heap (a file mapping); a [Context] made from it runs batches, one C call each.
//
// A Model does not change and is shared by goroutines. A Context serves one call at a time: its users keep a pool of
// them. Both live until Close, which is idempotent; a Context keeps its Model's C side alive, so that the two may be
// closed in any order. A call that is given a context.Context stops within one operation of the graph when that is
// cancelled.
//
// Nothing here logs, and no C pointer leaves the package. C keeps no Go pointer past a call.
//
// ggml, the tensor library beneath, comes as a Go module and is compiled by cgo for the oldest processor of its
// architecture. Under the build tag bgevl_static it and the C side come as a library from CMake instead (static.go).
// What is hot runs in the kernels of this package, chosen at run time (kernels.h); the environment variable BGEVL_CPU
// forces an instruction set. BGEVL_FLASH_ATTENTION=off has devices compute attention without their fused operation.
package csrc

// #cgo CFLAGS: -std=c11 -O3 -Wall -Wextra
// #cgo CXXFLAGS: -std=c++17 -O2 -Wall -Wextra
// #cgo LDFLAGS: -lm
// #cgo linux LDFLAGS: -lpthread
// #include "bge.h"
import "C"

// AllKernels returns the instruction sets that a Placement can choose here, the best first.
func AllKernels() []string {
	var names []string
	for i := C.int32_t(0); ; i++ {
		name := C.bge_cpu_kernels_at(i)
		if name == nil {
			return names
		}
		names = append(names, C.GoString(name))
	}
}

// Kernels returns the instruction set whose kernels a Model uses here by default, with BGEVL_CPU heeded. It fails with
// ErrUnsupported where BGEVL_CPU names one that this processor or build lacks.
func Kernels() (string, error) {
	name := C.bge_cpu_kernels()
	if name == nil {
		return "", &Error{Code: CodeUnsupported, Message: "BGEVL_CPU names kernels that this processor or build cannot run: unset it"}
	}
	return C.GoString(name), nil
}
