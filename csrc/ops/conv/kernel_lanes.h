// The product over a band with output channels in the lanes: a register tile of grid points times
// vectors of packed weights.
//
// A step loads a vector or two of weights and broadcasts each point's element from the band, where
// it lies; a tap of the kernel is an offset. Points are broadcast one by one, so that rows of any
// length, 7 and 14 above all, fill the tile, and no load crosses a cache line. Where a row is no
// longer than half a tile, two of them share it. Where a tile has so few points that each has a
// pointer in a register, they may be any: those of 56 fill nine tiles of six and two a tenth that
// waits for its own sums. Included by kernel.cpp only.
#pragma once

#include "gemm/kernel_micro.h"
#include "gemm/kernel_store.h"
#include "ops/conv/kernel.h"
#include "ops/conv/kernel_rows.h"
#include "simd/quads.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr bool kAnywhere = kRows <= 6;

// Of a weight's gradient, rows of which begin anywhere: as few pointers as stay in registers, and
// as many vectors as the sums leave room for.
constexpr int kWeightRows = kAnywhere ? kRows : 6, kWeightVectors = kAnywhere ? kVectors : 4;
static_assert(kWeightVectors * vec<float>::size <= kMaxRows);

// One step of `points` points, point(r) being r's element.
template <class T, int points, int vectors, class Point>
PYFAST_INLINE void lanes_step(typename vec<T>::native (&sums)[points * vectors], const T* weights,
                              Point point) {
  typename vec<T>::native right[vectors];
  unroll<vectors>([&](auto j)
                      PYFAST_INLINED { right[j] = vec<T>::load(weights + j * vec<T>::size).v; });
  unroll<points>([&](auto r) PYFAST_INLINED {
    const auto left = vec<T>(point(r)).v;
    unroll<vectors>([&](auto j) PYFAST_INLINED {
      sums[r * vectors + j] = backend::fma(left, right[j], sums[r * vectors + j]);
    });
  });
}

// step(sums, offset, weights) for every depth; sums of `run` of them are added up, and theirs to
// what is there.
template <class T, int points, int vectors, class Step>
PYFAST_INLINE void lanes_sums(std::int64_t depth, std::int64_t run, const std::int64_t* offsets,
                              const T* weights, T* tile, bool accumulate, Step step) {
  constexpr int w = vec<T>::size, all = points * vectors, line = 64 / static_cast<int>(sizeof(T));
  if (accumulate)
    for (int i = 0; i < all * w; i += line) __builtin_prefetch(tile + i);
  alignas(64) T part[all * w];
  for (bool first = true; depth > 0; depth -= run, first = false) {
    typename vec<T>::native sums[all] = {};
    const std::int64_t* const end = offsets + (depth < run ? depth : run);
    for (; offsets + 2 <= end; offsets += 2, weights += 2 * vectors * w) {
      step(sums, offsets[0], weights);
      step(sums, offsets[1], weights + vectors * w);
    }
    if (offsets < end) {
      step(sums, *offsets++, weights);
      weights += vectors * w;
    }
    const auto add = [&](const T* to) PYFAST_INLINED {
      unroll<all>([&](auto i) PYFAST_INLINED { sums[i] += vec<T>::load(to + i * w).v; });
    };
    if (!first) add(part);
    if (depth <= run && accumulate) add(tile);
    T* const to = depth <= run ? tile : part;
    unroll<all>([&](auto i) PYFAST_INLINED { vec<T>(sums[i]).store(to + i * w); });
  }
}

template <class T, int stride, int rows, int cols, int vectors>
void lanes_micro(std::int64_t depth, const LanesSource<T>& source, const T* weights, T* tile,
                 bool accumulate) {
  constexpr int points = rows * cols;
  const LanesSource<T> s = source;
  lanes_sums<T, points, vectors>(depth, s.run, s.offsets, weights, tile, accumulate,
                                 [&](auto& sums, std::int64_t offset, const T* b) PYFAST_INLINED {
                                   const T* a = s.data + offset;
                                   __builtin_prefetch(a + s.ahead);
                                   lanes_step<T, points, vectors>(
                                       sums, b, [&](auto r) PYFAST_INLINED {
                                         return a[r / cols * s.row_step + r % cols * stride];
                                       });
                                 });
}

template <class T, int points, int vectors>
void lanes_micro_anywhere(std::int64_t depth, const LanesSource<T>& source, const T* weights,
                          T* tile, bool accumulate) {
  const T* point[points];
  unroll<points>([&](auto r) PYFAST_INLINED { point[r] = source.data + source.points[r]; });
  const T* const ahead = point[0] + source.ahead;
  lanes_sums<T, points, vectors>(depth, source.run, source.offsets, weights, tile, accumulate,
                                 [&](auto& sums, std::int64_t offset, const T* b) PYFAST_INLINED {
                                   __builtin_prefetch(ahead + offset);
                                   lanes_step<T, points, vectors>(
                                       sums, b,
                                       [&](auto r) PYFAST_INLINED { return point[r][offset]; });
                                 });
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

template <class T, int vectors, class Indices>
struct AnywhereTable;
template <class T, int vectors, int... i>
struct AnywhereTable<T, vectors, std::integer_sequence<int, i...>> {
  static constexpr LanesMicro<T> entries[] = {
      &lanes_micro_anywhere<T, i / vectors + 1, i % vectors + 1>...};
};

template <class T>
constexpr const LanesMicro<T>* lanes_table() {
  if constexpr (kAnywhere)
    return AnywhereTable<T, kVectors, std::make_integer_sequence<int, kRows * kVectors>>::entries;
  else
    return LanesTable<T,
                      std::make_integer_sequence<int, 2 * (kRows + kRows / 2) * kVectors>>::entries;
}

template <class T>
constexpr const LanesMicro<T>* weight_table() {
  return AnywhereTable<T, kWeightVectors,
                       std::make_integer_sequence<int, kWeightRows * kWeightVectors>>::entries;
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
