// Column sums, a vector of neighbouring columns at a time, in double registers. Memory-bound.
#include "ops/linear/kernel.h"

#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace {

// One vector of columns, n of them real.
void sum_columns(double* sums, const float* x, std::int64_t row_stride, std::int64_t rows, int n) {
  constexpr int half = vec<double>::size;
  vec<double> low, high;
  for (std::int64_t r = 0; r < rows; ++r) {
    const vec<float> v = vec<float>::load(x + r * row_stride, n);
    low += widen_low(v);
    high += widen_high(v);
  }
  low.store(sums, n < half ? n : half);
  if (n > half) high.store(sums + half, n - half);
}
void sum_columns(double* sums, const double* x, std::int64_t row_stride, std::int64_t rows, int n) {
  vec<double> sum;
  for (std::int64_t r = 0; r < rows; ++r) sum += vec<double>::load(x + r * row_stride, n);
  sum.store(sums, n);
}

template <class T>
void sum_rows(double* sums, const T* x, std::int64_t row_stride, std::int64_t rows,
              std::int64_t cols) {
  constexpr int w = vec<T>::size;
  for (std::int64_t c = 0; c < cols; c += w)
    sum_columns(sums + c, x + c, row_stride, rows, static_cast<int>(cols - c < w ? cols - c : w));
}

}  // namespace

template <class T>
const LinearKernels<T>& linear_kernels() {
  static constexpr LinearKernels<T> table{&sum_rows<T>};
  return table;
}

template const LinearKernels<float>& linear_kernels<float>();
template const LinearKernels<double>& linear_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
