// Element by element over dense arrays: 16 bytes a thread, and the rest one by one.
#pragma once

#include "cuda/core/numeric.cuh"
#include "cuda/core/rows.cuh"

namespace pyfast::cuda {

// out[i] = f(i, in[0][i], in[1][i], ...) in float32.
template <int kWidth, class T, class F, class... Ins>
__global__ void __launch_bounds__(256)
    map_kernel(T* out, std::int64_t n, F f, const Ins* __restrict__... ins) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * kWidth;
  if (i >= n) return;
  constexpr int kIns = sizeof...(ins);
  float value[kIns == 0 ? 1 : kIns][kWidth], result[kWidth];
  int k = 0;
  (load(value[k++], ins + i), ...);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    if constexpr (kIns == 1) result[j] = f(i + j, value[0][j]);
    if constexpr (kIns == 2) result[j] = f(i + j, value[0][j], value[1][j]);
    if constexpr (kIns == 3) result[j] = f(i + j, value[0][j], value[1][j], value[2][j]);
  }
  store(out + i, result);
}

template <class T, class F, class... Views>
void map(const TensorView& out, F f, cudaStream_t stream, const Views&... ins) {
  const std::int64_t n = out.numel();
  if (n == 0) return;
  if (vectorizable(n, out, ins...)) {
    map_kernel<kVector<T>><<<blocks_for(n, 256 * kVector<T>), 256, 0, stream>>>(
        out.as<T>(), n, f, static_cast<const T*>(ins.data)...);
  } else {
    map_kernel<1><<<blocks_for(n, 256), 256, 0, stream>>>(out.as<T>(), n, f,
                                                          static_cast<const T*>(ins.data)...);
  }
}

}  // namespace pyfast::cuda
