// vec<T>: one SIMD register of float or double, and mask<T>, what comparing two of them gives.
//
// Included only by kernel*.cpp, which CMake compiles once per instruction set with PYFAST_ISA (the
// namespace) and PYFAST_ISA_<NAME> (the backend) defined. Everything is force-inlined and lives in
// that namespace, so that no two instruction sets share a symbol.
//
//   for (i = 0; i + vec<T>::size <= n; i += vec<T>::size)
//     fma(vec<T>::load(x + i), scale, shift).store(y + i);
//   vec<T>::load(x + i, n - i) ... .store(y + i, n - i)   // the tail: nothing beyond n is touched
#pragma once

#include <cstdint>

#define PYFAST_INLINE __attribute__((always_inline)) inline
#define PYFAST_INLINED __attribute__((always_inline))  // of lambdas: behind their parameters

#if defined(PYFAST_ISA_AVX512)
#include "simd/vec_avx512.h"
#elif defined(PYFAST_ISA_AVX2)
#include "simd/vec_avx2.h"
#elif defined(PYFAST_ISA_NEON)
#include "simd/vec_neon.h"
#else
#include "simd/vec_generic.h"
#endif

namespace pyfast::PYFAST_ISA {

template <class T>
struct mask {
  typename backend::lanes<T>::mask m;

  PYFAST_INLINE explicit mask(typename backend::lanes<T>::mask native) : m(native) {}
  // True in the first n lanes, 0 <= n <= vec<T>::size.
  static PYFAST_INLINE mask first(int n) { return mask(backend::first<T>(n)); }
  // True where the byte is not zero: a row of a boolean array, whole or its first n lanes.
  static PYFAST_INLINE mask load(const std::uint8_t* p) { return mask(backend::load_mask<T>(p)); }
  static PYFAST_INLINE mask load(const std::uint8_t* p, int n) {
    std::uint8_t bytes[backend::kBytes / sizeof(T)] = {};
    for (int i = 0; i < n; ++i) bytes[i] = p[i];
    return load(bytes);
  }
  PYFAST_INLINE bool any() const { return backend::any<T>(m); }
  PYFAST_INLINE bool all() const { return !backend::any<T>(backend::mask_not<T>(m)); }

  friend PYFAST_INLINE mask operator&(mask a, mask b) {
    return mask(backend::mask_and<T>(a.m, b.m));
  }
  friend PYFAST_INLINE mask operator|(mask a, mask b) {
    return mask(backend::mask_or<T>(a.m, b.m));
  }
  friend PYFAST_INLINE mask operator~(mask a) { return mask(backend::mask_not<T>(a.m)); }
};

template <class T>
struct vec {
  using native = typename backend::lanes<T>::type;
  static constexpr int size = backend::kBytes / static_cast<int>(sizeof(T));

  native v;

  PYFAST_INLINE vec() : v{} {}  // zeros
  PYFAST_INLINE explicit vec(T x) : v(backend::broadcast(x)) {}
  PYFAST_INLINE explicit vec(native x) : v(x) {}

  static PYFAST_INLINE vec load(const T* p) {  // any alignment
    vec x;
    __builtin_memcpy(&x.v, p, sizeof x.v);
    return x;
  }
  // The first n lanes, 0 <= n <= size, and `fill` in the rest; reads nothing beyond p + n.
  static PYFAST_INLINE vec load(const T* p, int n, T fill = T{0}) {
    return vec(backend::load_first(p, n, fill));
  }
  // p[0], p[stride], p[2 stride], ...
  static PYFAST_INLINE vec load_strided(const T* p, std::int64_t stride) {
    T x[size];
    for (int i = 0; i < size; ++i) x[i] = p[i * stride];
    return load(x);
  }
  PYFAST_INLINE void store(T* p) const { __builtin_memcpy(p, &v, sizeof v); }
  PYFAST_INLINE void store(T* p, int n) const { backend::store_first(p, v, n); }

  PYFAST_INLINE vec operator-() const { return vec(-v); }
  PYFAST_INLINE vec& operator+=(vec b) { return *this = *this + b; }
  PYFAST_INLINE vec& operator-=(vec b) { return *this = *this - b; }
  PYFAST_INLINE vec& operator*=(vec b) { return *this = *this * b; }
  PYFAST_INLINE vec& operator/=(vec b) { return *this = *this / b; }

  friend PYFAST_INLINE vec operator+(vec a, vec b) { return vec(a.v + b.v); }
  friend PYFAST_INLINE vec operator-(vec a, vec b) { return vec(a.v - b.v); }
  friend PYFAST_INLINE vec operator*(vec a, vec b) { return vec(a.v * b.v); }
  friend PYFAST_INLINE vec operator/(vec a, vec b) { return vec(a.v / b.v); }

  // False where either side is NaN, except !=.
  friend PYFAST_INLINE mask<T> operator<(vec a, vec b) { return mask<T>(backend::less(a.v, b.v)); }
  friend PYFAST_INLINE mask<T> operator<=(vec a, vec b) {
    return mask<T>(backend::less_equal(a.v, b.v));
  }
  friend PYFAST_INLINE mask<T> operator>(vec a, vec b) { return b < a; }
  friend PYFAST_INLINE mask<T> operator>=(vec a, vec b) { return b <= a; }
  friend PYFAST_INLINE mask<T> operator==(vec a, vec b) {
    return mask<T>(backend::equal(a.v, b.v));
  }
  friend PYFAST_INLINE mask<T> operator!=(vec a, vec b) { return ~(a == b); }
};

template <class T>
PYFAST_INLINE vec<T> select(mask<T> m, vec<T> yes, vec<T> no) {
  return vec<T>(backend::select(m.m, yes.v, no.v));
}
#if !defined(PYFAST_ISA_AVX512)
template <class T>
PYFAST_INLINE vec<T> clear(mask<T> m, vec<T> x) {  // 0 where the mask says so
  return vec<T>(backend::clear(m.m, x.v));
}
#endif

// a b + c, rounded once where the instruction set has it (all but the scalar baseline).
template <class T>
PYFAST_INLINE vec<T> fma(vec<T> a, vec<T> b, vec<T> c) {
  return vec<T>(backend::fma(a.v, b.v, c.v));
}

// a < b ? a : b and a > b ? a : b: b where either is NaN, so a NaN in b survives.
template <class T>
PYFAST_INLINE vec<T> min(vec<T> a, vec<T> b) {
  return vec<T>(backend::min(a.v, b.v));
}
template <class T>
PYFAST_INLINE vec<T> max(vec<T> a, vec<T> b) {
  return vec<T>(backend::max(a.v, b.v));
}

// NaN where either is NaN.
template <class T>
PYFAST_INLINE vec<T> min_nan(vec<T> a, vec<T> b) {
  return vec<T>(backend::min_nan(a.v, b.v));
}
template <class T>
PYFAST_INLINE vec<T> max_nan(vec<T> a, vec<T> b) {
  return vec<T>(backend::max_nan(a.v, b.v));
}

template <class T>
PYFAST_INLINE vec<T> sqrt(vec<T> x) {
  return vec<T>(backend::sqrt(x.v));
}
template <class T>
PYFAST_INLINE vec<T> round(vec<T> x) {  // to the nearest integer, ties to even
  return vec<T>(backend::round(x.v));
}
template <class T>
PYFAST_INLINE vec<T> floor(vec<T> x) {
  return vec<T>(backend::floor(x.v));
}

template <class T>
PYFAST_INLINE mask<T> isnan(vec<T> x) {
  return x != x;
}

// The lanes as unsigned integers, for bit tricks.
template <class T>
struct bits {
  using word = typename backend::lanes<T>::word;
  typedef word native __attribute__((vector_size(backend::kBytes)));
  static constexpr int kMantissa = sizeof(T) == 4 ? 23 : 52;
  static constexpr int kBias = sizeof(T) == 4 ? 127 : 1023;
  static constexpr word kSign = word{1} << (sizeof(T) * 8 - 1);

  static PYFAST_INLINE native of(vec<T> x) { return __builtin_bit_cast(native, x.v); }
  static PYFAST_INLINE vec<T> to(native b) {
    return vec<T>(__builtin_bit_cast(typename vec<T>::native, b));
  }
};

template <class T>
PYFAST_INLINE vec<T> abs(vec<T> x) {
  return bits<T>::to(bits<T>::of(x) & ~bits<T>::kSign);
}
template <class T>
PYFAST_INLINE vec<T> copysign(vec<T> magnitude, vec<T> sign) {
  using b = bits<T>;
  return b::to((b::of(magnitude) & ~b::kSign) | (b::of(sign) & b::kSign));
}

// Over the lanes, pairing the halves: a fixed order. A NaN in any lane gives NaN.
template <class T>
PYFAST_INLINE T reduce_add(vec<T> x) {
  return backend::reduce_add(x.v);
}
template <class T>
PYFAST_INLINE T reduce_max(vec<T> x) {
  return isnan(x).any() ? static_cast<T>(__builtin_nan("")) : backend::reduce_max(x.v);
}
template <class T>
PYFAST_INLINE T reduce_min(vec<T> x) {
  return -reduce_max(-x);
}

// Between one vec<float> and the two vec<double> that hold its lower and upper lanes.
PYFAST_INLINE vec<double> widen_low(vec<float> x) { return vec<double>(backend::widen_low(x.v)); }
PYFAST_INLINE vec<double> widen_high(vec<float> x) { return vec<double>(backend::widen_high(x.v)); }
PYFAST_INLINE vec<float> narrow(vec<double> low, vec<double> high) {
  return vec<float>(backend::narrow(low.v, high.v));
}

}  // namespace pyfast::PYFAST_ISA
