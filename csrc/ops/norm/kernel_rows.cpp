// Rows: layer_norm and rms_norm. A row stays in L1 or L2 between the pass that takes its sums and
// the one that writes it.
#include "ops/norm/kernel.h"
#include "ops/norm/origin.h"
#include "simd/across.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
struct Spread {
  vec<T> origin, invstd, shift;
  PYFAST_INLINE explicit Spread(RowStatistics<T> s)
      : origin(s.origin), invstd(s.invstd), shift(s.shift) {}
  // The shift matters where x - origin is as small as the mean's own rounding.
  PYFAST_INLINE vec<T> operator()(vec<T> x) const { return of(x - origin); }
  PYFAST_INLINE vec<T> of(vec<T> d) const { return fma(d, invstd, shift); }
};

template <class T>
struct Slope {
  vec<T> invstd, slope, offset;
  PYFAST_INLINE explicit Slope(RowGradient<T> s)
      : invstd(s.statistics.invstd), slope(s.slope), offset(s.offset) {}
  PYFAST_INLINE vec<T> operator()(vec<T> gw, vec<T> d) const {  // of d = x - origin
    return invstd * fma(-d, slope, gw - offset);
  }
};

template <class T>
void forward(T* y, const T* x, std::int64_t n, const T* w, const T* b, RowStatistics<T> s) {
  const Spread<T> xhat(s);
  const vec<T> one(T{1}), zero(T{0});
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    fetch(x + n + i);  // the next row's first pass; between rows only sums and roots are computed
    fetch_ahead(y + i);
    const vec<T> scale = w ? load(w + i, lanes) : one, shift = b ? load(b + i, lanes) : zero;
    store(fma(xhat(load(x + i, lanes)), scale, shift), y + i, lanes);
  });
}

template <class T>
void sums(const T* g, const T* x, std::int64_t n, const T* w, RowStatistics<T> s, const T* dx,
          double* totals) {
  constexpr int size = vec<T>::size;
  const Spread<T> xhat(s);
  const vec<T> one(T{1});
  WideSum<T> sum, weighted;
  by_fours<T>(n, [&](std::int64_t i, auto at) PYFAST_INLINED {
    vec<T> gw[4], from[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      fetch(dx + i + k * size);
      gw[k] = at(g, i + k * size) * (w ? at(w, i + k * size) : one);
      from[k] = xhat(at(x, i + k * size, s.origin));  // 0 times an infinity would be NaN
    }
    sum.add(gw[0], gw[1], gw[2], gw[3]);
    weighted.add(fma(gw[0], from[0], gw[1] * from[1]) + fma(gw[2], from[2], gw[3] * from[3]));
  });
  totals[0] = sum.total();
  totals[1] = weighted.total();
}

template <class T>
void backward(T* dx, const T* g, const T* x, std::int64_t n, const T* w, RowGradient<T> s) {
  const Slope<T> slope(s);
  const vec<T> one(T{1}), origin(s.statistics.origin);
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    const vec<T> gw = load(g + i, lanes) * (w ? load(w + i, lanes) : one);
    store(slope(gw, load(x + i, lanes) - origin), dx + i, lanes);
  });
}

// L1 is full with these rows and their gradient.
template <class T>
PYFAST_INLINE void fetch_to_l2(const T* p) {
  __builtin_prefetch(p, 0, 2);
}

template <class T, int R>
PYFAST_INLINE void backward_rows(T* dx, const T* g, const T* x, std::int64_t stride, std::int64_t n,
                                 const T* w, const RowGradient<T>* s, T* dw, T* db) {
  const vec<T> one(T{1});
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    const vec<T> wi = w ? load(w + i, lanes) : one;
    vec<T> weights = load(dw + i, lanes), biases = load(db + i, lanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Spread<T> spread(s[r].statistics);
      const std::int64_t at = r * stride + i;
      fetch_to_l2(g + at + R * stride);
      fetch_to_l2(x + at + R * stride);
      const vec<T> gi = load(g + at, lanes), d = load(x + at, lanes) - spread.origin;
      store(Slope<T>(s[r])(gi * wi, d), dx + at, lanes);
      weights = fma(gi, spread.of(d), weights);
      biases += gi;
    }
    store(weights, dw + i, lanes);
    store(biases, db + i, lanes);
  });
}

template <class T>
void backward_together(T* dx, const T* g, const T* x, std::int64_t rows, std::int64_t stride,
                       std::int64_t n, const T* w, const RowGradient<T>* s, T* dw, T* db) {
  if (rows == kRowsTogether)
    return backward_rows<T, kRowsTogether>(dx, g, x, stride, n, w, s, dw, db);
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t at = r * stride;
    backward_rows<T, 1>(dx + at, g + at, x + at, stride, n, w, s + r, dw, db);
  }
}

template <class T>
void widen_add(double* totals, const T* sums, std::int64_t n) {
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    add_lanes(totals + i, load(sums + i, lanes), lanes);
  });
}

// V vectors of columns over all rows, in registers.
template <class T, int V>
PYFAST_INLINE void tile_gradient(const T* g, const T* x, std::int64_t rows, std::int64_t row_stride,
                                 int last, const RowStatistics<T>* s, std::int64_t s_stride,
                                 double* dw, double* db) {
  constexpr int w = vec<T>::size;
  vec<T> weights[V], biases[V];
  const auto at = [=](const T* p, int k) PYFAST_INLINED {
    return V > 1 ? vec<T>::load(p + k * w) : vec<T>::load(p, last);
  };
  for (std::int64_t r = 0; r < rows; ++r) {
    const Spread<T> xhat(s[r * s_stride]);
#pragma GCC unroll 4
    for (int k = 0; k < V; ++k) {
      const vec<T> gi = at(g + r * row_stride, k);
      biases[k] += gi;
      weights[k] = fma(gi, xhat(at(x + r * row_stride, k)), weights[k]);
    }
  }
  const int n = V > 1 ? w : last;
  for (int k = 0; k < V; ++k) {
    add_lanes(dw + k * w, weights[k], n);
    add_lanes(db + k * w, biases[k], n);
  }
}

template <class T>
void affine_gradient(const T* g, const T* x, std::int64_t rows, std::int64_t row_stride,
                     std::int64_t cols, const RowStatistics<T>* s, std::int64_t s_stride,
                     double* dw, double* db) {
  constexpr int w = vec<T>::size, wide = 4 * w;
  std::int64_t c = 0;
  for (; c + wide <= cols; c += wide)
    tile_gradient<T, 4>(g + c, x + c, rows, row_stride, w, s, s_stride, dw + c, db + c);
  for (; c < cols; c += w) {
    const int last = static_cast<int>(cols - c < w ? cols - c : w);
    tile_gradient<T, 1>(g + c, x + c, rows, row_stride, last, s, s_stride, dw + c, db + c);
  }
}

// Short rows, a row a lane: the corrected two-pass formula (kernel_moments.cpp).
template <int V, class T>
void short_moments_of(const T* x, int rows, std::int64_t n, bool rms, double* mean, double* var) {
  constexpr int w = vec<T>::size;
  const double share = 1 / static_cast<double>(n);
  PerRow<T> sums, squares;
  T middle[w] = {};
  double deviation[w] = {}, square[w];
  if (!rms) {
    for (int r = 0; r < rows; ++r) {
      vec<T> sum;
      for (int k = 0; k < V; ++k) sum += load(x + r * n + k * w, lanes_of<T, V>(k, n));
      sums.set(r, sum);
    }
    (sums.sum(rows) * vec<T>(static_cast<T>(share))).store(middle);
  }
  for (int r = 0; r < rows; ++r) {
    const vec<T> shift(middle[r]);
    vec<T> sum, squared;
    for (int k = 0; k < V; ++k) {
      const vec<T> d = load(x + r * n + k * w, lanes_of<T, V>(k, n), middle[r]) - shift;
      sum += d;
      squared = fma(d, d, squared);
    }
    sums.set(r, sum);
    squares.set(r, squared);
  }
  squares.sum_to(rows, square);
  if (!rms) sums.sum_to(rows, deviation);
  for (int r = 0; r < w; ++r) {
    const double d = deviation[r] * share, v = square[r] * share - d * d;
    mean[r] = double{middle[r]} + d;
    var[r] = v < 0 ? 0 : v;
  }
}

template <class T>
void short_moments(const T* x, std::int64_t rows, std::int64_t n, bool rms, double* mean,
                   double* var) {
  constexpr int w = vec<T>::size;
  with_vectors<T>(n, [&]<int V>() PYFAST_INLINED {
    for (std::int64_t r = 0; r < rows; r += w)
      short_moments_of<V>(x + r * n, static_cast<int>(rows - r < w ? rows - r : w), n, rms,
                          mean + r, var + r);
  });
}

// As statistics_of (rows.cpp).
template <class T>
PYFAST_INLINE void short_statistics(std::int64_t rows, const double* mean, const double* var,
                                    double eps, RowStatistics<T>* s) {
  constexpr int w = vec<double>::size;
  double invstd[kShortRows];
  for (std::int64_t r = 0; r < rows; r += w) {
    const vec<double> v = load(var + r, static_cast<int>(rows - r < w ? rows - r : w), 1.0);
    (vec<double>(1.0) / sqrt(v + vec<double>(eps))).store(invstd + r);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const T origin = origin_of<T>(mean[r], var[r]);
    const double rest = mean[r] - double{origin};  // NaN of an infinity
    const bool shifted = rest < 0 || rest > 0;
    s[r] = {origin, static_cast<T>(invstd[r]), static_cast<T>(shifted ? -rest * invstd[r] : 0.0)};
  }
}

template <class T>
void short_forward(T* y, const T* x, std::int64_t rows, std::int64_t n, const T* weight,
                   const T* bias, const double* mean, const double* var, double eps) {
  constexpr int w = vec<T>::size;
  RowStatistics<T> s[kShortRows];
  short_statistics(rows, mean, var, eps, s);
  with_vectors<T>(n, [&]<int V>() PYFAST_INLINED {
    vec<T> scale[V], shift[V];
    for (int k = 0; k < V; ++k) {
      const int lanes = lanes_of<T, V>(k, n);
      scale[k] = weight ? load(weight + k * w, lanes) : vec<T>(T{1});
      if (bias) shift[k] = load(bias + k * w, lanes);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      const Spread<T> xhat(s[r]);
      for (int k = 0; k < V; ++k) {
        const std::int64_t at = r * n + k * w;
        const int lanes = lanes_of<T, V>(k, n);
        store(fma(xhat(load(x + at, lanes)), scale[k], shift[k]), y + at, lanes);
      }
    }
  });
}

}  // namespace

template <class T>
const RowKernels<T>& norm_row_kernels() {
  static constexpr RowKernels<T> table{&forward<T>,
                                       &sums<T>,
                                       &backward<T>,
                                       &backward_together<T>,
                                       &widen_add<T>,
                                       &affine_gradient<T>,
                                       kShortRow * vec<T>::size,
                                       &short_moments<T>,
                                       &short_forward<T>};
  return table;
}

template const RowKernels<float>& norm_row_kernels<float>();
template const RowKernels<double>& norm_row_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
