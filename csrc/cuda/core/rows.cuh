// Rows held in registers: which team of threads takes a row, and how it reads and writes it.
#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/core/grid.h"
#include "cuda/core/numeric.cuh"

namespace pyfast::cuda {

// ceil(n / per) as a grid size.
inline unsigned blocks_for(std::int64_t n, std::int64_t per) {
  return grid_size((n + per - 1) / per);
}

// kThreads threads a row (32: a warp, and four of them a block), each holding kPacks vectors of
// kWidth neighbours.
template <int kThreads_, int kWidth_, int kPacks_>
struct RowShape {
  static constexpr int kThreads = kThreads_, kWidth = kWidth_, kPacks = kPacks_;
  static constexpr int kBlock = kThreads < 128 ? 128 : kThreads;
  static constexpr int kRows = kBlock / kThreads;
  static constexpr int kLongest = kThreads * kWidth * kPacks;
  static unsigned grid(std::int64_t rows) { return blocks_for(rows, kRows); }
  static __device__ __forceinline__ std::int64_t row() {
    return std::int64_t{blockIdx.x} * kRows + threadIdx.x / kThreads;
  }
};

template <class Shape>
struct Registers {
  float at[Shape::kPacks][Shape::kWidth];

  static __device__ __forceinline__ int column(int pack) {
    return (pack * Shape::kThreads + static_cast<int>(threadIdx.x) % Shape::kThreads) *
           Shape::kWidth;
  }
  // Elements beyond the row's end get `beyond`.
  template <class T>
  __device__ __forceinline__ void load(const T* row, int n, float beyond) {
#pragma unroll
    for (int p = 0; p < Shape::kPacks; ++p) {
      if (column(p) < n) {
        cuda::load(at[p], row + column(p));
      } else {
#pragma unroll
        for (float& v : at[p]) v = beyond;
      }
    }
  }
  template <class T>
  __device__ __forceinline__ void store(T* row, int n) const {
#pragma unroll
    for (int p = 0; p < Shape::kPacks; ++p)
      if (column(p) < n) cuda::store(row + column(p), at[p]);
  }
  template <class F>
  __device__ __forceinline__ void each(F f) {
#pragma unroll
    for (auto& pack : at)
#pragma unroll
      for (float& v : pack) f(v);
  }
  __device__ __forceinline__ void fill(float value) {
    each([&](float& v) { v = value; });
  }
  // f(column, element), columns beyond the row's end included
  template <class F>
  __device__ __forceinline__ void each_at(F f) {
#pragma unroll
    for (int p = 0; p < Shape::kPacks; ++p)
#pragma unroll
      for (int i = 0; i < Shape::kWidth; ++i) f(column(p) + i, at[p][i]);
  }
  template <class F>
  __device__ __forceinline__ void each(Registers& other, F f) {
#pragma unroll
    for (int p = 0; p < Shape::kPacks; ++p)
#pragma unroll
      for (int i = 0; i < Shape::kWidth; ++i) f(at[p][i], other.at[p][i]);
  }
};

namespace detail {

template <class Shape, class F>
bool try_shape(std::int64_t n, F&& f) {
  if (n > Shape::kLongest) return false;
  f.template operator()<Shape>();
  return true;
}

// 16 floats a thread and row. A block of 1024 threads has 64 registers each, enough for one row;
// kernels that hold more rows take kMost = 512.
template <int kMost, int kWidth, int kFull, class F>
bool visit_width(std::int64_t n, F&& f) {
  constexpr int kLeast = kFull < 4 ? 1 : kFull / 4;
  return try_shape<RowShape<32, kWidth, kLeast>>(n, f) ||
         try_shape<RowShape<32, kWidth, kFull>>(n, f) ||
         try_shape<RowShape<256, kWidth, kLeast>>(n, f) ||
         try_shape<RowShape<256, kWidth, kFull>>(n, f) ||
         try_shape<RowShape<kMost, kWidth, kFull>>(n, f);
}

}  // namespace detail

// Calls f<Shape>() with the smallest shape that holds a row of n; false when none does.
template <class T, int kMost = 1024, class F>
bool visit_rows(std::int64_t n, bool vectors, F&& f) {
  constexpr int kWide = kVector<T>;
  return vectors ? detail::visit_width<kMost, kWide, 16 / kWide>(n, f)
                 : detail::visit_width<kMost, 1, 16>(n, f);
}

}  // namespace pyfast::cuda
