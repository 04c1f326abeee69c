// Depthwise 3 x 3, straight from the image: R rows by V vectors of outputs in registers, under
// which each row of the image is loaded once a tap. The border is rows of zeros, zeros slid into
// the first vector, and lanes of the last that are not loaded. No copy stands between memory and
// arithmetic, so that they overlap: both of 8x144x56x56 with stride 2 in the time that reading and
// writing take (630 us for 1,100 from a band that was filled first). Included by kernel.cpp only.
#pragma once

#include "gemm/kernel_micro.h"
#include "ops/conv/kernel.h"
#include "simd/deinterleave.h"
#include "simd/interleave.h"
#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

#if defined(PYFAST_ISA_AVX512) || defined(PYFAST_ISA_NEON)
constexpr int kPlaneVectors = 2;  // of 32 registers 9 hold the weights
#else
constexpr int kPlaneVectors = 1;
#endif

// One row of the image from some column on. begins: there are columns left of it, zeros, one of
// which is asked for. ends: `inside` columns are left.
template <bool begins, bool ends, class T>
struct PlaneRow {
  const T* x;
  std::int64_t inside;

  PYFAST_INLINE vec<T> at(std::int64_t i) const {  // columns i, i + 1, ...
    constexpr int w = vec<T>::size;
    if constexpr (!ends) return vec<T>::load(x + i);
    const std::int64_t left = inside - i;
    return vec<T>::load(x + i, left > w ? w : left < 0 ? 0 : static_cast<int>(left));
  }
  PYFAST_INLINE vec<T> first() const {
    if constexpr (!begins) return at(0);
    const PlaneRow<false, ends, T> inner{x + 1, inside - 1};
    return slide<vec<T>::size - 1>(vec<T>(), inner.at(0));
  }
};

// taps[kx * V + v]: what tap kx of vector v sees.
template <int S, int V, class Row, class native>
PYFAST_INLINE void plane_taps(const Row& row, native* taps) {
  if constexpr (S == 1) {
    unroll<3 * V>([&](auto i) PYFAST_INLINED {
      constexpr int w = sizeof(native) / sizeof(*row.x);
      taps[i] = (i == 0 ? row.first() : row.at(i / V + i % V * w)).v;
    });
  } else {
    static_assert(V == 1);
    constexpr int w = sizeof(native) / sizeof(*row.x);
    const auto a = row.first(), b = row.at(w);
    taps[0] = even_unordered(a, b).v;
    taps[1] = odd_unordered(a, b).v;
    taps[2] = even_unordered(row.at(2), row.at(w + 2)).v;
  }
}

template <int S, int R, int V, bool begins, bool ends, class T>
PYFAST_INLINE void plane_block(const PlaneRows<T>& p, const T* const* rows, std::int64_t x,
                               const typename vec<T>::native* weights, T bias, T* out,
                               std::int64_t out_row) {
  constexpr int w = vec<T>::size;
  typename vec<T>::native sums[R * V], taps[3 * V];
  unroll<R * V>([&](auto i) PYFAST_INLINED { sums[i] = vec<T>(bias).v; });
  const std::int64_t from = x * S - p.left;
  unroll<(R - 1) * S + 3>([&](auto q) PYFAST_INLINED {
    plane_taps<S, V>(PlaneRow<begins, ends, T>{rows[q] + from, p.width - from}, taps);
    unroll<3 * V>([&](auto i) PYFAST_INLINED {
      constexpr int kx = i / V, v = i % V;
      unroll<R>([&](auto r) PYFAST_INLINED {
        constexpr int ky = q - r * S;
        if constexpr (ky >= 0 && ky < 3)
          sums[r * V + v] = backend::fma(weights[ky * 3 + kx], taps[i], sums[r * V + v]);
      });
    });
  });
  unroll<R * V>([&](auto i) PYFAST_INLINED {
    constexpr int v = i % V;
    vec<T> sum(sums[i]);
    if constexpr (S == 2) sum = in_order(sum);
    T* const to = out + i / V * out_row + x + v * w;
    if constexpr (ends && v + 1 == V)
      store(sum, to, static_cast<int>(p.cols - x - v * w));
    else
      sum.store(to);
  });
}

template <int S, int R, int V, bool begins, class T>
PYFAST_INLINE void plane_last(const PlaneRows<T>& p, const T* const* rows, std::int64_t x,
                              const typename vec<T>::native* w, T bias, T* out,
                              std::int64_t out_row) {
  if constexpr (V > 1)
    if (x + (V - 1) * vec<T>::size < p.cols)
      return plane_block<S, R, V, begins, true>(p, rows, x, w, bias, out, out_row);
  plane_block<S, R, 1, begins, true>(p, rows, x, w, bias, out, out_row);
}

// R rows of outputs from `y` on. What comes next is fetched meanwhile.
template <int S, int R, class T>
PYFAST_INLINE void plane_strip(const PlaneRows<T>& p, std::int64_t y,
                               const typename vec<T>::native* w, T bias, T* out,
                               std::int64_t out_row) {
  constexpr int V = S == 1 ? kPlaneVectors : 1;
  constexpr std::int64_t step = V * vec<T>::size, line = 64 / static_cast<std::int64_t>(sizeof(T));
  const T* rows[(R - 1) * S + 3];
  unroll<(R - 1) * S + 3>([&](auto q) PYFAST_INLINED {
    const std::int64_t at = y * S - p.above + q;
    rows[q] = at < 0 || at >= p.height ? p.zeros : p.image + at * p.row;
  });
  for (int q = 0; q < R * S; ++q)
    for (std::int64_t i = 0; i < p.width; i += line) fetch_ahead(rows[q] + i);
  for (int r = 0; r < R; ++r)
    for (std::int64_t i = 0; i < p.cols; i += line) fetch_ahead(out + r * out_row + i);
  std::int64_t x = 0;
  if (p.left > 0) {
    if (step >= p.cols) return plane_last<S, R, V, true>(p, rows, x, w, bias, out, out_row);
    plane_block<S, R, V, true, false>(p, rows, x, w, bias, out, out_row);
    x = step;
  }
  for (; x + step < p.cols; x += step)
    plane_block<S, R, V, false, false>(p, rows, x, w, bias, out, out_row);
  plane_last<S, R, V, false>(p, rows, x, w, bias, out, out_row);
}

template <int S, int R, class T>
PYFAST_INLINE void plane_rows(const PlaneRows<T>& p, std::int64_t begin, std::int64_t end,
                              const T* weights, T bias, T* out, std::int64_t out_row) {
  typename vec<T>::native w[9];
  unroll<9>([&](auto t) PYFAST_INLINED { w[t] = vec<T>(weights[t]).v; });
  std::int64_t y = begin;
  for (; y + R <= end; y += R, out += R * out_row) plane_strip<S, R>(p, y, w, bias, out, out_row);
  for (; y < end; ++y, out += out_row) plane_strip<S, 1>(p, y, w, bias, out, out_row);
}

template <class T>
void plane_3x3(const PlaneRows<T>& p, std::int64_t begin, std::int64_t end, const T* weights,
               T bias, T* out, std::int64_t out_row) {
  if (p.stride == 1)
    plane_rows<1, 4>(p, begin, end, weights, bias, out, out_row);
  else
    plane_rows<2, 2>(p, begin, end, weights, bias, out, out_row);
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
