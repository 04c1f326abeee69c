// Many tensors a launch: their pointers travel as kernel arguments, and a block finds its tensor by
// where its number falls.
#pragma once

#include "cuda/core/rows.cuh"

namespace pyfast::cuda {

template <int kTensors, int kBlockElements>
struct TensorList {
  std::int64_t size[kTensors];
  unsigned first_block[kTensors + 1] = {};
  int count = 0;

  bool full() const { return count == kTensors; }
  unsigned blocks() const { return first_block[count]; }
  int append(std::int64_t n) {
    size[count] = n;
    first_block[count + 1] = first_block[count] + blocks_for(n, kBlockElements);
    return count++;
  }
  __device__ __forceinline__ int tensor() const {
    int t = 0;
    while (blockIdx.x >= first_block[t + 1]) ++t;
    return t;
  }
  // Which of tensor t's blocks this one is.
  __device__ __forceinline__ std::int64_t block(int t) const { return blockIdx.x - first_block[t]; }
};

}  // namespace pyfast::cuda
