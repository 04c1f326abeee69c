// Squares are widened to double before they are added: a float's square may leave its range.
#include "ops/optimizer/kernel_gradient.h"

#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

// Sum over f(low), f(high) of every vector as doubles.
template <class F>
PYFAST_INLINE double sum(const float* g, std::int64_t n, F f) {
  vec<double> low, high;
  for_each_vector<float>(n, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    const vec<float> x = load(g + i, lanes);
    low = f(low, widen_low(x));
    high = f(high, widen_high(x));
  });
  return reduce_add(low + high);
}
template <class F>
PYFAST_INLINE double sum(const double* g, std::int64_t n, F f) {
  vec<double> total;
  for_each_vector<double>(
      n, [&](std::int64_t i, int lanes) PYFAST_INLINED { total = f(total, load(g + i, lanes)); });
  return reduce_add(total);
}

template <class T>
double sum_of_squares(const T* g, std::int64_t n) {
  return sum(g, n, [](vec<double> s, vec<double> x) PYFAST_INLINED { return fma(x, x, s); });
}

template <class T>
double sum_of_magnitudes(const T* g, std::int64_t n) {
  return sum(g, n, [](vec<double> s, vec<double> x) PYFAST_INLINED { return s + abs(x); });
}

template <class T>
double largest(const T* g, std::int64_t n) {
  vec<T> top;
  for_each_vector<T>(n, [&](std::int64_t i, int lanes)
                            PYFAST_INLINED { top = max_nan(top, abs(load(g + i, lanes))); });
  return reduce_max(top);
}

template <class T>
void scale(T* g, std::int64_t n, double factor) {
  const vec<T> f(static_cast<T>(factor));
  map(g, g, n, [&](vec<T> x) PYFAST_INLINED { return x * f; });
}

template <class T>
void clamp(T* g, std::int64_t n, double limit) {
  const vec<T> high(static_cast<T>(limit)), low = -high;
  map(g, g, n, [&](vec<T> x) PYFAST_INLINED { return min(high, max(low, x)); });
}

}  // namespace

template <class T>
const GradientKernels<T>& gradient_kernels() {
  static constexpr GradientKernels<T> table{&sum_of_squares<T>, &sum_of_magnitudes<T>, &largest<T>,
                                            &scale<T>, &clamp<T>};
  return table;
}

template const GradientKernels<float>& gradient_kernels<float>();
template const GradientKernels<double>& gradient_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
