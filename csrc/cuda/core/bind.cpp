#include "cuda/core/call.h"
#include "cuda/core/device.h"
#include "cuda/hopper/device.h"

namespace pyfast::cuda {

namespace {

py::dict device_info(int device) {
  cudaDeviceProp p{};
  check("device_info", cudaGetDeviceProperties(&p, device));
  int driver = 0;
  check("device_info", cudaDriverGetVersion(&driver));
  py::dict info;
  info["name"] = p.name;
  info["compute_capability"] = py::make_tuple(p.major, p.minor);
  info["multiprocessors"] = p.multiProcessorCount;
  info["total_memory"] = p.totalGlobalMem;
  info["l2_cache"] = p.l2CacheSize;
  info["shared_memory_per_block"] = p.sharedMemPerBlockOptin;
  info["driver_version"] = driver;
  info["runtime_version"] = CUDART_VERSION;
  info["architectures"] = PYFAST_CUDA_ARCHITECTURES;
  return info;
}

int device_count() {
  int count = 0;
  check("device_count", cudaGetDeviceCount(&count));
  return count;
}

}  // namespace

void register_core(py::module_& m) {
  m.def("why_not", &why_not);
  m.def("device_count", &device_count);
  m.def("device_info", &device_info, py::arg("device") = 0);
  m.def("hopper_kernels_run", &hopper_kernels_run, py::arg("device") = 0);
  m.def("use_portable_kernels", &use_portable_kernels);
  m.attr("architectures") = PYFAST_CUDA_ARCHITECTURES;
}

}  // namespace pyfast::cuda
