// P and dS of a row of scores and dP. Included by kernel_backward.cpp only; everything here belongs
// to its namespace.
#pragma once

#include "ops/attention/kernel_exponent.h"

namespace pyfast::PYFAST_ISA {
namespace {

inline constexpr Index kMostBlocks = 4;  // of keys that a row's panel meets together

// A row's scores, which become P, and dP, which becomes dS, and the keys of a block they belong
// to; scores are `unit` each in units of log 2.
template <class T>
struct Stretch {
  T *weights, *slopes;
  Keys keys;
  T unit;
  Index j, columns;
  bool plain;
};

template <class T>
class RowSlopes {
 public:
  RowSlopes(const AttentionHead<T>& head, const AttentionUpstream<T>& upstream)
      : head_(head), upstream_(upstream) {}

  // Of row r of a block.
  template <bool masked>
  PYFAST_INLINE void of_block(const Block& b, Index r, Stretch<T> row) {
    if (has_whole_row(b, r)) return of_row<masked>(b.i + r, &row, 1);
    const T top = upstream_.row_max[b.i + r], sum = upstream_.row_sum[b.i + r];
    const vec<T> shift(top == -kInfinity<T> ? T{0} : top), grad_dot(upstream_.grad_dot[b.i + r]);
    const vec<T> share(sum == T{0} ? T{0} : T{1} / sum);  // the query saw nothing: weights of 0
    T keep[kAttentionKeys];
    if (head_.dropout) fill_keep(head_, b.i + r, b.j, b.columns, keep);
    const vec<T> unit(exponent_unit(row.weights, row.keys, row.unit, top));
    for (Index k = row.keys.begin / w * w; k < row.keys.end; k += w) {
      const vec<T> s = fma(vec<T>::load(row.weights + k), unit, -shift);
      const vec<T> weight = exp2(s) * share;
      vec<T> kept = weight, slope = vec<T>::load(row.slopes + k);
      if (head_.dropout) {
        const vec<T> factor = vec<T>::load(keep + k);
        kept *= factor;
        slope *= factor;
      }
      guard<masked>(s, kept).store(row.weights + k);
      guard<masked>(s, weight * (slope - grad_dot)).store(row.slopes + k);
    }
  }

  // Of query i and all its keys, in `count` blocks: P adds up to 1 and dS to 0 but for rounding
  // them once. By the sum of forward's weights and D of the rounded output, rows of a few keys,
  // whose P is near 1 and whose dP is near D, had 1.3 to 5 times PyTorch's error.
  template <bool masked>
  void of_row(Index i, Stretch<T>* row, Index count) {
    alignas(64) T distances[kMostBlocks * kAttentionKeys];
    T keep[kAttentionKeys];
    // body(stretch, key, where it is in `distances`)
    const auto each = [&](auto body) PYFAST_INLINED {
      for (Index n = 0; n < count; ++n)
        for (Index k = row[n].keys.begin / w * w; k < row[n].keys.end; k += w)
          body(row[n], k, distances + n * kAttentionKeys + k);
    };
    const auto mend = [](const Stretch<T>& s, vec<T> exponent, vec<T> x) PYFAST_INLINED {
      return masked && !s.plain ? guard<masked>(exponent, x) : x;
    };
    vec<T> tops(-kInfinity<T>), sums, dots;
    each([&](const Stretch<T>& s, Index k, T*)
             PYFAST_INLINED { tops = max(vec<T>::load(s.weights + k) * vec<T>(s.unit), tops); });
    const T top = backend::reduce_max(tops.v);
    const vec<T> shift(magnitude(top) < kInfinity<T> ? top : T{0});
    for (Index n = 0; n < count; ++n) {
      row[n].unit = exponent_unit(row[n].weights, row[n].keys, row[n].unit, top);
      if (head_.dropout) drop(i, row[n], keep, row[n].slopes);
    }
    each([&](const Stretch<T>& s, Index k, T* distance) PYFAST_INLINED {
      const vec<T> d = fma(vec<T>::load(s.weights + k), vec<T>(s.unit), -shift);
      const vec<T> weight = mend(s, d, exp2(d));
      d.store(distance);
      weight.store(s.weights + k);
      sums += weight;
    });
    const T sum = reduce_add(sums);
    const vec<T> total(sum), share(sum == T{0} ? T{0} : T{1} / sum);
    each([&](const Stretch<T>& s, Index k, T* distance) PYFAST_INLINED {
      const vec<T> d = vec<T>::load(distance), weight = vec<T>::load(s.weights + k);
      const vec<T> near = weight * share;  // exact: weight / total
      const vec<T> exact = mend(s, d, fma(fma(-near, total, weight), share, near));
      exact.store(s.weights + k);
      dots += mend(s, d, exact * vec<T>::load(s.slopes + k));
    });
    const vec<T> dot(reduce_add(dots));
    each([&](const Stretch<T>& s, Index k, T* distance) PYFAST_INLINED {
      const vec<T> weight = vec<T>::load(s.weights + k), slope = vec<T>::load(s.slopes + k) - dot;
      mend(s, vec<T>::load(distance), weight * slope).store(s.slopes + k);
    });
    if (!head_.dropout) return;
    for (Index n = 0; n < count; ++n) drop(i, row[n], keep, row[n].weights);
  }

 private:
  static constexpr Index w = vec<T>::size;

  // Whether the block has all keys that the band leaves query r.
  bool has_whole_row(const Block& b, Index r) const {
    const Index first = most(0, b.i + r - head_.before), last = b.i + r + head_.after;
    return first >= b.j && least(head_.keys - 1, last) < b.j + b.columns;
  }

  // What came out where a mask forbids becomes 0.
  template <bool masked>
  PYFAST_INLINE static vec<T> guard(vec<T> exponent, vec<T> x) {
    return masked ? select(exponent == vec<T>(-kInfinity<T>), vec<T>(), x) : x;
  }

  // x, of query i and some keys, times what dropout leaves of their weights.
  void drop(Index i, const Stretch<T>& row, T* keep, T* x) {
    fill_keep(head_, i, row.j, row.columns, keep);
    for (Index k = row.keys.begin / w * w; k < row.keys.end; k += w)
      (vec<T>::load(x + k) * vec<T>::load(keep + k)).store(x + k);
  }

  const AttentionHead<T>& head_;
  const AttentionUpstream<T>& upstream_;
};

}  // namespace
}  // namespace pyfast::PYFAST_ISA
