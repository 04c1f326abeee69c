// Mean and variance. Blocks of 4096 values are summed in one visit about a guess at their mean by
// the first few, or about 0 where that is as good; four vectors at a time in T and those in double.
// Should the guess lie further off than the values scatter, they are summed again about their mean
// (the corrected two-pass formula: Chan, Golub and LeVeque 1983, eq. 1.7), so that 1e4 +- 1e-2
// keeps its variance. Blocks are merged in double. Longer sums in T would lose to what most values
// of sparse data repeat: the same rounding every time.
#include "ops/norm/kernel.h"
#include "ops/norm/merge.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr std::int64_t kBlock = 4096;
constexpr std::int64_t kBlockRows = 64;  // of columns: 64 rows x 4 vectors are in L1
constexpr int kSums = 4;

// step(four vectors) over every run, tails padded with `fill`. The first visit fetches ahead.
template <bool kFirst, class T, class Step>
PYFAST_INLINE void over_runs(const T* x, std::int64_t segments, std::int64_t stride,
                             std::int64_t length, T fill, Step step) {
  constexpr int w = vec<T>::size;
  for (std::int64_t s = 0; s < segments; ++s) {
    const T* p = x + s * stride;
    std::int64_t i = 0;
    for (; i + kSums * w <= length; i += kSums * w) {
      if (kFirst)
        for (int k = 0; k < kSums * w; k += 64 / static_cast<int>(sizeof(T)))
          fetch_ahead(p + i + k);
      step(vec<T>::load(p + i), vec<T>::load(p + i + w), vec<T>::load(p + i + 2 * w),
           vec<T>::load(p + i + 3 * w));
    }
    if (i == length) continue;
    step(load_within(p, i, length, fill), load_within(p, i + w, length, fill),
         load_within(p, i + 2 * w, length, fill), load_within(p, i + 3 * w, length, fill));
  }
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

// Of values measured from `middle`: the sums of what is left and of its squares.
PYFAST_INLINE Moments moments_about(double middle, double count, double sum, double squares) {
  const double share = 1 / count, m2 = squares - sum * (sum * share);
  return {count, middle + sum * share, m2 < 0 ? 0 : m2};
}

// Whether the values scatter about their mean as about `middle`, so that m2 is as exact as the
// sums.
PYFAST_INLINE bool scattered(Moments m, double middle) {
  const double off = m.mean - middle;
  return !overflowed(m.m2) && off * off * m.count <= m.m2;
}

template <class T>
PYFAST_INLINE vec<T> square_sum(vec<T> a, vec<T> b, vec<T> c, vec<T> d) {
  return fma(a, a, b * b) + fma(c, c, d * d);
}

// A guess at the mean by `count` values whose sum and sum of squares are given: 0 where they
// scatter about it no more than about 0.
template <class T>
PYFAST_INLINE T guess(T count, T sum, T squares) {
  return T{2} * sum * sum <= count * squares ? T{0} : sum / count;
}

template <bool kFirst, class T>
Moments block_moments_about(T middle, const T* x, std::int64_t segments, std::int64_t stride,
                            std::int64_t length) {
  const vec<T> shift(middle);
  WideSum<T> sum, squares;
  over_runs<kFirst>(x, segments, stride, length, middle, [&](auto... v) PYFAST_INLINED {
    sum.add((v - shift)...);
    squares.add(square_sum((v - shift)...));
  });
  return moments_about(double{middle}, static_cast<double>(segments * length), sum.total(),
                       squares.total());
}

template <class T>
Moments block_moments(const T* x, std::int64_t segments, std::int64_t stride, std::int64_t length) {
  constexpr int w = vec<T>::size;
  const int few = length < w ? static_cast<int>(length) : w;
  const vec<T> first = load(x, few);
  const T middle = guess(static_cast<T>(few), reduce_add(first), reduce_add(first * first));
  const Moments m = block_moments_about<true>(middle, x, segments, stride, length);
  if (scattered(m, double{middle})) return m;
  const Moments again =
      block_moments_about<false>(static_cast<T>(m.mean), x, segments, stride, length);
  return overflowed(again.m2) ? exact_moments(x, segments, stride, length, false) : again;
}

template <class T>
Moments block_square_moments(const T* x, std::int64_t segments, std::int64_t stride,
                             std::int64_t length) {
  WideSum<T> squares;
  over_runs<true>(x, segments, stride, length, T{0},
                  [&](auto... v) PYFAST_INLINED { squares.add(square_sum(v...)); });
  const Moments m{static_cast<double>(segments * length), 0, squares.total()};
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

// A vector of neighbouring columns, from `middle`; at(i) is its part of row i.
template <class T, class At>
PYFAST_INLINE void column_sums(std::int64_t rows, vec<T> middle, At at, double* sums,
                               double* square_sums) {
  WideSum<T> sum, squares;
  const auto away = [&](std::int64_t i)
                        PYFAST_INLINED { return i < rows ? at(i) - middle : vec<T>(); };
  const auto step = [&](auto... d) PYFAST_INLINED {
    sum.add(d...);
    squares.add(square_sum(d...));
  };
  std::int64_t i = 0;
  for (; i + kSums <= rows; i += kSums)
    step(at(i) - middle, at(i + 1) - middle, at(i + 2) - middle, at(i + 3) - middle);
  if (i < rows) step(away(i), away(i + 1), away(i + 2), away(i + 3));
  sum.store(sums);
  squares.store(square_sums);
}

// A guess at the mean of every lane, by the first rows.
template <class T, class At>
PYFAST_INLINE void guess_columns(std::int64_t rows, At at, T* middle) {
  const int few = rows < kSums ? static_cast<int>(rows) : kSums;
  vec<T> sum, squares;
  for (int i = 0; i < few; ++i) {
    sum += at(i);
    squares = fma(at(i), at(i), squares);
  }
  const vec<T> count(static_cast<T>(few)), mean = sum / count;
  select(sum * (mean + mean) <= squares, vec<T>(), mean).store(middle);
}

// The first `cols` lanes of a vector of neighbouring columns, of at most kBlockRows rows.
template <bool whole, class T>
PYFAST_INLINE void block_columns(const T* x, std::int64_t rows, std::int64_t row_stride, int cols,
                                 Moments* to) {
  constexpr int w = vec<T>::size;
  const double count = static_cast<double>(rows);
  T middle[w];
  double sums[w], squares[w];
  const auto at = [&](std::int64_t i) PYFAST_INLINED {
    fetch(x + i * row_stride + w);  // the next columns
    return whole ? vec<T>::load(x + i * row_stride) : vec<T>::load(x + i * row_stride, cols);
  };
  guess_columns(rows, at, middle);
  column_sums<T>(rows, vec<T>::load(middle), at, sums, squares);
  bool again = false;
  for (int j = 0; j < cols; ++j) {
    to[j] = moments_about(double{middle[j]}, count, sums[j], squares[j]);
    if (scattered(to[j], double{middle[j]})) continue;
    middle[j] = static_cast<T>(to[j].mean);
    again = true;
  }
  if (!again) return;
  column_sums<T>(rows, vec<T>::load(middle), at, sums, squares);
  for (int j = 0; j < cols; ++j) {
    to[j] = moments_about(double{middle[j]}, count, sums[j], squares[j]);
    if (overflowed(to[j].m2)) to[j] = exact_moments(x + j, rows, row_stride, 1, false);
  }
}

template <class T>
void column_moments(const T* x, std::int64_t rows, std::int64_t row_stride, std::int64_t cols,
                    double* mean, double* m2) {
  constexpr int w = vec<T>::size;
  Moments of[w];
  for (std::int64_t r = 0; r < rows; r += kBlockRows) {
    const std::int64_t n = rows - r < kBlockRows ? rows - r : kBlockRows;
    const double before = static_cast<double>(r), count = static_cast<double>(n);
    for (std::int64_t c = 0; c < cols; c += w) {
      const T* block = x + r * row_stride + c;
      const int lanes = static_cast<int>(cols - c < w ? cols - c : w);
      lanes == w ? block_columns<true>(block, n, row_stride, w, of)
                 : block_columns<false>(block, n, row_stride, lanes, of);
      for (int j = 0; j < lanes; ++j) {
        const Moments all = merge({before, mean[c + j], m2[c + j]}, {count, of[j].mean, of[j].m2});
        mean[c + j] = all.mean;
        m2[c + j] = all.m2;
      }
    }
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
