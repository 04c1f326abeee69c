// What the forward kernels of pooling share: the two reductions, and rows seen through a border.
#pragma once

#include "ops/pool/kernel.h"
#include "simd/interleave.h"
#include "simd/loop.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

using std::int64_t;

PYFAST_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class T>
struct Max {
  using Total = T;
  static constexpr T identity = static_cast<T>(-__builtin_inf());
  static PYFAST_INLINE vec<T> fold(vec<T> a, vec<T> b) { return max_nan(a, b); }
  static PYFAST_INLINE T fold(T a, T b) { return b > a || b != b ? b : a; }
  static PYFAST_INLINE T of_lanes(vec<T> v) { return reduce_max(v); }
  PYFAST_INLINE T finish(T v, int64_t) const { return v; }
  PYFAST_INLINE vec<T> finish(vec<T> v, int64_t, int) const { return v; }  // outputs o, o + 1, ...
  PYFAST_INLINE vec<T> finish_all(vec<T> v, int64_t) const { return v; }   // all of output o
};

// v / d for one d, rounded as the division would round it (Markstein 1990): the quotient by the
// reciprocal is off by its rounding, which an FMA finds exactly.
template <class T>
struct Division {
  vec<T> d, reciprocal;
  bool exact, by_reciprocal;

  PYFAST_INLINE explicit Division(T divisor)
      : d(divisor),
        reciprocal(T{1} / divisor),
        exact(false),
#if defined(PYFAST_ISA_SCALAR)  // no FMA
        by_reciprocal(false) {
  }
#else
        by_reciprocal(divisor >= 1 && divisor <= T{1 << 20}) {
    const int whole = by_reciprocal ? static_cast<int>(divisor) : 0;
    exact = static_cast<T>(whole) == divisor && (whole & (whole - 1)) == 0 && by_reciprocal;
  }
#endif
  PYFAST_INLINE vec<T> operator()(vec<T> v) const {
    if (!by_reciprocal) return v / d;
    const vec<T> q = v * reciprocal;
    if (exact) return q;
    const vec<T> rest = fma(-q, d, v);
    return select(isnan(rest), q, fma(rest, reciprocal, q));  // infinity has no rest
  }
};

template <class T>
struct Average {
  using Total = double;
  const PoolDivisor<T>& divisor;
  int64_t extent;  // of the windows along the rows
  T rows;
  Division<T> division;  // where all columns agree

  PYFAST_INLINE Average(const PoolDivisor<T>& by, int64_t row_extent)
      : divisor(by), extent(row_extent), rows(static_cast<T>(row_extent)), division(at(0)) {}
  static constexpr T identity = 0;
  static PYFAST_INLINE vec<T> fold(vec<T> a, vec<T> b) { return a + b; }
  static PYFAST_INLINE double fold(double a, double b) { return a + b; }
  static PYFAST_INLINE double of_lanes(vec<T> v) { return lane_sum(v); }
  PYFAST_INLINE T at(int64_t o) const {
    return divisor.fixed != 0 ? divisor.fixed : rows * divisor.columns[o];
  }
  PYFAST_INLINE T finish(T v, int64_t o) const { return v / at(o); }
  PYFAST_INLINE vec<T> finish(vec<T> v, int64_t o, int lanes) const {
    if (divisor.uniform) return division(v);
    return v / (vec<T>(rows) * load(divisor.columns + o, lanes, T{1}));
  }
  PYFAST_INLINE vec<T> finish_all(vec<T> v, int64_t o) const {
    return divisor.uniform ? division(v) : v / vec<T>(at(o));
  }
};

// The input rows under one row of outputs.
template <class T>
struct PoolRow {
  const T* x;  // column 0 of the first row
  int64_t rows, row_step;
  int64_t skipped;  // taps in the padding above them
  const PoolAxis* cols;

  PYFAST_INLINE PoolRow(const PoolPlane<T>& plane, int64_t o) : cols(plane.cols) {
    const PoolAxis& axis = *plane.rows;
    const PoolWindow window = window_at(axis, o);
    x = plane.x + window.first * plane.row_step;
    rows = window.count;
    row_step = axis.dilation * plane.row_step;
    skipped = axis.adaptive || rows == axis.kernel
                  ? 0
                  : (window.first - (o * axis.stride - axis.padding)) / axis.dilation;
  }
};

// Columns c, c + 1, ... of rows [first, first + rows) folded over those rows; the border of one
// column on the left, and all that lies to the right of the input, is `identity`.
template <class T, class Op>
struct Columns {
  const T* x;
  int64_t rows, row_step, width;

  PYFAST_INLINE vec<T> fold(int64_t c, int lanes) const {
    vec<T> v = load(x + c, lanes, Op::identity);
    for (int64_t r = 1; r < rows; ++r)
      v = Op::fold(v, load(x + r * row_step + c, lanes, Op::identity));
    return v;
  }
  PYFAST_INLINE vec<T> operator()(int64_t c) const {
    constexpr int w = vec<T>::size;
    if (c >= 0 && c + w <= width) return fold(c, w);
    const vec<T> border(Op::identity);
    if (c >= width) return border;
    if (c >= 0) return fold(c, static_cast<int>(width - c));
    return slide<w - 1>(border, fold(0, static_cast<int>(least(w - 1, width))));
  }
};

// body.template operator()<K, S>() for windows of K neighbouring columns, S apart, with a border of
// one column at most: what nearly all networks use. False for any others.
template <class Body>
PYFAST_INLINE bool with_small_windows(const PoolAxis& a, Body body) {
  if (a.adaptive || a.dilation != 1 || a.padding > 1) return false;
  if (a.kernel == 2 && a.stride == 2) return body.template operator()<2, 2>(), true;
  if (a.kernel == 3 && a.stride == 2) return body.template operator()<3, 2>(), true;
  if (a.kernel == 3 && a.stride == 1) return body.template operator()<3, 1>(), true;
  if (a.kernel == 2 && a.stride == 1) return body.template operator()<2, 1>(), true;
  return false;
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
