// A warp's product of rows in shared memory, several tiles of 16 of them side by side: matrix
// fragments of half types are loaded by fours (ldmatrix).
#pragma once

#include "cuda/core/machine.cuh"

namespace pyfast::cuda {

// c += a b^T: a (16 kTiles, kDepth) and b (kColumns, kDepth), rows tile_pitch apart.
template <int kDepth, class T, int kTiles, int kColumns>
__device__ __forceinline__ void multiply_rows(WarpTile<kColumns> (&c)[kTiles], const T* a,
                                              const T* b) {
  constexpr int kPitch = tile_pitch<T>(kDepth);
  if constexpr (sizeof(T) == 2) {
    const int lane = WarpTile<kColumns>::lane();
    a += lane % 16 * kPitch + lane / 16 * 8;  // matrices: rows, the next eight, then eight deeper
    b += (lane / 16 * 8 + lane % 8) * kPitch + lane / 8 % 2 * 8;  // eight deeper, then the next
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
      std::uint32_t left[kTiles][4];
#pragma unroll
      for (int t = 0; t < kTiles; ++t) load_matrices(left[t], a + 16 * t * kPitch + k);
#pragma unroll
      for (int n = 0; n < kColumns; n += 16) {
        std::uint32_t right[4];
        load_matrices(right, b + n * kPitch + k);
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          multiply_add<T>(c[t].at[n / 8], left[t], {right[0], right[1]});
          multiply_add<T>(c[t].at[n / 8 + 1], left[t], {right[2], right[3]});
        }
      }
    }
  } else {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) multiply<kDepth>(c[t], a + 16 * t * kPitch, kPitch, b, kPitch);
  }
}

}  // namespace pyfast::cuda
