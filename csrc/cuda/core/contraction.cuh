// contraction.h's tiles on the GPU: 64 by 64 a block of four warps, operands gathered into shared
// memory by their index maps, the next slab on its way in registers while this one is multiplied.
#pragma once

#include "cuda/core/contraction.h"
#include "cuda/core/rows.cuh"
#include "cuda/core/warp_tile.cuh"

namespace pyfast::cuda {

namespace detail {

inline constexpr int kContractThreads = 128;
inline constexpr int kSlabShare = kTileRows * kTileDepth / kContractThreads;  // of one thread

// Not inlined: an index map divides, and a thread would carry a copy for each of 32 elements.
template <class Map>
__device__ __noinline__ std::int64_t place(const Map& map, std::int64_t batch, std::int64_t row,
                                           std::int64_t k) {
  return map.at(batch, row, k);
}

template <class T, class Map>
__device__ __forceinline__ void fetch(T (&share)[kSlabShare], const T* data, const Map& map,
                                      std::int64_t batch, std::int64_t row, std::int64_t rows,
                                      std::int64_t k, std::int64_t end) {
  asm volatile("" : "+l"(row));  // else 32 rows' places wait in registers for the next slab
#pragma unroll
  for (int i = 0; i < kSlabShare; ++i) {
    const SlabSlot s(static_cast<int>(threadIdx.x) + i * kContractThreads, map.rows_adjacent);
    const bool inside = row + s.row < rows && k + s.k < end;
    const std::int64_t at = inside ? place(map, batch, row + s.row, k + s.k) : kZero;
    share[i] = at == kZero ? from_float<T>(0) : data[at];
  }
}

template <class T>
__device__ __forceinline__ void put_slab(T* slab, const T (&share)[kSlabShare],
                                         bool rows_adjacent) {
#pragma unroll
  for (int i = 0; i < kSlabShare; ++i) {
    const SlabSlot s(static_cast<int>(threadIdx.x) + i * kContractThreads, rows_adjacent);
    slab[s.row * tile_pitch<T>(kTileDepth) + s.k] = share[i];
  }
}

template <class Put>
__device__ __noinline__ void put_sum(const Put& put, const ContractionTile& t, std::int64_t row,
                                     std::int64_t column, float v) {
  put(t, row, column, v);
}

template <class T, class A, class B, class Put>
__global__ void __launch_bounds__(kContractThreads)
    contract_kernel(const Contraction c, const T* __restrict__ a, const __grid_constant__ A a_map,
                    const T* __restrict__ b, const __grid_constant__ B b_map,
                    const __grid_constant__ Put put) {
  constexpr int kPitch = tile_pitch<T>(kTileDepth);
  __shared__ __align__(16) T left[kTileRows * kPitch], right[kTileRows * kPitch];
  const ContractionTile t(c, blockIdx.x);
  const int first = static_cast<int>(threadIdx.x) / 32 * 16;  // the warp's rows
  WarpTile<kTileRows> sum;
  sum.clear();
  T of_a[kSlabShare], of_b[kSlabShare];
  fetch(of_a, a, a_map, t.batch, t.row, c.rows, t.begin, t.end);
  fetch(of_b, b, b_map, t.batch, t.column, c.columns, t.begin, t.end);
  for (std::int64_t k = t.begin; k < t.end; k += kTileDepth) {
    __syncthreads();  // everyone is done with the slab before
    put_slab(left, of_a, a_map.rows_adjacent);
    put_slab(right, of_b, b_map.rows_adjacent);
    __syncthreads();
    fetch(of_a, a, a_map, t.batch, t.row, c.rows, k + kTileDepth, t.end);
    fetch(of_b, b, b_map, t.batch, t.column, c.columns, k + kTileDepth, t.end);
    multiply<kTileDepth>(sum, left + first * kPitch, kPitch, right, kPitch);
  }
  sum.each([&](int i, int j, float v) {
    const std::int64_t row = t.row + first + i, column = t.column + j;
    if (row < c.rows && column < c.columns) put_sum(put, t, row, column, v);
  });
}

// A split's sums, to be added up by add_splits.
struct PutPartial {
  float* parts;  // (batch, splits, rows, columns)
  std::int64_t splits, rows, columns;
  __device__ void operator()(const ContractionTile& t, std::int64_t i, std::int64_t j,
                             float v) const {
    parts[((t.batch * splits + t.split) * rows + i) * columns + j] = v;
  }
};

template <class Finish>
__global__ void __launch_bounds__(256)
    add_splits(Contraction c, const float* __restrict__ parts, Finish finish) {
  const std::int64_t n = c.rows * c.columns;
  const std::int64_t at = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (at >= c.batch * n) return;
  const std::int64_t batch = at / n, element = at % n;
  float sum = 0;
  for (std::int64_t s = 0; s < c.splits; ++s) sum += parts[(batch * c.splits + s) * n + element];
  finish(batch, element / c.columns, element % c.columns, sum);
}

template <class Finish>
struct PutFinished {
  Finish finish;
  __device__ void operator()(const ContractionTile& t, std::int64_t i, std::int64_t j,
                             float v) const {
    finish(t.batch, i, j, v);
  }
};

}  // namespace detail

// finish(batch, row, column, sum) stores. With splits, `parts` has room for batch * splits * rows *
// columns floats.
template <class T, class A, class B, class Finish>
void contract(const Contraction& c, const void* a, const A& a_map, const void* b, const B& b_map,
              const Finish& finish, float* parts, cudaStream_t stream) {
  if (c.batch * c.rows * c.columns == 0) return;
  const auto launch = [&](const auto& put) {
    detail::contract_kernel<<<grid_size(c.tiles()), detail::kContractThreads, 0, stream>>>(
        c, static_cast<const T*>(a), a_map, static_cast<const T*>(b), b_map, put);
  };
  if (c.splits == 1) return launch(detail::PutFinished<Finish>{finish});
  launch(detail::PutPartial{parts, c.splits, c.rows, c.columns});
  detail::add_splits<<<blocks_for(c.batch * c.rows * c.columns, 256), 256, 0, stream>>>(c, parts,
                                                                                        finish);
}

}  // namespace pyfast::cuda
