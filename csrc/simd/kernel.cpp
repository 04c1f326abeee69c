// Every function of simd/math.h over an array, and the checks of vec<T> that need no reference.
#include "simd/kernel.h"

#include "simd/loop.h"
#include "simd/math.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
void evaluate(SimdFunction function, T* y, const T* x, std::int64_t n) {
  switch (function) {
    case SimdFunction::exp: return map(y, x, n, [](vec<T> v) { return exp(v); });
    case SimdFunction::exp2: return map(y, x, n, [](vec<T> v) { return exp2(v); });
    case SimdFunction::expm1: return map(y, x, n, [](vec<T> v) { return expm1(v); });
    case SimdFunction::log: return map(y, x, n, [](vec<T> v) { return log(v); });
    case SimdFunction::log1p: return map(y, x, n, [](vec<T> v) { return log1p(v); });
    case SimdFunction::tanh: return map(y, x, n, [](vec<T> v) { return tanh(v); });
    case SimdFunction::sigmoid: return map(y, x, n, [](vec<T> v) { return sigmoid(v); });
    case SimdFunction::erf: return map(y, x, n, [](vec<T> v) { return erf(v); });
  }
}

// The checks below compare lane by lane with the scalar operation they stand for.

template <class T>
struct sample {
  static constexpr int n = 32;  // whole vectors on every instruction set
  T a[n], b[n];

  sample() {
    const T nan = static_cast<T>(__builtin_nan("")), inf = static_cast<T>(__builtin_inf());
    const T special[8] = {nan, T{0}, -T{0}, inf, -inf, T(2.5), T(-3.5), T(0x1p60)};
    for (int i = 0; i < n; ++i) {
      a[i] = i % 2 ? special[i / 2 % 8] : T(i) * T(0.75) - T(9.5);
      b[i] = i % 3 ? T(12.25) - T(i) : special[i / 3 % 8];
    }
  }
};

template <class T>
bool same(T x, T y) {  // also in the sign of zero; any NaN equals any other
  return x != x ? y != y : x == y && __builtin_signbit(x) == __builtin_signbit(y);
}

// True when vector(a, b) is scalar(a, b) in every lane of the sample.
template <class T, class Vector, class Scalar>
bool agrees(Vector vector, Scalar scalar) {
  const sample<T> s;
  T y[vec<T>::size];
  for (int i = 0; i < sample<T>::n; i += vec<T>::size) {
    vector(vec<T>::load(s.a + i), vec<T>::load(s.b + i)).store(y);
    for (int k = 0; k < vec<T>::size; ++k)
      if (!same(y[k], static_cast<T>(scalar(s.a[i + k], s.b[i + k])))) return false;
  }
  return true;
}

template <class T>
vec<T> as_numbers(mask<T> m) {
  return select(m, vec<T>(T{1}), vec<T>());
}

template <class T>
const char* check_arithmetic() {
  using V = vec<T>;
  if (!agrees<T>([](V a, V b) { return a + b; }, [](T a, T b) { return a + b; })) return "+";
  if (!agrees<T>([](V a, V b) { return a - b; }, [](T a, T b) { return a - b; })) return "-";
  if (!agrees<T>([](V a, V b) { return a * b; }, [](T a, T b) { return a * b; })) return "*";
  if (!agrees<T>([](V a, V b) { return a / b; }, [](T a, T b) { return a / b; })) return "/";
  if (!agrees<T>([](V a, V) { return -a; }, [](T a, T) { return -a; })) return "unary -";
  if (!agrees<T>([](V a, V b) { return fma(a, V(T{2}), b); }, [](T a, T b) { return a * 2 + b; }))
    return "fma";
  if (!agrees<T>([](V a, V) { return sqrt(a); }, [](T a, T) { return __builtin_sqrt(a); }))
    return "sqrt";
  if (!agrees<T>([](V a, V) { return abs(a); }, [](T a, T) { return __builtin_fabs(a); }))
    return "abs";
  if (!agrees<T>([](V a, V b) { return copysign(a, b); },
                 [](T a, T b) { return __builtin_copysign(a, b); }))
    return "copysign";
  return nullptr;
}

template <class T>
const char* check_rounding() {
  using V = vec<T>;
  if (!agrees<T>([](V a, V) { return round(a); }, [](T a, T) { return __builtin_rint(a); }))
    return "round";
  if (!agrees<T>([](V a, V) { return floor(a); }, [](T a, T) { return __builtin_floor(a); }))
    return "floor";
  return nullptr;
}

template <class T>
const char* check_comparisons() {
  using V = vec<T>;
  if (!agrees<T>([](V a, V b) { return as_numbers(a < b); }, [](T a, T b) { return a < b; }))
    return "<";
  if (!agrees<T>([](V a, V b) { return as_numbers(a <= b); }, [](T a, T b) { return a <= b; }))
    return "<=";
  if (!agrees<T>([](V a, V b) { return as_numbers(a > b); }, [](T a, T b) { return a > b; }))
    return ">";
  if (!agrees<T>([](V a, V b) { return as_numbers(a >= b); }, [](T a, T b) { return a >= b; }))
    return ">=";
  if (!agrees<T>([](V a, V b) { return as_numbers(a == b); }, [](T a, T b) { return a == b; }))
    return "==";
  if (!agrees<T>([](V a, V b) { return as_numbers(a != b); }, [](T a, T b) { return a != b; }))
    return "!=";
  if (!agrees<T>([](V a, V) { return as_numbers(isnan(a)); }, [](T a, T) { return a != a; }))
    return "isnan";
  return nullptr;
}

template <class T>
const char* check_minmax() {
  using V = vec<T>;
  if (!agrees<T>([](V a, V b) { return min(a, b); }, [](T a, T b) { return a < b ? a : b; }))
    return "min";
  if (!agrees<T>([](V a, V b) { return max(a, b); }, [](T a, T b) { return a > b ? a : b; }))
    return "max";
  // the sign of a zero is the instruction set's choice here: + 0 takes it away
  if (!agrees<T>([](V a, V b) { return min_nan(a, b) + V(); },
                 [](T a, T b) { return (a != a || a < b ? a : b) + 0; }))
    return "min_nan";
  if (!agrees<T>([](V a, V b) { return max_nan(a, b) + V(); },
                 [](T a, T b) { return (a != a || a > b ? a : b) + 0; }))
    return "max_nan";
  return nullptr;
}

template <class T>
const char* check_masks() {
  constexpr int w = vec<T>::size;
  for (int n = 0; n <= w; ++n) {
    std::uint8_t bytes[w] = {};
    for (int i = 0; i < n; ++i) bytes[i] = static_cast<std::uint8_t>(i % 2 ? 0x80 : 1);
    const mask<T> head = mask<T>::first(n);
    if (reduce_add(as_numbers(head)) != T(n)) return "mask::first";
    if (head.any() != (n > 0) || head.all() != (n == w)) return "mask::any, all";
    if ((head & ~head).any() || !(head | ~head).all()) return "mask operators";
    if (reduce_add(as_numbers(mask<T>::load(bytes))) != T(n)) return "mask::load";
    if (reduce_add(as_numbers(mask<T>::load(bytes, n))) != T(n)) return "mask::load(n)";
  }
  return nullptr;
}

template <class T>
const char* check_edges() {
  constexpr int w = vec<T>::size;
  T x[2 * w], y[2 * w];
  for (int i = 0; i < 2 * w; ++i) x[i] = T(i + 1);
  for (int n = 0; n <= w; ++n) {
    for (int i = 0; i < 2 * w; ++i) y[i] = T{-1};
    vec<T>::load(x + 1, n, T{7}).store(y);
    for (int i = 0; i < w; ++i)
      if (y[i] != (i < n ? x[i + 1] : T{7})) return "load(n, fill)";
    for (int i = 0; i < 2 * w; ++i) y[i] = T{-1};
    vec<T>::load(x).store(y + 1, n);
    for (int i = 0; i < 2 * w; ++i)
      if (y[i] != (i >= 1 && i <= n ? x[i - 1] : T{-1})) return "store(n)";
  }
  vec<T>::load_strided(x + 2 * w - 1, -2).store(y);
  for (int i = 0; i < w; ++i)
    if (y[i] != x[2 * w - 1 - 2 * i]) return "load_strided";
  return nullptr;
}

template <class T>
const char* check_reductions() {
  constexpr int w = vec<T>::size;
  T x[w];
  for (int at = 0; at < w; ++at) {  // the extreme value, or a NaN, in each lane in turn
    for (int i = 0; i < w; ++i) x[i] = T(i % 3);
    T sum = T{0};
    for (int i = 0; i < w; ++i) sum += x[i] = i == at ? T{-5} : x[i];
    if (reduce_min(vec<T>::load(x)) != T{-5}) return "reduce_min";
    if (reduce_max(-vec<T>::load(x)) != T{5}) return "reduce_max";
    if (reduce_add(vec<T>::load(x)) != sum) return "reduce_add";
    x[at] = static_cast<T>(__builtin_nan(""));
    if (!same(reduce_min(vec<T>::load(x)), x[at])) return "reduce_min of NaN";
    if (!same(reduce_max(vec<T>::load(x)), x[at])) return "reduce_max of NaN";
  }
  return nullptr;
}

const char* check_widening() {
  constexpr int w = vec<double>::size;
  float x[2 * w];
  double low[w], high[w];
  for (int i = 0; i < 2 * w; ++i) x[i] = 0.1f * static_cast<float>(i + 1);
  widen_low(vec<float>::load(x)).store(low);
  widen_high(vec<float>::load(x)).store(high);
  for (int i = 0; i < w; ++i)
    if (low[i] != double{x[i]} || high[i] != double{x[i + w]}) return "widen";
  float y[2 * w];
  narrow(vec<double>::load(low), vec<double>::load(high)).store(y);
  for (int i = 0; i < 2 * w; ++i)
    if (y[i] != x[i]) return "narrow";
  return nullptr;
}

template <class T>
const char* selftest() {
  using Check = const char* (*)();
  constexpr Check checks[] = {&check_arithmetic<T>, &check_rounding<T>, &check_comparisons<T>,
                              &check_minmax<T>,     &check_masks<T>,    &check_edges<T>,
                              &check_reductions<T>, &check_widening};
  for (const Check check : checks)
    if (const char* failure = check()) return failure;
  return nullptr;
}

}  // namespace

template <class T>
const SimdKernels<T>& simd_kernels() {
  static constexpr SimdKernels<T> table{&evaluate<T>, &selftest<T>};
  return table;
}

template const SimdKernels<float>& simd_kernels<float>();
template const SimdKernels<double>& simd_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
