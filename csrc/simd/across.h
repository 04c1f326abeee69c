// Short rows: as many of them as a vector has lanes are reduced together, one row a lane, so that
// what is computed per row (a division, a root, a logarithm) is computed for all of them at once.
#pragma once

#include "simd/loop.h"
#include "simd/quads.h"

namespace pyfast::PYFAST_ISA {

// Vectors of a row that counts as short.
inline constexpr int kShortRow = 8;

// body.template operator()<V>() with the number of vectors in a row of n values.
template <class T, class Body>
PYFAST_INLINE void with_vectors(std::int64_t n, Body body) {
  switch ((n + vec<T>::size - 1) / vec<T>::size) {
    case 0:
    case 1: return body.template operator()<1>();
    case 2: return body.template operator()<2>();
    case 3: return body.template operator()<3>();
    case 4: return body.template operator()<4>();
    case 5: return body.template operator()<5>();
    case 6: return body.template operator()<6>();
    case 7: return body.template operator()<7>();
    default: return body.template operator()<8>();
  }
}

// A vector for each of w rows, w = vec<T>::size.
template <class T>
class PerRow {
 public:
  static constexpr int w = vec<T>::size;

  PYFAST_INLINE void set(int row, vec<T> v) { v.store(lanes_ + row * w); }
  // Lane r: row r's lanes combined. Rows from `rows` on: the last one again.
  template <class Op>
  PYFAST_INLINE vec<T> reduce(int rows, Op op) const {
    vec<T> all;
    over_quads(rows, op,
               [&](int at, vec<T> quad) PYFAST_INLINED { all = at == 0 ? quad : op(all, quad); });
    return all;
  }
  // Their sums: of four lanes in T, the rest in double, as rows as short have few roundings else.
  PYFAST_INLINE void sum(int rows, vec<double>& low, vec<double>& high) const {
    over_quads(
        rows, [](vec<T> a, vec<T> b) PYFAST_INLINED { return a + b; },
        [&](int, vec<T> quad) PYFAST_INLINED {
          if constexpr (sizeof(T) == 4) {
            low += widen_low(quad);
            high += widen_high(quad);
          } else {
            low += quad;
          }
        });
  }
  PYFAST_INLINE vec<T> sum(int rows) const {
    vec<double> low, high;
    sum(rows, low, high);
    if constexpr (sizeof(T) == 4)
      return narrow(low, high);
    else
      return low;
  }
  PYFAST_INLINE void sum_to(int rows, double* to) const {
    vec<double> low, high;
    sum(rows, low, high);
    low.store(to);
    if (sizeof(T) == 4) high.store(to + vec<double>::size);
  }

 private:
  // use(at, lanes at, at + 1, ... combined) for every quad of lanes.
  template <class Op, class Use>
  PYFAST_INLINE void over_quads(int rows, Op op, Use use) const {
    const T* row[w];
    for (int r = 0; r < w; ++r) row[r] = lanes_ + (r < rows ? r : rows - 1) * w;
#pragma GCC unroll 8
    for (int at = 0; at < w; at += kQuad<T>) {
      vec<T> turned[kQuad<T>];
      load_turned(turned, row, at);
      if constexpr (kQuad<T> == 2)
        use(at, op(turned[0], turned[1]));
      else
        use(at, op(op(turned[0], turned[1]), op(turned[2], turned[3])));
    }
  }

  T lanes_[w * w];
};

// Lanes of vector k of a row of n values in V vectors.
template <class T, int V>
PYFAST_INLINE int lanes_of(int k, std::int64_t n) {
  return k + 1 < V ? vec<T>::size : static_cast<int>(n - (V - 1) * vec<T>::size);
}

}  // namespace pyfast::PYFAST_ISA
