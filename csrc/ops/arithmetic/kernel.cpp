// Bound by memory: one pass, whatever the operation.
#include "ops/arithmetic/kernel.h"

#include "simd/loop.h"
#include "simd/math.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T, class F>
PYFAST_INLINE void combine(T* y, const T* a, std::int64_t a_step, const T* b, std::int64_t b_step,
                           std::int64_t n, F f) {
  if (a_step != 0 && b_step != 0) return map(y, a, b, n, f);
  const vec<T> one_a(*a), one_b(*b);
  if (a_step != 0) return map(y, a, n, [=](vec<T> v) PYFAST_INLINED { return f(v, one_b); });
  if (b_step != 0) return map(y, b, n, [=](vec<T> v) PYFAST_INLINED { return f(one_a, v); });
  const vec<T> value = f(one_a, one_b);
  for_each_vector<T>(n,
                     [=](std::int64_t i, int lanes) PYFAST_INLINED { store(value, y + i, lanes); });
}

template <class T>
void binary(Binary operation, T* y, const T* a, std::int64_t a_step, const T* b,
            std::int64_t b_step, std::int64_t n) {
  const auto with = [=](auto f) PYFAST_INLINED { combine(y, a, a_step, b, b_step, n, f); };
  switch (operation) {
    case Binary::add: return with([](vec<T> p, vec<T> q) PYFAST_INLINED { return p + q; });
    case Binary::subtract: return with([](vec<T> p, vec<T> q) PYFAST_INLINED { return p - q; });
    case Binary::multiply: return with([](vec<T> p, vec<T> q) PYFAST_INLINED { return p * q; });
    case Binary::divide: return with([](vec<T> p, vec<T> q) PYFAST_INLINED { return p / q; });
  }
}

template <class T>
void elementary(Elementary function, T* y, const T* x, std::int64_t n) {
  namespace math = pyfast::PYFAST_ISA;
  switch (function) {
    case Elementary::negative: return map(y, x, n, [](vec<T> v) PYFAST_INLINED { return -v; });
    case Elementary::absolute: return map(y, x, n, [](vec<T> v) PYFAST_INLINED { return abs(v); });
    case Elementary::exp: return map(y, x, n, [](vec<T> v) PYFAST_INLINED { return math::exp(v); });
    case Elementary::expm1:
      return map(y, x, n, [](vec<T> v) PYFAST_INLINED { return math::expm1(v); });
    case Elementary::log: return map(y, x, n, [](vec<T> v) PYFAST_INLINED { return math::log(v); });
    case Elementary::log1p:
      return map(y, x, n, [](vec<T> v) PYFAST_INLINED { return math::log1p(v); });
    case Elementary::sqrt:
      return map(y, x, n, [](vec<T> v) PYFAST_INLINED { return math::sqrt(v); });
  }
}

}  // namespace

template <class T>
const ArithmeticKernels<T>& arithmetic_kernels() {
  static constexpr ArithmeticKernels<T> table{&binary<T>, &elementary<T>};
  return table;
}

template const ArithmeticKernels<float>& arithmetic_kernels<float>();
template const ArithmeticKernels<double>& arithmetic_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
