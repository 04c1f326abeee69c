// Which devices run the kernels of wgmma and TMA (*_sm90a.cu); all others take the portable ones.
#pragma once

namespace pyfast::cuda {

// Whether this build has them, the device is of compute capability 9.0, its driver makes tensor
// maps, and nobody has asked for the portable kernels.
bool hopper_kernels_run(int device);

// Tests and benchmarks hold the two against each other; PYFAST_CUDA_PORTABLE=1 asks from the start.
void use_portable_kernels(bool yes);

int processors(int device);  // streaming multiprocessors
bool tensor_maps_exist();    // whether the driver makes them (tensor_map.cpp)

}  // namespace pyfast::cuda
