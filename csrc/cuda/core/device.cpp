#include "cuda/core/device.h"

#include "core/error.h"

namespace pyfast::cuda {

namespace {

std::string version(int number) {  // 13000 is 13.0
  return concat(number / 1000, ".", number % 1000 / 10);
}

std::string driver_too_old() {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) return "no CUDA driver was found; install NVIDIA's driver, or use CPU arrays";
  return concat("the CUDA driver supports CUDA ", version(driver), ", this build needs ",
                version(CUDART_VERSION), "; update NVIDIA's driver");
}

}  // namespace

std::string describe(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver: return driver_too_old();
    case cudaErrorNoDevice:
      return "no CUDA device was found; check nvidia-smi and CUDA_VISIBLE_DEVICES";
    case cudaErrorInvalidDevice: return "the array's device does not exist in this process";
    case cudaErrorNoKernelImageForDevice:
      return "this build has no code for this GPU, only for sm " PYFAST_CUDA_ARCHITECTURES
             "; rebuild with PYFAST_CUDA_ARCHITECTURES naming it";
    case cudaErrorInvalidConfiguration:
      return "the arrays need more blocks of threads than one launch takes; split the batch";
    case cudaErrorMemoryAllocation:
      return "the GPU's memory ended; use smaller batches or free arrays";
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
      return concat(cudaGetErrorString(status), " (", cudaGetErrorName(status),
                    "): CUDA takes no more calls from this process; restart it with "
                    "CUDA_LAUNCH_BLOCKING=1 to see which call it was");
    default:
      return concat(cudaGetErrorString(status), " (", cudaGetErrorName(status),
                    "); rerun with CUDA_LAUNCH_BLOCKING=1 to see which call it was");
  }
}

std::string why_not() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (status != cudaSuccess) return describe(status);
  return count == 0 ? describe(cudaErrorNoDevice) : "";
}

}  // namespace pyfast::cuda
