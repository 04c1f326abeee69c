// 16 bytes in the compilers' own vector type: SSE2 on x86-64, plain code where there is nothing.
#pragma once

namespace pyfast::PYFAST_ISA::backend {

inline constexpr int kBytes = 16;

typedef float f32 __attribute__((vector_size(kBytes)));
typedef double f64 __attribute__((vector_size(kBytes)));
typedef std::int32_t m32 __attribute__((vector_size(kBytes)));
typedef std::int64_t m64 __attribute__((vector_size(kBytes)));

template <class T>
struct lanes;
template <>
struct lanes<float> {
  using type = f32;
  using mask = m32;
  using word = std::uint32_t;
};
template <>
struct lanes<double> {
  using type = f64;
  using mask = m64;
  using word = std::uint64_t;
};

PYFAST_INLINE f32 broadcast(float x) { return f32{x, x, x, x}; }
PYFAST_INLINE f64 broadcast(double x) { return f64{x, x}; }

template <class T>
PYFAST_INLINE typename lanes<T>::mask first(int n) {
  if constexpr (sizeof(T) == 4)
    return m32{0, 1, 2, 3} < m32{n, n, n, n};
  else
    return m64{0, 1} < m64{n, n};
}

template <class T>
PYFAST_INLINE typename lanes<T>::mask load_mask(const std::uint8_t* p) {
  if constexpr (sizeof(T) == 4)
    return m32{p[0], p[1], p[2], p[3]} != m32{};
  else
    return m64{p[0], p[1]} != m64{};
}

template <class T>
PYFAST_INLINE bool any(typename lanes<T>::mask m) {
  const m64 halves = __builtin_bit_cast(m64, m);
  return (halves[0] | halves[1]) != 0;
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_and(typename lanes<T>::mask a,
                                               typename lanes<T>::mask b) {
  return a & b;
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_or(typename lanes<T>::mask a,
                                              typename lanes<T>::mask b) {
  return a | b;
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_not(typename lanes<T>::mask a) {
  return ~a;
}

PYFAST_INLINE m32 less(f32 a, f32 b) { return a < b; }
PYFAST_INLINE m64 less(f64 a, f64 b) { return a < b; }
PYFAST_INLINE m32 less_equal(f32 a, f32 b) { return a <= b; }
PYFAST_INLINE m64 less_equal(f64 a, f64 b) { return a <= b; }
PYFAST_INLINE m32 equal(f32 a, f32 b) { return a == b; }
PYFAST_INLINE m64 equal(f64 a, f64 b) { return a == b; }

// Not by & and |: GCC 11 crashes on what it makes of those.
PYFAST_INLINE f32 select(m32 m, f32 yes, f32 no) { return m ? yes : no; }
PYFAST_INLINE f64 select(m64 m, f64 yes, f64 no) { return m ? yes : no; }
PYFAST_INLINE f32 clear(m32 m, f32 x) { return m ? f32{} : x; }
PYFAST_INLINE f64 clear(m64 m, f64 x) { return m ? f64{} : x; }

PYFAST_INLINE f32 load_first(const float* p, int n, float fill) {
  f32 x = broadcast(fill);
  for (int i = 0; i < 4; ++i)
    if (i < n) x[i] = p[i];
  return x;
}
PYFAST_INLINE f64 load_first(const double* p, int n, double fill) {
  f64 x = broadcast(fill);
  for (int i = 0; i < 2; ++i)
    if (i < n) x[i] = p[i];
  return x;
}
PYFAST_INLINE void store_first(float* p, f32 v, int n) {
  for (int i = 0; i < 4; ++i)
    if (i < n) p[i] = v[i];
}
PYFAST_INLINE void store_first(double* p, f64 v, int n) {
  for (int i = 0; i < 2; ++i)
    if (i < n) p[i] = v[i];
}

PYFAST_INLINE f32 fma(f32 a, f32 b, f32 c) { return a * b + c; }
PYFAST_INLINE f64 fma(f64 a, f64 b, f64 c) { return a * b + c; }

PYFAST_INLINE f32 min(f32 a, f32 b) { return select(a < b, a, b); }
PYFAST_INLINE f64 min(f64 a, f64 b) { return select(a < b, a, b); }
PYFAST_INLINE f32 max(f32 a, f32 b) { return select(a > b, a, b); }
PYFAST_INLINE f64 max(f64 a, f64 b) { return select(a > b, a, b); }
PYFAST_INLINE f32 min_nan(f32 a, f32 b) { return select((a < b) | (a != a), a, b); }
PYFAST_INLINE f64 min_nan(f64 a, f64 b) { return select((a < b) | (a != a), a, b); }
PYFAST_INLINE f32 max_nan(f32 a, f32 b) { return select((a > b) | (a != a), a, b); }
PYFAST_INLINE f64 max_nan(f64 a, f64 b) { return select((a > b) | (a != a), a, b); }

PYFAST_INLINE f32 sqrt(f32 x) {
  for (int i = 0; i < 4; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
}
PYFAST_INLINE f64 sqrt(f64 x) {
  for (int i = 0; i < 2; ++i) x[i] = __builtin_sqrt(x[i]);
  return x;
}

// Adding and taking away 2^(mantissa bits) leaves no room for a fraction. Larger numbers have none;
// the sign is put back for -0.
PYFAST_INLINE f32 round(f32 x) {
  const m32 sign = __builtin_bit_cast(m32, x) & __builtin_bit_cast(m32, broadcast(-0.0f));
  const f32 magnitude = __builtin_bit_cast(f32, __builtin_bit_cast(m32, x) ^ sign);
  const f32 big = broadcast(0x1p23f), y = magnitude + big - big;
  return select(magnitude < big, __builtin_bit_cast(f32, __builtin_bit_cast(m32, y) | sign), x);
}
PYFAST_INLINE f64 round(f64 x) {
  const m64 sign = __builtin_bit_cast(m64, x) & __builtin_bit_cast(m64, broadcast(-0.0));
  const f64 magnitude = __builtin_bit_cast(f64, __builtin_bit_cast(m64, x) ^ sign);
  const f64 big = broadcast(0x1p52), y = magnitude + big - big;
  return select(magnitude < big, __builtin_bit_cast(f64, __builtin_bit_cast(m64, y) | sign), x);
}
PYFAST_INLINE f32 floor(f32 x) {
  const f32 y = round(x);
  return select(y > x, y - broadcast(1.0f), y);
}
PYFAST_INLINE f64 floor(f64 x) {
  const f64 y = round(x);
  return select(y > x, y - broadcast(1.0), y);
}

PYFAST_INLINE float reduce_add(f32 x) { return (x[0] + x[2]) + (x[1] + x[3]); }
PYFAST_INLINE double reduce_add(f64 x) { return x[0] + x[1]; }
PYFAST_INLINE float reduce_max(f32 x) {
  const float low = x[0] > x[2] ? x[0] : x[2], high = x[1] > x[3] ? x[1] : x[3];
  return low > high ? low : high;
}
PYFAST_INLINE double reduce_max(f64 x) { return x[0] > x[1] ? x[0] : x[1]; }

PYFAST_INLINE f64 widen_low(f32 x) { return f64{x[0], x[1]}; }
PYFAST_INLINE f64 widen_high(f32 x) { return f64{x[2], x[3]}; }
PYFAST_INLINE f32 narrow(f64 low, f64 high) {
  return f32{static_cast<float>(low[0]), static_cast<float>(low[1]), static_cast<float>(high[0]),
             static_cast<float>(high[1])};
}

}  // namespace pyfast::PYFAST_ISA::backend
