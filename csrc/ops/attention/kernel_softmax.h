// Softmax over blocks of keys, by running maximum and sum: shared by forward and decoding.
// Included by this folder's kernel_*.cpp only; everything here belongs to their namespace.
//
// Maximum and shift are kept in units of log 2: the scale goes into the one FMA before exp2, which
// is 9 instructions (see simd/math.h).
#pragma once

#include "ops/attention/kernel_exponent.h"

namespace pyfast::PYFAST_ISA {
namespace {

template <class T>
class RunningSoftmax {
 public:
  static constexpr Index w = vec<T>::size;
  // Elements of scratch for `rows` in all, `panel` of them at a time; both multiples of w.
  static constexpr Index size(Index rows, Index panel) { return rows * (w + 1) + 3 * panel; }

  RunningSoftmax(T* scratch, Index rows, Index panel)
      : sums_(scratch),
        tops_(sums_ + rows * w),
        highest_(tops_ + rows),
        shift_(highest_ + panel),
        factors_(shift_ + panel) {}

  void open(Index rows) {
    fill(sums_, rows * w, T{0});
    fill(tops_, padded<T>(rows), -kInfinity<T>);
  }

  // A block begins: one call of `see` or `see_masked` for each row of the panel that sees keys,
  // then `raise`, then as many of `weigh`.
  void open_block(Index rows) { fill(highest_, padded<T>(rows), -kInfinity<T>); }

  // Row r's scores, `unit` each in units of log 2; n is a multiple of w.
  PYFAST_INLINE void see(Index r, const T* scores, Index n, T unit) {
    highest_[r] = unit * backend::reduce_max(tops(scores, n).v);
  }

  // The same for scores that a mask applies to; they become multiples of log 2 themselves.
  void see_masked(Index r, T* scores, Keys keys, T unit, const MaskRow<T>& mask) {
    highest_[r] = backend::reduce_max(tops_masked(scores, keys, unit, mask).v);
  }

  // What is seen of a row, lane by lane: for whoever puts the lanes of w rows together himself, in
  // `saw`.
  PYFAST_INLINE static vec<T> tops(const T* scores, Index n) {
    vec<T> top(-kInfinity<T>);
    for (Index k = 0; k < n; k += w) top = max(vec<T>::load(scores + k), top);
    return top;  // a NaN is left to its exp
  }
  static vec<T> tops_masked(T* scores, Keys keys, T unit, const MaskRow<T>& mask) {
    vec<T> top(-kInfinity<T>);
    for (Index k = keys.begin / w * w; k < keys.end; k += w) {
      const vec<T> s = mask.apply(vec<T>::load(scores + k), k, unit, static_cast<T>(kLog2e));
      s.store(scores + k);
      top = max(s, top);
    }
    return top;
  }
  PYFAST_INLINE void saw(Index r, vec<T> highest) { highest.store(highest_ + r); }

  // Rows first ... first + rows of all meet the new maximum of the panel's.
  void raise(Index first, Index rows) {
    const vec<T> none(-kInfinity<T>);
    for (Index r = 0; r < rows; r += w) {
      const auto n = static_cast<int>(least(w, rows - r));
      const vec<T> old = vec<T>::load(tops_ + first + r, n), seen = vec<T>::load(highest_ + r);
      // An infinity is left out: as a shift it would make of finite scores what backward takes for
      // forbidden ones.
      const vec<T> top = select(seen < vec<T>(kInfinity<T>), max(seen, old), old);
      // Nothing seen yet: any finite shift makes exp2(-inf - shift) the 0 it should be.
      const vec<T> shift = select(top == none, vec<T>(), top);
      top.store(tops_ + first + r, n);
      shift.store(shift_ + r);
      exp2(old - shift).store(factors_ + r);
    }
  }

  // Scores of the panel's row r become weights relative to its maximum.
  PYFAST_INLINE void weigh(Index first, Index r, T* scores, Keys keys, T unit) {
    const vec<T> scale(exponent_unit(scores, keys, unit, shift_[r])), shift(-shift_[r]);
    vec<T> sum;
    for (Index k = keys.begin / w * w; k < keys.end; k += w) {
      const vec<T> weight = exp2(fma(vec<T>::load(scores + k), scale, shift));
      weight.store(scores + k);
      sum += weight;
    }
    add(first + r, r, sum);
  }

  // To the sums of the task's `row`, the panel's r: those of a block's weights.
  PYFAST_INLINE void add(Index row, Index r, vec<T> sum) {
    T* sums = sums_ + row * w;
    fma(vec<T>::load(sums), vec<T>(factors_[r]), sum).store(sums);
  }

  PYFAST_INLINE T shift(Index r) const { return shift_[r]; }

  // What the panel's older sums and outputs are worth after `raise`.
  const T* factors() const { return factors_; }

  // Hands out the statistics of every row, and what its output is to be multiplied by: 1 / sum, or
  // 0. An infinite sum is that of a score of infinity: all of the row's weights are NaN.
  const T* close(Index rows, const RowStatistics<T>& to) {
    for (Index r = 0; r < rows; ++r)  // sums_[r] belongs to a row that is done with
      sums_[r] = reduce_add(vec<T>::load(sums_ + r * w));
    for (Index r = 0; r < rows; r += w) {
      const auto n = static_cast<int>(least(w, rows - r));
      const vec<T> found = vec<T>::load(sums_ + r, n), zero, sum = fma(found, zero, found);
      vec<T>::load(tops_ + r, n).store(to.max + r, n);
      sum.store(to.sum + r, n);
      select(sum == zero, zero, vec<T>(T{1}) / sum).store(sums_ + r, n);
    }
    return sums_;
  }

 private:
  T *sums_, *tops_;                 // of all rows: a vector, and a number
  T *highest_, *shift_, *factors_;  // of the panel
};

// to (rows x columns, C-ordered) = factors[r] * from, whose rows are ld apart and padded.
template <class T>
void scale_rows(T* to, Index ld_to, Index columns, const T* from, Index ld, Index rows,
                const T* factors) {
  constexpr Index w = vec<T>::size;
  for (Index r = 0; r < rows; ++r, to += ld_to, from += ld) {
    for (Index c = 0; c < columns; c += w) {
      const vec<T> x = vec<T>::load(from + c) * vec<T>(factors[r]);
      const Index n = columns - c;
      n >= w ? x.store(to + c) : x.store(to + c, static_cast<int>(n));
    }
  }
}

}  // namespace
}  // namespace pyfast::PYFAST_ISA
