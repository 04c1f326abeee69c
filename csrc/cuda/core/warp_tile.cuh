// A warp's product of two tiles in shared memory: 16 rows by kColumns, float32 sums in registers.
// Half types go through mma.sync (sm_80 on), float32 through FMA, in one and the same layout: lane
// 4 r + c holds columns 2 c and 2 c + 1 of every eight, in rows r and r + 8.
#pragma once

#include "cuda/core/numeric.cuh"

namespace pyfast::cuda {

// Elements from one row of a tile to the next: 16 bytes more than the row, so that the lanes of a
// warp read from different banks.
template <class T>
constexpr int tile_pitch(int depth) {
  return depth + 16 / static_cast<int>(sizeof(T));
}

template <int kColumns>
struct WarpTile {
  static constexpr int kEights = kColumns / 8;
  float at[kEights][4];

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static __device__ __forceinline__ int row(int e) { return lane() / 4 + e / 2 * 8; }
  static __device__ __forceinline__ int column(int eight, int e) {
    return eight * 8 + lane() % 4 * 2 + e % 2;
  }
  __device__ __forceinline__ void clear() {
    each([](int, int, float& v) { v = 0; });
  }
  // f(row, column, element)
  template <class F>
  __device__ __forceinline__ void each(F f) {
#pragma unroll
    for (int n = 0; n < kEights; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) f(row(e), column(n, e), at[n][e]);
  }
  // f(which of the lane's two rows, element)
  template <class F>
  __device__ __forceinline__ void each_by_row(F f) {
#pragma unroll
    for (int n = 0; n < kEights; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) f(e / 2, at[n][e]);
  }
};

namespace detail {

__device__ __forceinline__ void mma(float (&c)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2], __half) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma(float (&c)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2], __nv_bfloat16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <class T>
__device__ __forceinline__ std::uint32_t pair(const T* p) {
  return *reinterpret_cast<const std::uint32_t*>(p);
}

}  // namespace detail

// c += a b^T for a (16, depth) and b (kColumns, depth), rows `pitch` elements apart.
template <int kDepth, class T, int kColumns>
__device__ __forceinline__ void multiply(WarpTile<kColumns>& c, const T* a, int a_pitch, const T* b,
                                         int b_pitch) {
  const int r = c.lane() / 4, q = c.lane() % 4;
  if constexpr (sizeof(T) == 2) {
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
      const T* p = a + r * a_pitch + k + 2 * q;
      const std::uint32_t left[4] = {detail::pair(p), detail::pair(p + 8 * a_pitch),
                                     detail::pair(p + 8), detail::pair(p + 8 * a_pitch + 8)};
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
        const T* s = b + (8 * n + r) * b_pitch + k + 2 * q;
        const std::uint32_t right[2] = {detail::pair(s), detail::pair(s + 8)};
        detail::mma(c.at[n], left, right, T());
      }
    }
  } else {
#pragma unroll 1
    for (int k = 0; k < kDepth; k += 4) {
      const auto up = *reinterpret_cast<const Pack<T, 4>*>(a + r * a_pitch + k);
      const auto low = *reinterpret_cast<const Pack<T, 4>*>(a + (r + 8) * a_pitch + k);
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const auto s =
              *reinterpret_cast<const Pack<T, 4>*>(b + (8 * n + 2 * q + e) * b_pitch + k);
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            c.at[n][e] = fmaf(up.at[i], s.at[i], c.at[n][e]);
            c.at[n][e + 2] = fmaf(low.at[i], s.at[i], c.at[n][e + 2]);
          }
        }
    }
  }
}

}  // namespace pyfast::cuda
