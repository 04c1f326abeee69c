// Element types on the GPU: float32 arithmetic on float, half and bfloat16, 16 bytes at a time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "core/tensor.h"

namespace pyfast::cuda {

__host__ __device__ __forceinline__ float to_float(float x) { return x; }
__host__ __device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__host__ __device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
__host__ __device__ __forceinline__ T from_float(float x) {
  if constexpr (sizeof(T) == 4)
    return x;
  else if constexpr (std::is_same_v<T, __half>)
    return __float2half_rn(x);
  else
    return __float2bfloat16_rn(x);
}

// N neighbouring elements, moved by one instruction where that is 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <int N, class T>
__device__ __forceinline__ void load(float (&to)[N], const T* from) {
  const auto pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = to_float(pack.at[i]);
}

template <int N, class T>
__device__ __forceinline__ void store(T* to, const float (&from)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.at[i] = from_float<T>(from[i]);
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// visit_gpu(x.dtype, [&]<class T>() { ... }): T is float, __half or __nv_bfloat16.
template <class F>
void visit_gpu(DType t, F&& body) {
  if (t == DType::f16) return body.template operator()<__half>();
  if (t == DType::bf16) return body.template operator()<__nv_bfloat16>();
  body.template operator()<float>();
}

// Whether rows of n elements, all these arrays dense, may be moved 16 bytes at a time.
template <class... Views>
bool vectorizable(std::int64_t n, const Views&... views) {
  const auto aligned = [n](const TensorView& v) {
    return reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0 && n * item_size(v.dtype) % 16 == 0;
  };
  return (... && (!views.defined || aligned(views)));
}

}  // namespace pyfast::cuda
