// Softmax of a row: maximum, then exp and its sum while the row is in L1, then one scaling pass.
// Rows that are not contiguous are taken a vector of neighbouring columns at a time.
#include "ops/softmax/kernel.h"

#include "simd/loop.h"
#include "simd/math.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
T infinity() {
  return static_cast<T>(__builtin_inf());
}

template <class T>
T scalar_log(T x) {  // every lane the same: the vector function serves
  T lanes[vec<T>::size];
  log(vec<T>(x)).store(lanes);
  return lanes[0];
}

template <class T>
T row_max(const T* x, std::int64_t n) {
  constexpr int w = vec<T>::size;
  vec<T> top(-infinity<T>());
  std::int64_t i = 0;
  for (; i + w <= n; i += w) top = max_nan(top, vec<T>::load(x + i));
  if (i < n) top = max_nan(top, vec<T>::load(x + i, static_cast<int>(n - i), -infinity<T>()));
  return reduce_max(top);
}

// y = exp(x - top) (or x - top when log), returns the sum of the exponentials.
template <class T>
T shift_and_sum(T* y, const T* x, std::int64_t n, T top, bool log) {
  constexpr int w = vec<T>::size;
  const vec<T> shift(top);
  vec<T> sum(T{0});
  std::int64_t i = 0;
  for (; i + w <= n; i += w) {
    const vec<T> d = vec<T>::load(x + i) - shift, e = exp(d);
    sum += e;
    (log ? d : e).store(y + i);
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const vec<T> d = vec<T>::load(x + i, rest, -infinity<T>()) - shift, e = exp(d);
    sum += e;
    (log ? d : e).store(y + i, rest);
  }
  return reduce_add(sum);
}

template <class T>
void forward_row(T* y, const T* x, std::int64_t n, bool log) {
  const T top = row_max(x, n);
  const T sum = shift_and_sum(y, x, n, top, log);
  if (log) {
    const vec<T> shift(scalar_log(sum));
    map(y, y, n, [=](vec<T> v) { return v - shift; });
  } else {
    const vec<T> scale(T{1} / sum);
    map(y, y, n, [=](vec<T> v) { return v * scale; });
  }
}

template <class T>
void backward_row(T* dx, const T* g, const T* y, std::int64_t n, bool log) {
  constexpr int w = vec<T>::size;
  vec<T> sums(T{0});
  for (std::int64_t i = 0; i < n; i += w) {
    const int m = static_cast<int>(n - i < w ? n - i : w);
    const vec<T> gi = vec<T>::load(g + i, m);
    sums = log ? sums + gi : fma(gi, vec<T>::load(y + i, m), sums);
  }
  const vec<T> sum(reduce_add(sums));
  for (std::int64_t i = 0; i < n; i += w) {
    const int m = static_cast<int>(n - i < w ? n - i : w);
    const vec<T> gi = vec<T>::load(g + i, m), yi = vec<T>::load(y + i, m);
    (log ? gi - exp(yi) * sum : yi * (gi - sum)).store(dx + i, m);
  }
}

template <class T>
void forward_columns(T* y, const T* x, std::int64_t n, std::int64_t columns, std::int64_t stride,
                     bool log) {
  constexpr int w = vec<T>::size;
  for (std::int64_t c = 0; c < columns; c += w) {
    const int m = static_cast<int>(columns - c < w ? columns - c : w);
    vec<T> top(-infinity<T>()), sum(T{0});
    for (std::int64_t i = 0; i < n; ++i) top = max_nan(top, vec<T>::load(x + c + i * stride, m));
    for (std::int64_t i = 0; i < n; ++i) {
      const vec<T> d = vec<T>::load(x + c + i * stride, m) - top, e = exp(d);
      sum += e;
      (log ? d : e).store(y + c + i * stride, m);
    }
    const vec<T> shift = pyfast::PYFAST_ISA::log(sum), scale = vec<T>(T{1}) / sum;
    for (std::int64_t i = 0; i < n; ++i) {
      const vec<T> v = vec<T>::load(y + c + i * stride, m);
      (log ? v - shift : v * scale).store(y + c + i * stride, m);
    }
  }
}

template <class T>
void backward_columns(T* dx, const T* g, const T* y, std::int64_t n, std::int64_t columns,
                      std::int64_t stride, bool log) {
  constexpr int w = vec<T>::size;
  for (std::int64_t c = 0; c < columns; c += w) {
    const int m = static_cast<int>(columns - c < w ? columns - c : w);
    vec<T> sum(T{0});
    for (std::int64_t i = 0; i < n; ++i) {
      const vec<T> gi = vec<T>::load(g + c + i * stride, m);
      sum = log ? sum + gi : fma(gi, vec<T>::load(y + c + i * stride, m), sum);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const vec<T> gi = vec<T>::load(g + c + i * stride, m);
      const vec<T> yi = vec<T>::load(y + c + i * stride, m);
      (log ? gi - exp(yi) * sum : yi * (gi - sum)).store(dx + c + i * stride, m);
    }
  }
}

}  // namespace

template <class T>
const SoftmaxKernels<T>& softmax_kernels() {
  static constexpr SoftmaxKernels<T> table{&forward_row<T>, &backward_row<T>, &forward_columns<T>,
                                           &backward_columns<T>};
  return table;
}

template const SoftmaxKernels<float>& softmax_kernels<float>();
template const SoftmaxKernels<double>& softmax_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
