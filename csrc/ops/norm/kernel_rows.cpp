// Rows: layer_norm and rms_norm. A row stays in L1 or L2 between the pass that takes its sums and
// the one that writes it.
#include "ops/norm/kernel.h"
#include "simd/loop.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
struct Spread {
  vec<T> mean, invstd, shift;
  PYFAST_INLINE explicit Spread(RowStatistics<T> s)
      : mean(s.mean), invstd(s.invstd), shift(s.shift) {}
  // The shift matters where x - mean is as small as the mean's own rounding.
  PYFAST_INLINE vec<T> operator()(vec<T> x) const { return fma(x - mean, invstd, shift); }
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

constexpr std::int64_t kRun = 4096;  // values summed in T before double takes over
constexpr int kSums = 4;

template <class T>
void sums(const T* g, const T* x, std::int64_t n, const T* w, RowStatistics<T> s, const T* dx,
          double* totals) {
  constexpr int size = vec<T>::size;
  const Spread<T> xhat(s);
  const vec<T> one(T{1});
  totals[0] = totals[1] = 0;
  for (std::int64_t start = 0; start < n; start += kRun) {
    const std::int64_t end = n - start < kRun ? n : start + kRun;
    vec<T> sum[kSums], weighted[kSums];
    const auto step = [&](int k, std::int64_t i, int lanes) PYFAST_INLINED {
      fetch(dx + i);
      const vec<T> gw = load(g + i, lanes) * (w ? load(w + i, lanes) : one);
      sum[k] += gw;
      weighted[k] = fma(gw, xhat(load(x + i, lanes)), weighted[k]);
    };
    std::int64_t i = start;
    for (; i + kSums * size <= end; i += kSums * size)
#pragma GCC unroll 4
      for (int k = 0; k < kSums; ++k) step(k, i + k * size, size);
    for (; i < end; i += size) step(0, i, static_cast<int>(end - i < size ? end - i : size));
    totals[0] += lane_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
    totals[1] += lane_sum((weighted[0] + weighted[1]) + (weighted[2] + weighted[3]));
  }
}

template <class T>
void backward(T* dx, const T* g, const T* x, std::int64_t n, const T* w, RowGradient<T> s) {
  const Spread<T> xhat(s.statistics);
  const vec<T> one(T{1}), a(s.mean_g), b(s.mean_gx);
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    const vec<T> gw = load(g + i, lanes) * (w ? load(w + i, lanes) : one);
    store(fma(gw, xhat.invstd, -fma(xhat(load(x + i, lanes)), b, a)), dx + i, lanes);
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
      const vec<T> gi = load(g + at, lanes), xhat = spread(load(x + at, lanes));
      const vec<T> rest = fma(xhat, vec<T>(s[r].mean_gx), vec<T>(s[r].mean_g));
      store(fma(gi * wi, spread.invstd, -rest), dx + at, lanes);
      weights = fma(gi, xhat, weights);
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

}  // namespace

template <class T>
const RowKernels<T>& norm_row_kernels() {
  static constexpr RowKernels<T> table{&forward<T>,           &sums<T>,      &backward<T>,
                                       &backward_together<T>, &widen_add<T>, &affine_gradient<T>};
  return table;
}

template const RowKernels<float>& norm_row_kernels<float>();
template const RowKernels<double>& norm_row_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
