// The product over a band with output channels in the lanes: a register tile of grid points times
// vectors of packed weights.
//
// A step loads a vector or two of weights and broadcasts each point's element from the band, where
// it lies; a tap of the kernel is an offset. Points are broadcast one by one, so that rows of any
// length, 7 and 14 above all, fill the tile, and no load crosses a cache line. Where a row is no
// longer than half a tile, two of them share it. Included by kernel.cpp only.
#pragma once

#include "gemm/kernel_micro.h"
#include "ops/conv/kernel.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T, int rows, int cols, int vectors>
PYFAST_INLINE void lanes_step(typename vec<T>::native (&sums)[rows * cols * vectors], const T* a,
                              std::int64_t pitch, const T* b) {
  typename vec<T>::native right[vectors];
  unroll<vectors>([&](auto j) PYFAST_INLINED { right[j] = vec<T>::load(b + j * vec<T>::size).v; });
  unroll<rows * cols>([&](auto r) PYFAST_INLINED {
    const auto left = vec<T>(a[r / cols * pitch + r % cols]).v;
    unroll<vectors>([&](auto j) PYFAST_INLINED {
      sums[r * vectors + j] = backend::fma(left, right[j], sums[r * vectors + j]);
    });
  });
}

template <class T, int rows, int cols, int vectors>
void lanes_micro(std::int64_t depth, const T* band, const std::int64_t* offsets, std::int64_t pitch,
                 const T* weights, T* tile, bool accumulate) {
  constexpr int w = vec<T>::size, all = rows * cols * vectors;
  typename vec<T>::native sums[all] = {};
  std::int64_t d = 0;
  for (; d + 2 <= depth; d += 2, weights += 2 * vectors * w) {
    lanes_step<T, rows, cols, vectors>(sums, band + offsets[d], pitch, weights);
    lanes_step<T, rows, cols, vectors>(sums, band + offsets[d + 1], pitch, weights + vectors * w);
  }
  if (d < depth) lanes_step<T, rows, cols, vectors>(sums, band + offsets[d], pitch, weights);
  if (accumulate)
    unroll<all>([&](auto i) PYFAST_INLINED { sums[i] += vec<T>::load(tile + i * w).v; });
  unroll<all>([&](auto i) PYFAST_INLINED { vec<T>(sums[i]).store(tile + i * w); });
}

// One row of 1 ... kRows points, then two of 1 ... kRows / 2.
template <class T, class Indices>
struct LanesTable;
template <class T, int... i>
struct LanesTable<T, std::integer_sequence<int, i...>> {
  static constexpr int rows(int k) { return k / kVectors < kRows ? 1 : 2; }
  static constexpr int cols(int k) { return k / kVectors % kRows + 1; }
  static constexpr LanesMicro<T> entries[] = {
      &lanes_micro<T, rows(i), cols(i), i % kVectors + 1>...};
};

template <class T>
constexpr const LanesMicro<T>* lanes_table() {
  return LanesTable<T, std::make_integer_sequence<int, kRows / 2 * 3 * kVectors>>::entries;
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
