// Lanes of two neighbouring registers: slid along, or taken in turn.
#pragma once

#include <utility>

#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace backend {

// Those lanes of the 2 n of (a, b). GCC 11 knows only __builtin_shuffle.
template <class T, int... lane>
PYFAST_INLINE typename lanes<T>::type pick(typename lanes<T>::type a, typename lanes<T>::type b) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, lane...);
#else
  using word = typename lanes<T>::word;
  typedef word order __attribute__((vector_size(kBytes)));
  return __builtin_shuffle(a, b, order{static_cast<word>(lane)...});
#endif
}

template <class T, int first, int... i>
PYFAST_INLINE typename lanes<T>::type slide(typename lanes<T>::type a, typename lanes<T>::type b,
                                            std::integer_sequence<int, i...>) {
  return pick<T, (first + i)...>(a, b);
}

template <class T, int first, int... i>
PYFAST_INLINE typename lanes<T>::type zip(typename lanes<T>::type a, typename lanes<T>::type b,
                                          std::integer_sequence<int, i...>) {
  constexpr int size = static_cast<int>(sizeof...(i));
  return pick<T, (first + i / 2 + i % 2 * size)...>(a, b);
}

}  // namespace backend

// a[n], a[n + 1], ..., b[0], ..., b[n - 1]
template <int n, class T>
PYFAST_INLINE vec<T> slide(vec<T> a, vec<T> b) {
  return vec<T>(backend::slide<T, n>(a.v, b.v, std::make_integer_sequence<int, vec<T>::size>{}));
}

// a[0], b[0], a[1], b[1], ...: the first of the two registers they fill, and the second.
template <class T>
PYFAST_INLINE vec<T> zip_low(vec<T> a, vec<T> b) {
  return vec<T>(backend::zip<T, 0>(a.v, b.v, std::make_integer_sequence<int, vec<T>::size>{}));
}
template <class T>
PYFAST_INLINE vec<T> zip_high(vec<T> a, vec<T> b) {
  return vec<T>(
      backend::zip<T, vec<T>::size / 2>(a.v, b.v, std::make_integer_sequence<int, vec<T>::size>{}));
}

}  // namespace pyfast::PYFAST_ISA
