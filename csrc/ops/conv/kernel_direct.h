// Direct convolution of one plane, for groups too small to fill a matrix product's tile: all taps
// of a register block of outputs, straight from the padded band. Included by kernel.cpp only.
#pragma once

#include "gemm/kernel_micro.h"
#include "ops/conv/kernel.h"
#include "ops/conv/kernel_rows.h"
#include "simd/sums.h"
#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
void fill_band(const Patches<T>& p, T* band) {
  constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T)), page = 64 * line;
  for (std::int64_t phase = 0; phase < p.x.taps; ++phase) {
    const std::int64_t x = p.x.offset + phase;
    const Inside inside(x, p.x.stride, p.x.source, p.x.grid);
    const T* first = p.image + (x + inside.begin * p.x.stride) * p.column;
    for (std::int64_t i = 0; i < p.y.grid; ++i, band += p.x.grid) {
      const std::int64_t y = p.y.offset + i;
      if (y < 0 || y >= p.y.source) {
        zero_row(band, p.x.grid);
        continue;
      }
      // The hardware's prefetching ends with a page; this reaches into the next.
      if (phase == 0 && p.column == 1)
        for (std::int64_t j = 0; j < p.row; j += line)
          __builtin_prefetch(first + y * p.row + page + j);
      zero_row(band, inside.begin);
      copy_row(band + inside.begin, first + y * p.row, inside.end - inside.begin,
               p.x.stride * p.column);
      zero_row(band + inside.end, p.x.grid - inside.end);
    }
  }
}

// R rows by V vectors of outputs; `cols` of the last vector count when it is not full.
template <int R, int V, class T>
PYFAST_INLINE void direct_block(const DirectRows<T>& s, const T* band, const T* weights, T bias,
                                bool accumulate, T* out, std::int64_t out_stride, int cols) {
  constexpr int w = vec<T>::size;
  vec<T> sums[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v)
      sums[r][v] = accumulate ? vec<T>::load(out + r * out_stride + v * w, cols) : vec<T>(bias);
  for (int t = 0; t < s.taps; ++t) {
    const vec<T> weight(weights[t]);
    const T* x = band + s.offsets[t];
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v)
        sums[r][v] = fma(weight, vec<T>::load(x + r * s.band_stride + v * w), sums[r][v]);
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sums[r][v].store(out + r * out_stride + v * w, cols);
}

// All columns of R rows: `wide` vectors at a time, the last few together.
template <int R, class T>
PYFAST_INLINE void direct_rows(const DirectRows<T>& s, const T* band, const T* weights, T bias,
                               bool accumulate, T* out, std::int64_t out_stride) {
  constexpr int w = vec<T>::size, wide = 8 / R;
  std::int64_t x = 0;
  for (; x + wide * w <= s.cols; x += wide * w)
    direct_block<R, wide>(s, band + x, weights, bias, accumulate, out + x, out_stride, w);
  if constexpr (wide >= 4)
    for (; x + 2 * w <= s.cols; x += 2 * w)
      direct_block<R, 2>(s, band + x, weights, bias, accumulate, out + x, out_stride, w);
  for (; x < s.cols; x += w) {
    const int cols = s.cols - x < w ? static_cast<int>(s.cols - x) : w;
    direct_block<R, 1>(s, band + x, weights, bias, accumulate, out + x, out_stride, cols);
  }
}

// The share of R rows from y on.
template <int R, class T>
PYFAST_INLINE void fetch_share(const DirectRows<T>& s, std::int64_t y) {
  constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t end = s.ahead.size * (y + R) / s.rows;
  for (std::int64_t i = s.ahead.size * y / s.rows; i < end; i += line)
    __builtin_prefetch(s.ahead.data + i, 0, 2);
}

// A dense K x K kernel, S the stride down: R rows by V vectors of outputs, of which each row of the
// band is loaded once. The last vector has `cols` columns. down: taps are added up from the last.
template <int K, int S, int R, int V, bool down, class T>
PYFAST_INLINE void square_block(const DirectRows<T>& s, const T* band, const vec<T>* weights,
                                T bias, bool accumulate, T* out, std::int64_t out_stride,
                                int cols) {
  constexpr int w = vec<T>::size;
  vec<T> sums[R][V];
  unroll<R * V>([&](auto i) PYFAST_INLINED {
    constexpr int r = i / V, v = i % V;
    const T* at = out + r * out_stride + v * w;
    sums[r][v] = !accumulate  ? vec<T>(bias)
                 : v + 1 == V ? vec<T>::load(at, cols)
                              : vec<T>::load(at);
  });
  const std::int64_t row = s.band_stride / S;
  constexpr int reach = (R - 1) * S + K;
  unroll<reach>([&](auto turn) PYFAST_INLINED {
    constexpr int q = down ? reach - 1 - turn : int{turn};
    unroll<K * V>([&](auto i) PYFAST_INLINED {
      constexpr int kx = down ? K - 1 - i / V : i / V, v = i % V;
      const vec<T> x = vec<T>::load(band + q * row + s.offsets[kx] + v * w);
      unroll<R>([&](auto r) PYFAST_INLINED {
        constexpr int ky = q - r * S;
        if constexpr (ky >= 0 && ky < K) sums[r][v] = fma(weights[ky * K + kx], x, sums[r][v]);
      });
    });
  });
  unroll<R * V>([&](auto i) PYFAST_INLINED {
    constexpr int r = i / V, v = i % V;
    T* at = out + r * out_stride + v * w;
    if constexpr (v + 1 == V)
      sums[r][v].store(at, cols);
    else
      sums[r][v].store(at);
  });
}

template <int K, int S, int R, bool down, class T>
PYFAST_INLINE void square_rows(const DirectRows<T>& s, const T* band, const vec<T>* weights, T bias,
                               bool accumulate, T* out, std::int64_t out_stride) {
  constexpr int w = vec<T>::size;
  std::int64_t x = 0;
  for (; x + 2 * w < s.cols + w; x += 2 * w) {
    const int cols = s.cols - x < 2 * w ? static_cast<int>(s.cols - x - w) : w;
    square_block<K, S, R, 2, down>(s, band + x, weights, bias, accumulate, out + x, out_stride,
                                   cols);
  }
  if (x < s.cols)
    square_block<K, S, R, 1, down>(s, band + x, weights, bias, accumulate, out + x, out_stride,
                                   static_cast<int>(s.cols - x));
}

template <int K, int S, bool down, class T>
void square(const DirectRows<T>& s, const T* weights, T bias, bool accumulate, T* out,
            std::int64_t out_stride) {
  constexpr int rows = 4;
  vec<T> w[K * K];
  for (int t = 0; t < K * K; ++t) w[t] = vec<T>(weights[t]);
  std::int64_t y = 0;
  for (; y + rows <= s.rows; y += rows) {
    fetch_share<rows>(s, y);
    square_rows<K, S, rows, down>(s, s.band + y * s.band_stride, w, bias, accumulate,
                                  out + y * out_stride, out_stride);
  }
  for (; y < s.rows; ++y)
    square_rows<K, S, 1, down>(s, s.band + y * s.band_stride, w, bias, accumulate,
                               out + y * out_stride, out_stride);
}

template <class T>
void direct(const DirectRows<T>& s, const T* weights, T bias, bool accumulate, T* out,
            std::int64_t out_stride) {
  if (s.square == 3 && s.stride == 1)
    return (s.descending ? square<3, 1, true, T>
                         : square<3, 1, false, T>)(s, weights, bias, accumulate, out, out_stride);
  if (s.square == 3 && s.stride == 2)
    return square<3, 2, false>(s, weights, bias, accumulate, out, out_stride);
  std::int64_t y = 0;
  if (s.cols < 8 * vec<T>::size)  // narrow: blocks of rows, so that enough sums are in flight
    for (; y + 4 <= s.rows; y += 4)
      direct_rows<4>(s, s.band + y * s.band_stride, weights, bias, accumulate, out + y * out_stride,
                     out_stride);
  for (; y < s.rows; ++y)
    direct_rows<1>(s, s.band + y * s.band_stride, weights, bias, accumulate, out + y * out_stride,
                   out_stride);
}

// out[t * stride + i] = x[i] where mask[t * n + i] has all bits set, else 0, for t < copies.
template <class T>
void copy_masked(T* out, std::int64_t stride, const T* x, const T* mask, std::int64_t copies,
                 std::int64_t n) {
  constexpr int w = vec<T>::size;
  for (std::int64_t i = 0; i < n; i += w) {
    const int count = n - i < w ? static_cast<int>(n - i) : w;
    const auto from = bits<T>::of(load(x + i, count));
    for (std::int64_t t = 0; t < copies; ++t)
      pyfast::PYFAST_ISA::store(bits<T>::to(from & bits<T>::of(load(mask + t * n + i, count))),
                                out + t * stride + i, count);
  }
}

// N taps from `offsets` on, over the whole plane.
template <int N, class T>
PYFAST_INLINE void direct_taps(const DirectRows<T>& s, const std::int64_t* offsets, const T* grad,
                               std::int64_t grad_stride, double* sums) {
  constexpr int w = vec<T>::size;
  vec<T> parts[N];
  for (std::int64_t y = 0; y < s.rows; ++y) {
    const T* g = grad + y * grad_stride;
    const T* band = s.band + y * s.band_stride;
    std::int64_t x = 0;
    for (; x + w <= s.cols; x += w) {
      const vec<T> gx = vec<T>::load(g + x);
      for (int t = 0; t < N; ++t) parts[t] = fma(gx, vec<T>::load(band + offsets[t] + x), parts[t]);
    }
    const int rest = static_cast<int>(s.cols - x);
    if (rest == 0) continue;
    const vec<T> gx = vec<T>::load(g + x, rest);
    for (int t = 0; t < N; ++t)
      parts[t] = fma(gx, vec<T>::load(band + offsets[t] + x, rest), parts[t]);
  }
  for (int t = 0; t < N; ++t) sums[t] += lane_sum(parts[t]);
}

// A dense K x K kernel, S the stride down: R rows of the gradient at a time, under which each row
// of the band is loaded once. `count` columns.
template <int K, int S, int R, class T>
PYFAST_INLINE void square_taps(const DirectRows<T>& s, const T* band, const T* grad,
                               std::int64_t grad_stride, int count, typename vec<T>::native* sums) {
  const std::int64_t row = s.band_stride / S;
  typename vec<T>::native g[R];
  unroll<R>([&](auto r) PYFAST_INLINED { g[r] = load(grad + r * grad_stride, count).v; });
  unroll<(R - 1) * S + K>([&](auto q) PYFAST_INLINED {
    unroll<K>([&](auto kx) PYFAST_INLINED {
      const auto x = load(band + q * row + s.offsets[kx], count).v;
      unroll<R>([&](auto r) PYFAST_INLINED {
        constexpr int ky = q - r * S;
        if constexpr (ky >= 0 && ky < K)
          sums[ky * K + kx] = backend::fma(g[r], x, sums[ky * K + kx]);
      });
    });
  });
}

template <int K, int S, class T>
void square_weights(const DirectRows<T>& s, const T* grad, std::int64_t grad_stride, double* sums) {
  constexpr int rows = 4;
  typename vec<T>::native parts[K * K] = {};
  const auto add = [&](auto r, std::int64_t y) PYFAST_INLINED {
    fetch_share<r>(s, y);
    for_each_vector<T>(s.cols, [&](std::int64_t x, int count) PYFAST_INLINED {
      square_taps<K, S, r>(s, s.band + y * s.band_stride + x, grad + y * grad_stride + x,
                           grad_stride, count, parts);
    });
  };
  std::int64_t y = 0;
  for (; y + rows <= s.rows; y += rows) add(std::integral_constant<int, rows>(), y);
  for (; y < s.rows; ++y) add(std::integral_constant<int, 1>(), y);
  for (int t = 0; t < K * K; ++t) sums[t] += lane_sum(vec<T>(parts[t]));
}

template <class T>
void direct_weights(const DirectRows<T>& s, const T* grad, std::int64_t grad_stride, double* sums) {
  if (s.square == 3 && s.stride == 1) return square_weights<3, 1>(s, grad, grad_stride, sums);
  if (s.square == 3 && s.stride == 2) return square_weights<3, 2>(s, grad, grad_stride, sums);
  int t = 0;
  for (; t + 9 <= s.taps; t += 9) direct_taps<9>(s, s.offsets + t, grad, grad_stride, sums + t);
  for (; t + 3 <= s.taps; t += 3) direct_taps<3>(s, s.offsets + t, grad, grad_stride, sums + t);
  for (; t < s.taps; ++t) direct_taps<1>(s, s.offsets + t, grad, grad_stride, sums + t);
}

// Each product of maps and weights is made once: pixels of even and odd rows and columns meet one,
// two, two and four taps.
template <class T>
void spread_3x3(const T* maps, std::int64_t pitch, const T* weights, T* out, std::int64_t out_pitch,
                std::int64_t rows, std::int64_t cols) {
  constexpr int w = vec<T>::size;
  vec<T> k[9];
  for (int t = 0; t < 9; ++t) k[t] = vec<T>(weights[t]);
  for (std::int64_t y = 0; y < rows; y += 2, maps += pitch, out += 2 * out_pitch)
    for (std::int64_t x = 0; x < cols; x += 2 * w) {
      const T* from = maps + x / 2;
      const vec<T> here = vec<T>::load(from), right = vec<T>::load(from + 1);
      store_pairs(here * k[4], fma(right, k[3], here * k[5]), out + x, cols - x);
      if (y + 1 == rows) continue;
      const vec<T> below = vec<T>::load(from + pitch), corner = vec<T>::load(from + pitch + 1);
      store_pairs(fma(below, k[1], here * k[7]),
                  fma(corner, k[0], here * k[8]) + fma(below, k[2], right * k[6]),
                  out + out_pitch + x, cols - x);
    }
}

PYFAST_INLINE vec<double> widened(vec<float> x) { return widen_low(x) + widen_high(x); }
PYFAST_INLINE vec<double> widened(vec<double> x) { return x; }

template <class T>
double sum(const T* x, std::int64_t n, std::int64_t stride) {
  constexpr int w = vec<T>::size;
  if (stride != 1) {
    double total = 0;
    for (std::int64_t i = 0; i < n; ++i) total += static_cast<double>(x[i * stride]);
    return total;
  }
  vec<double> parts[4];
  std::int64_t i = 0;
  for (; i + 4 * w <= n; i += 4 * w)
    for (int j = 0; j < 4; ++j) parts[j] += widened(vec<T>::load(x + i + j * w));
  for (; i < n; i += w)
    parts[0] += widened(vec<T>::load(x + i, n - i < w ? static_cast<int>(n - i) : w));
  return reduce_add((parts[0] + parts[1]) + (parts[2] + parts[3]));
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
