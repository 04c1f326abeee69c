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

// a[0], a[2], ..., b[1], b[3], ...
template <class T>
PYFAST_INLINE vec<T> even_odd(vec<T> a, vec<T> b) {
  return vec<T>(
      backend::every_second<T, 0, 1>(a.v, b.v, std::make_integer_sequence<int, vec<T>::size>{}));
}

}  // namespace pyfast::PYFAST_ISA
