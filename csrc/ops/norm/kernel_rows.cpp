// Rows: layer_norm and rms_norm. A row stays in L1 or L2 between the pass that takes its sums and
// the one that writes it.
#include "ops/norm/kernel.h"
#include "ops/norm/kernel_loops.h"
#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
struct Spread {
  vec<T> mean, mean_rest, invstd;
  PYFAST_INLINE explicit Spread(RowStatistics<T> s)
      : mean(s.mean), mean_rest(s.mean_rest), invstd(s.invstd) {}
  // The rest of the mean matters where x - mean is as small as the mean's own rounding.
  PYFAST_INLINE vec<T> operator()(vec<T> x) const { return ((x - mean) - mean_rest) * invstd; }
};

template <class T>
void forward(T* y, const T* x, std::int64_t n, const T* w, const T* b, RowStatistics<T> s) {
  const Spread<T> xhat(s);
  const vec<T> one(T{1}), zero(T{0});
  over_row<T>(n, [&](std::int64_t i, auto load, auto store) __attribute__((always_inline)) {
    const vec<T> scale = w ? load(w + i) : one, shift = b ? load(b + i) : zero;
    store(y + i, fma(xhat(load(x + i)), scale, shift));
  });
}

constexpr std::int64_t kRun = 4096;  // values summed in T before double takes over

template <class T>
void sums(const T* g, const T* x, std::int64_t n, const T* w, RowStatistics<T> s, double* totals) {
  const Spread<T> xhat(s);
  const vec<T> one(T{1});
  totals[0] = totals[1] = 0;
  for (std::int64_t start = 0; start < n; start += kRun) {
    vec<T> sum, weighted;
    over_row<T>(n - start < kRun ? n - start : kRun,
                [&](std::int64_t i, auto load, auto) __attribute__((always_inline)) {
                  const vec<T> gw = load(g + start + i) * (w ? load(w + start + i) : one);
                  sum += gw;
                  weighted = fma(gw, xhat(load(x + start + i)), weighted);
                });
    totals[0] += lane_sum(sum);
    totals[1] += lane_sum(weighted);
  }
}

template <class T>
void backward(T* dx, const T* g, const T* x, std::int64_t n, const T* w, RowStatistics<T> s,
              T mean_g, T mean_gx) {
  const Spread<T> xhat(s);
  const vec<T> one(T{1}), a(mean_g), b(mean_gx);
  over_row<T>(n, [&](std::int64_t i, auto load, auto store) __attribute__((always_inline)) {
    const vec<T> gw = load(g + i) * (w ? load(w + i) : one);
    store(dx + i, (gw - fma(xhat(load(x + i)), b, a)) * xhat.invstd);
  });
}

// V vectors of columns over all rows, in registers.
template <class T, int V>
PYFAST_INLINE void tile_gradient(const T* g, const T* x, std::int64_t rows, std::int64_t row_stride,
                                 int last, const RowStatistics<T>* s, std::int64_t s_stride,
                                 double* dw, double* db) {
  constexpr int w = vec<T>::size;
  vec<T> weights[V], biases[V];
  const auto at = [=](const T* p, int k) __attribute__((always_inline)) {
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
  static constexpr RowKernels<T> table{&forward<T>, &sums<T>, &backward<T>, &affine_gradient<T>};
  return table;
}

template const RowKernels<float>& norm_row_kernels<float>();
template const RowKernels<double>& norm_row_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
