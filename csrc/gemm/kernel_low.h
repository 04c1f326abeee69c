// A few rows times a packed panel, in chains of eight steps that are added in pairs.
//
// Rows of A are read where they lie. Registers hold several sums an element, which take turns along
// the depth; 3 x 2 vectors with four of them run as fast as the register tile (AVX-512).
#pragma once

#include "gemm/kernel_micro.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr int low_chains(int sums) {
  int n = 1;
  while (n < 8 && 2 * n * sums <= kRows * kVectors) n *= 2;
  return n;
}

template <class T, int rows, int vectors>
void low(std::int64_t depth, const T* a, std::int64_t a_stride, const T* b, T* out, const T* ahead,
         int shares) {
  constexpr int w = vec<T>::size, cols = vectors * w, count = rows * vectors;
  constexpr int chains = low_chains(count), chain = 8;
  constexpr int line = 64 / sizeof(T), lines = (chains * cols + line - 1) / line;
  const int mine = (lines + shares - 1) / shares;  // lines to ask for in a turn
  for (std::int64_t d = 0; d < depth;) {
    const bool first = d == 0;
    typename vec<T>::native parts[chains][count] = {};  // see micro()
    const auto step = [&](std::int64_t at, auto c) PYFAST_INLINED {
      typename vec<T>::native right[vectors];
      unroll<vectors>([&](auto j)
                          PYFAST_INLINED { right[j] = vec<T>::load(b + at * cols + j * w).v; });
      unroll<rows>([&](auto r) PYFAST_INLINED {
        const auto left = vec<T>(a[r * a_stride + at]).v;
        unroll<vectors>([&](auto j) PYFAST_INLINED {
          parts[c][r * vectors + j] = backend::fma(left, right[j], parts[c][r * vectors + j]);
        });
      });
    };
    const std::int64_t stop = depth - d < chain * chains ? depth : d + chain * chains;
    for (; d + chains <= stop; d += chains) {
      for (int i = 0; i < mine; ++i, ahead += line) __builtin_prefetch(ahead, 0, 2);
      unroll<chains>([&](auto c) PYFAST_INLINED { step(d + c, c); });
    }
    if (stop == depth) {
      unroll<chains>([&](auto c) PYFAST_INLINED {
        if (d + c < depth) step(d + c, c);
      });
      d = depth;
    }
    add_pairs<chains>(parts);
    // The sums wait in memory: in registers they would leave none for B, which GCC then reads once
    // for each row.
    unroll<count>([&](auto i) PYFAST_INLINED {
      const vec<T> part(parts[0][i]);
      (first ? part : part + vec<T>::load(out + i * w)).store(out + i * w);
    });
  }
}

template <class T, class Indices>
struct LowTable;
template <class T, int... i>
struct LowTable<T, std::integer_sequence<int, i...>> {
  static constexpr LowKernel<T> entries[] = {&low<T, i / kVectors + 1, i % kVectors + 1>...};
};

template <class T>
constexpr const LowKernel<T>* low_table() {
  return LowTable<T, std::make_integer_sequence<int, kLowRows * kVectors>>::entries;
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
