// Every second element of two neighbouring registers: what strides of two read.
#pragma once

#include <utility>

#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace backend {

// Lanes first, first + 2, ... of the 2 n lanes of (a, b), `shift` more in the upper half. GCC 11
// knows only __builtin_shuffle.
template <class T, int first, int shift = 0, int... i>
PYFAST_INLINE typename lanes<T>::type every_second(typename lanes<T>::type a,
                                                   typename lanes<T>::type b,
                                                   std::integer_sequence<int, i...>) {
  constexpr int half = static_cast<int>(sizeof...(i)) / 2;
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, (first + 2 * i + (i < half ? 0 : shift))...);
#else
  using word = typename lanes<T>::word;
  typedef word order __attribute__((vector_size(kBytes)));
  return __builtin_shuffle(a, b,
                           order{static_cast<word>(first + 2 * i + (i < half ? 0 : shift))...});
#endif
}

}  // namespace backend

// a[0], a[2], ..., b[0], b[2], ...
template <class T>
PYFAST_INLINE vec<T> even(vec<T> a, vec<T> b) {
  return vec<T>(
      backend::every_second<T, 0>(a.v, b.v, std::make_integer_sequence<int, vec<T>::size>{}));
}

// a[1], a[3], ..., b[1], b[3], ...
template <class T>
PYFAST_INLINE vec<T> odd(vec<T> a, vec<T> b) {
  return vec<T>(
      backend::every_second<T, 1>(a.v, b.v, std::make_integer_sequence<int, vec<T>::size>{}));
}

// The same in whatever order is cheapest, which in_order() puts right: on AVX2, where nothing
// crosses the halves of a register in one instruction, two of three shuffles come once instead of
// each time.
template <class T>
PYFAST_INLINE vec<T> even_unordered(vec<T> a, vec<T> b) {
#if defined(PYFAST_ISA_AVX2)
  if constexpr (sizeof(T) == 4) return vec<T>(_mm256_shuffle_ps(a.v, b.v, 0x88));
#endif
  return even(a, b);
}
template <class T>
PYFAST_INLINE vec<T> odd_unordered(vec<T> a, vec<T> b) {
#if defined(PYFAST_ISA_AVX2)
  if constexpr (sizeof(T) == 4) return vec<T>(_mm256_shuffle_ps(a.v, b.v, 0xdd));
#endif
  return odd(a, b);
}
template <class T>
PYFAST_INLINE vec<T> in_order(vec<T> x) {
#if defined(PYFAST_ISA_AVX2)
  if constexpr (sizeof(T) == 4)
    return vec<T>(_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(x.v), 0xd8)));
#endif
  return x;
}

// a[0], a[2], ..., b[1], b[3], ...
template <class T>
PYFAST_INLINE vec<T> even_odd(vec<T> a, vec<T> b) {
  return vec<T>(
      backend::every_second<T, 0, 1>(a.v, b.v, std::make_integer_sequence<int, vec<T>::size>{}));
}

}  // namespace pyfast::PYFAST_ISA
