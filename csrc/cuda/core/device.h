// Which GPUs there are, or why there is none.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace pyfast::cuda {

// What went wrong and how to mend it: "no CUDA driver was found: install NVIDIA's driver".
std::string describe(cudaError_t status);

// "" where kernels can run; else the reason.
std::string why_not();

}  // namespace pyfast::cuda
