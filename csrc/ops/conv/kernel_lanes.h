// The product over a band with output channels in the lanes: a register tile of grid points times
// vectors of packed weights.
//
// A step loads a vector or two of weights and broadcasts each point's element from the band, where
// it lies; a tap of the kernel is an offset. Points are broadcast one by one, so that rows of any
// length, 7 and 14 above all, fill the tile, and no load crosses a cache line. Where a row is no
// longer than half a tile, two of them share it. Included by kernel.cpp only.
#pragma once

#include "gemm/kernel_micro.h"
#include "gemm/kernel_store.h"
#include "ops/conv/kernel.h"
#include "ops/conv/kernel_rows.h"
#include "simd/quads.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T, int stride, int rows, int cols, int vectors>
PYFAST_INLINE void lanes_step(typename vec<T>::native (&sums)[rows * cols * vectors], const T* a,
                              const LanesSource<T>& s, const T* b) {
  __builtin_prefetch(a + s.ahead);
  typename vec<T>::native right[vectors];
  unroll<vectors>([&](auto j) PYFAST_INLINED { right[j] = vec<T>::load(b + j * vec<T>::size).v; });
  unroll<rows * cols>([&](auto r) PYFAST_INLINED {
    const auto left = vec<T>(a[r / cols * s.row_step + r % cols * stride]).v;
    unroll<vectors>([&](auto j) PYFAST_INLINED {
      sums[r * vectors + j] = backend::fma(left, right[j], sums[r * vectors + j]);
    });
  });
}

template <class T, int stride, int rows, int cols, int vectors>
void lanes_micro(std::int64_t depth, const LanesSource<T>& source, const T* weights, T* tile,
                 bool accumulate) {
  const LanesSource<T> s = source;
  constexpr int w = vec<T>::size, all = rows * cols * vectors;
  if (accumulate)
    for (int i = 0; i < all; ++i) __builtin_prefetch(tile + i * w);
  typename vec<T>::native sums[all] = {};
  std::int64_t d = 0;
  for (; d + 2 <= depth; d += 2, weights += 2 * vectors * w) {
    lanes_step<T, stride, rows, cols, vectors>(sums, s.data + s.offsets[d], s, weights);
    lanes_step<T, stride, rows, cols, vectors>(sums, s.data + s.offsets[d + 1], s,
                                               weights + vectors * w);
  }
  if (d < depth)
    lanes_step<T, stride, rows, cols, vectors>(sums, s.data + s.offsets[d], s, weights);
  if (accumulate)
    unroll<all>([&](auto i) PYFAST_INLINED { sums[i] += vec<T>::load(tile + i * w).v; });
  unroll<all>([&](auto i) PYFAST_INLINED { vec<T>(sums[i]).store(tile + i * w); });
}

// Stride 1, then 2: one row of 1 ... kRows points, then two of 1 ... kRows / 2.
template <class T, class Indices>
struct LanesTable;
template <class T, int... i>
struct LanesTable<T, std::integer_sequence<int, i...>> {
  static constexpr int kKinds = kRows + kRows / 2;
  static constexpr int stride(int k) { return k / kVectors / kKinds + 1; }
  static constexpr int rows(int k) { return k / kVectors % kKinds < kRows ? 1 : 2; }
  static constexpr int cols(int k) { return k / kVectors % kKinds % kRows + 1; }
  static constexpr LanesMicro<T> entries[] = {
      &lanes_micro<T, stride(i), rows(i), cols(i), i % kVectors + 1>...};
};

template <class T>
constexpr const LanesMicro<T>* lanes_table() {
  return LanesTable<T,
                    std::make_integer_sequence<int, 2 * (kRows + kRows / 2) * kVectors>>::entries;
}

// Points are turned into the rows of their channels a quad of lanes at a time.
template <class T>
void lanes_store(const gemm::Epilogue<T>& e, const T* tile, int lanes, int points, int rows) {
  constexpr int w = vec<T>::size, q = kQuad<T>;
  with_activation(e.activation, [&](auto f) {
    for (int p = 0; p < points; p += w) {
      const int n = points - p < w ? points - p : w;
      const T* point[w];  // past the last: the last again
      for (int i = 0; i < w; ++i) point[i] = tile + (p + (i < n ? i : n - 1)) * lanes;
      for (int r = 0; r < rows; r += q) {
        vec<T> turned[q];
        load_turned(turned, point, r);
        for (int i = 0; i < q && r + i < rows; ++i)
          store_vector(e, f, turned[i] + vec<T>(e.row_bias ? e.row_bias[r + i] : T{0}), r + i, p,
                       n);
      }
    }
  });
}

// The rows of a band that lie inside the source; what is outside is left as it is.
template <class T>
void fill_inside(const BandFill<T>& p, T* band) {
  constexpr std::int64_t w = vec<T>::size, line = 64 / static_cast<std::int64_t>(sizeof(T));
  const Inside x(p.x.first, p.x.stride, p.x.size, p.x.count);
  const Inside y(p.y.first, p.y.stride, p.y.size, p.y.count);
  const std::int64_t step = p.x.stride * p.column;
  const bool turned = p.channel == 1 && p.column != 1;
  const std::int64_t n = x.end - x.begin;
  for (std::int64_t c = 0; c < (turned ? 1 : p.channels); ++c)
    for (std::int64_t s = 0; s < p.samples; ++s) {
      const T* from = p.source + c * p.channel + s * p.sample +
                      (p.y.first + y.begin * p.y.stride) * p.row +
                      (p.x.first + x.begin * p.x.stride) * p.column;
      T* to = band + c * p.channel_pitch + s * p.sample_pitch + y.begin * p.pitch + x.begin;
      for (std::int64_t i = y.begin; i < y.end; ++i, from += p.y.stride * p.row, to += p.pitch) {
        if (turned) {
          for (std::int64_t j = 0; j < n; j += w)  // pack_turned takes few rows at a time
            pack_turned(to + j, from + j * step, step, static_cast<int>(n - j < w ? n - j : w),
                        static_cast<int>(p.channel_pitch), p.channels);
          continue;
        }
        if (p.column == 1)  // the same row of the next channel
          for (std::int64_t j = 0; j < n * step; j += line)
            __builtin_prefetch(from + p.channel + j);
        copy_row(to, from, n, step);
      }
    }
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
