// The functions of NVIDIA's driver library that ggml's CUDA backend calls, each passed on to libcuda.so.1 when it is
// first called. So the library is linked on machines without a driver, and a program with the CUDA backend also starts
// there: CUDA's runtime, which looks for the driver by itself, then reports no device, and the processors compute.
//
// Built with hidden visibility: the names stay inside the program. A function that ggml comes to call and that is
// missing here fails the link.
#include <cuda.h>
#include <dlfcn.h>

namespace {

void *driver() {
    static void *const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    return library;
}

// Forward looks a function up, once, and calls it.
template <typename F> class Forward {
  public:
    explicit Forward(const char *name)
        : function_(driver() != nullptr ? reinterpret_cast<F *>(dlsym(driver(), name)) : nullptr) {}

    template <typename... Args> CUresult operator()(Args... args) const {
        return function_ != nullptr ? function_(args...) : CUDA_ERROR_STUB_LIBRARY;
    }

  private:
    F *function_;
};

} // namespace

#define BGE_FORWARD(name, ...)                                                                                         \
    static const Forward<decltype(::name)> forward(#name);                                                             \
    return forward(__VA_ARGS__)

CUresult CUDAAPI cuGetErrorString(CUresult error, const char **text) {
    static const Forward<decltype(::cuGetErrorString)> forward("cuGetErrorString");
    const CUresult result = forward(error, text);
    if (result == CUDA_ERROR_STUB_LIBRARY) {
        *text = "NVIDIA's driver (libcuda.so.1) is not installed";
        return CUDA_SUCCESS;
    }
    return result;
}

CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal) {
    BGE_FORWARD(cuDeviceGet, device, ordinal);
}

CUresult CUDAAPI cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    BGE_FORWARD(cuDeviceGetAttribute, value, attribute, device);
}

CUresult CUDAAPI cuMemAddressReserve(CUdeviceptr *ptr, size_t size, size_t alignment, CUdeviceptr at,
                                     unsigned long long flags) {
    BGE_FORWARD(cuMemAddressReserve, ptr, size, alignment, at, flags);
}

CUresult CUDAAPI cuMemAddressFree(CUdeviceptr ptr, size_t size) {
    BGE_FORWARD(cuMemAddressFree, ptr, size);
}

CUresult CUDAAPI cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
                             unsigned long long flags) {
    BGE_FORWARD(cuMemCreate, handle, size, prop, flags);
}

CUresult CUDAAPI cuMemRelease(CUmemGenericAllocationHandle handle) {
    BGE_FORWARD(cuMemRelease, handle);
}

CUresult CUDAAPI cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                          unsigned long long flags) {
    BGE_FORWARD(cuMemMap, ptr, size, offset, handle, flags);
}

CUresult CUDAAPI cuMemUnmap(CUdeviceptr ptr, size_t size) {
    BGE_FORWARD(cuMemUnmap, ptr, size);
}

CUresult CUDAAPI cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc, size_t count) {
    BGE_FORWARD(cuMemSetAccess, ptr, size, desc, count);
}

CUresult CUDAAPI cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
                                               CUmemAllocationGranularity_flags option) {
    BGE_FORWARD(cuMemGetAllocationGranularity, granularity, prop, option);
}
