// Mean and variance by the corrected two-pass formula (Chan, Golub and LeVeque 1983, eq. 1.7):
// blocks of 4096 values, small enough that the second pass finds them in L1, are summed in T in
// 4 x lanes partial sums of at most a few hundred values, and blocks are merged in double. The
// correction removes the rounding of the block's mean, so 1e4 +- 1e-2 keeps its variance.
#include "ops/norm/kernel.h"
#include "ops/norm/merge.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr std::int64_t kBlock = 4096;
constexpr std::int64_t kBlockRows = 64;  // of columns: 64 rows x 4 vectors are in L1
constexpr int kSums = 4;

// step(k, values) over every run, k < kSums naming the sum to add to; tails are padded with `fill`.
// The first visit fetches ahead.
template <bool kFirst, class T, class Step>
PYFAST_INLINE void over_runs(const T* x, std::int64_t segments, std::int64_t stride,
                             std::int64_t length, T fill, Step step) {
  constexpr int w = vec<T>::size;
  for (std::int64_t s = 0; s < segments; ++s) {
    const T* p = x + s * stride;
    std::int64_t i = 0;
    for (; i + kSums * w <= length; i += kSums * w) {
#pragma GCC unroll 4
      for (int k = 0; k < kSums; ++k) {
        if (kFirst) fetch_ahead(p + i + k * w);
        step(k, vec<T>::load(p + i + k * w));
      }
    }
    for (; i + w <= length; i += w) step(0, vec<T>::load(p + i));
    if (i < length) step(1, vec<T>::load(p + i, static_cast<int>(length - i), fill));
  }
}

template <class T>
PYFAST_INLINE double total(const vec<T> (&sums)[kSums]) {
  return lane_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

bool overflowed(double m2) { return !(m2 <= __DBL_MAX__); }

// For blocks whose squares leave float's range; infinities and NaNs come here too.
template <class T>
Moments exact_moments(const T* x, std::int64_t segments, std::int64_t stride, std::int64_t length,
                      bool about_zero) {
  const double count = static_cast<double>(segments * length);
  double sum = 0, m2 = 0;
  for (std::int64_t s = 0; s < segments; ++s)
    for (std::int64_t i = 0; i < length; ++i) sum += double{x[s * stride + i]};
  const double mean = about_zero ? 0 : sum / count;
  for (std::int64_t s = 0; s < segments; ++s)
    for (std::int64_t i = 0; i < length; ++i) {
      const double d = double{x[s * stride + i]} - mean;
      m2 += d * d;
    }
  return {count, mean, m2};
}

PYFAST_INLINE Moments corrected(double count, double middle, double deviation, double squares) {
  const double m2 = squares - deviation * (deviation / count);
  return {count, middle + deviation / count, m2 < 0 ? 0 : m2};
}

template <class T>
Moments block_moments(const T* x, std::int64_t segments, std::int64_t stride, std::int64_t length) {
  const double count = static_cast<double>(segments * length);
  vec<T> sums[kSums], deviations[kSums], squares[kSums];
  over_runs<true>(x, segments, stride, length, T{0},
                  [&](int k, vec<T> v) PYFAST_INLINED { sums[k] += v; });
  const T middle = static_cast<T>(total(sums) / count);
  const vec<T> shift(middle);
  over_runs<false>(x, segments, stride, length, middle, [&](int k, vec<T> v) PYFAST_INLINED {
    const vec<T> d = v - shift;
    deviations[k] += d;
    squares[k] = fma(d, d, squares[k]);
  });
  const Moments m = corrected(count, double{middle}, total(deviations), total(squares));
  return overflowed(m.m2) ? exact_moments(x, segments, stride, length, false) : m;
}

template <class T>
Moments block_square_moments(const T* x, std::int64_t segments, std::int64_t stride,
                             std::int64_t length) {
  vec<T> squares[kSums];
  over_runs<true>(x, segments, stride, length, T{0},
                  [&](int k, vec<T> v) PYFAST_INLINED { squares[k] = fma(v, v, squares[k]); });
  const Moments m{static_cast<double>(segments * length), 0, total(squares)};
  return overflowed(m.m2) ? exact_moments(x, segments, stride, length, true) : m;
}

// Short runs are taken several a block, long ones in pieces.
template <class T, class Block>
PYFAST_INLINE Moments in_blocks(const T* x, std::int64_t segments, std::int64_t stride,
                                std::int64_t length, Block block) {
  const std::int64_t together = length < kBlock ? kBlock / length : 1;
  Moments all{0, 0, 0};
  for (std::int64_t s = 0; s < segments; s += together) {
    const std::int64_t rest = segments - s, runs = rest < together ? rest : together;
    for (std::int64_t i = 0; i < length; i += kBlock) {
      const std::int64_t left = length - i;
      all = merge(all, block(x + s * stride + i, runs, stride, left < kBlock ? left : kBlock));
    }
  }
  return all;
}

template <class T>
Moments moments(const T* x, std::int64_t segments, std::int64_t stride, std::int64_t length) {
  return in_blocks(x, segments, stride, length, &block_moments<T>);
}

template <class T>
Moments square_moments(const T* x, std::int64_t segments, std::int64_t stride,
                       std::int64_t length) {
  return in_blocks(x, segments, stride, length, &block_square_moments<T>);
}

// V vectors of neighbouring columns, the first `cols` of their lanes.
template <class T, int V>
void tile_moments(const T* x, std::int64_t rows, std::int64_t row_stride, int cols, double* mean,
                  double* m2) {
  constexpr int w = vec<T>::size;
  const int last = cols - (V - 1) * w;  // lanes of the last vector
  const auto at = [&](const T* row, int k) PYFAST_INLINED {
    return V > 1 ? vec<T>::load(row + k * w) : vec<T>::load(row, last);
  };
  for (std::int64_t r = 0; r < rows; r += kBlockRows) {
    const T* block = x + r * row_stride;
    const std::int64_t n = rows - r < kBlockRows ? rows - r : kBlockRows;
    const double count = static_cast<double>(n);
    vec<T> middle[V], deviation[V], squares[V];
    for (std::int64_t i = 0; i < n; ++i)
#pragma GCC unroll 4
      for (int k = 0; k < V; ++k) middle[k] += at(block + i * row_stride, k);
    for (int k = 0; k < V; ++k) middle[k] *= vec<T>(static_cast<T>(1 / count));
    for (std::int64_t i = 0; i < n; ++i)
#pragma GCC unroll 4
      for (int k = 0; k < V; ++k) {
        const vec<T> d = at(block + i * row_stride, k) - middle[k];
        deviation[k] += d;
        squares[k] = fma(d, d, squares[k]);
      }
    T middles[V * w], deviations[V * w], square_sums[V * w];
    for (int k = 0; k < V; ++k) {
      middle[k].store(middles + k * w);
      deviation[k].store(deviations + k * w);
      squares[k].store(square_sums + k * w);
    }
    for (int j = 0; j < cols; ++j) {
      Moments m =
          corrected(count, double{middles[j]}, double{deviations[j]}, double{square_sums[j]});
      if (overflowed(m.m2)) m = exact_moments(block + j, n, row_stride, 1, false);
      m = merge({static_cast<double>(r), mean[j], m2[j]}, m);
      mean[j] = m.mean;
      m2[j] = m.m2;
    }
  }
}

template <class T>
void column_moments(const T* x, std::int64_t rows, std::int64_t row_stride, std::int64_t cols,
                    double* mean, double* m2) {
  constexpr int w = vec<T>::size, wide = 4 * w;
  std::int64_t c = 0;
  for (; c + wide <= cols; c += wide)
    tile_moments<T, 4>(x + c, rows, row_stride, wide, mean + c, m2 + c);
  for (; c < cols; c += w) {
    const int rest = static_cast<int>(cols - c < w ? cols - c : w);
    tile_moments<T, 1>(x + c, rows, row_stride, rest, mean + c, m2 + c);
  }
}

}  // namespace

template <class T>
const MomentKernels<T>& norm_moment_kernels() {
  static constexpr MomentKernels<T> table{&moments<T>, &square_moments<T>, &column_moments<T>};
  return table;
}

template const MomentKernels<float>& norm_moment_kernels<float>();
template const MomentKernels<double>& norm_moment_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
