#include "cuda/hopper/device.h"

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace pyfast::cuda {

namespace {

#if defined(PYFAST_SM90A)
constexpr bool kBuilt = true;
#else
constexpr bool kBuilt = false;
#endif

std::atomic<bool>& portable_asked() {
  static std::atomic<bool> asked = [] {
    const char* value = std::getenv("PYFAST_CUDA_PORTABLE");
    return value != nullptr && std::string_view(value) == "1";
  }();
  return asked;
}

bool is_hopper(int device) {
  int major = 0, minor = 0;
  const bool known =
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess;
  cudaGetLastError();
  return known && major == 9 && minor == 0;  // sm_90a code runs on nothing else
}

}  // namespace

bool hopper_kernels_run(int device) {
  return kBuilt && !portable_asked() && is_hopper(device) && tensor_maps_exist();
}

int processors(int device) {
  int count = 1;
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

void use_portable_kernels(bool yes) { portable_asked() = yes; }

}  // namespace pyfast::cuda
