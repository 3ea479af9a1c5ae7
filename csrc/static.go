//go:build bgevl_static

package csrc

// Under this tag nothing of the C side is compiled here: the C and C++ files of this folder and ggml's package carry the
// opposite constraint. libbgevl.a has both, from CMake, with the backends that it was configured for, and pkg-config
// knows where it is and what else to link: set PKG_CONFIG_PATH to the preset's build folder (tools/static.sh does), or
// install the library.
//
// The go command does not look into what pkg-config answers when it decides whether something must be built again.
// tools/static.sh therefore defines BGEVL_LIBRARY by the library's contents, which makes another package of this one.

// #cgo pkg-config: bgevl
// #ifndef BGEVL_LIBRARY
// #define BGEVL_LIBRARY installed
// #endif
// #define BGE_STRING_OF(x) #x
// #define BGE_STRING(x) BGE_STRING_OF(x)
// __attribute__((used)) static const char bge_library[] = "libbgevl.a " BGE_STRING(BGEVL_LIBRARY);
import "C"
