// Maxima along the width and where they are: a vector of outputs at a time, tap by tap. Windows of
// two or three columns get their taps from registers, other inner ones load them with a stride;
// windows at the border and adaptive ones are walked one by one.
#include "ops/pool/kernel_best.h"
#include "simd/deinterleave.h"

namespace pyfast::PYFAST_ISA {

namespace {

// One row of outputs: what is known once for all of them.
template <class T, class Where>
struct ArgmaxRow {
  PoolRow<T> row;
  const PoolAxis &rows, &cols;
  int64_t o;
  PoolNumbering numbering;

  PYFAST_INLINE ArgmaxRow(const PoolPlane<T>& plane, int64_t output)
      : row(plane, output),
        rows(*plane.rows),
        cols(*plane.cols),
        o(output),
        numbering(Where::numbering(rows, cols)) {}
  PYFAST_INLINE int64_t number(int64_t r, int64_t k) const {
    return (row.skipped + r) * numbering.row_step + k * numbering.col_step;
  }
  PYFAST_INLINE int64_t first(int64_t column) const { return Where::first(rows, cols, o, column); }
};

// ---- windows of two or three columns ----

// Shows a vector of outputs the taps of one row; first and second are its next columns.
template <class T, int K, int S>
struct RowTaps {
  Columns<T, Max<T>> columns;
  PYFAST_INLINE void show(Best<T>& best, int64_t c, T number, T step) const {
    constexpr int w = vec<T>::size;
    const vec<T> first = columns(c), second = columns(c + w);
    if constexpr (S == 1) {
      best.see(first, number);
      best.see(slide<1>(first, second), number + step);
      if constexpr (K == 3) best.see(slide<2>(first, second), number + 2 * step);
    } else {
      const vec<T> evens = even(first, second);
      best.see(evens, number);
      best.see(odd(first, second), number + step);
      if constexpr (K == 3) {
        const vec<T> third = columns(c + 2 * w);
        best.see(slide<1>(evens, even(third, third)), number + 2 * step);
      }
    }
  }
};

template <class T, class Where, int K, int S>
PYFAST_INLINE void small_argmax_row(T* y, typename Where::Index* index,
                                    const ArgmaxRow<T, Where>& at) {
  constexpr int w = vec<T>::size;
  const PoolAxis& a = at.cols;
  const T step = static_cast<T>(at.numbering.col_step);
  for (int64_t o = 0; o < a.out; o += w) {
    const int n = static_cast<int>(least(w, a.out - o));
    // Where all is -inf, the first tap in the image counts.
    const vec<T> top(static_cast<T>(at.number(0, 0)));
    const mask<T> border = mask<T>::first(o == 0 ? static_cast<int>(a.padding) : 0);
    Best<T> best(select(border, top + vec<T>(step), top));
    for (int64_t r = 0; r < at.row.rows; ++r) {
      const RowTaps<T, K, S> taps{{at.row.x + r * at.row.row_step, 1, 0, a.in}};
      taps.show(best, o * S - a.padding, static_cast<T>(at.number(r, 0)), step);
    }
    store(best.value, y + o, n);
    Where::store(index + o, best.tap, at.first(o), S, n);
  }
}

// ---- others ----

template <class T, class Where>
void argmax_window(T* y, typename Where::Index* index, const ArgmaxRow<T, Where>& at, int64_t o) {
  const PoolWindow window = window_at(at.cols, o);
  const int64_t dilation = at.cols.dilation;
  const int64_t skipped =
      at.cols.adaptive ? 0 : (window.first - (o * at.cols.stride - at.cols.padding)) / dilation;
  T best = Max<T>::identity;
  int64_t where = at.number(0, skipped);
  for (int64_t r = 0; r < at.row.rows; ++r) {
    const T* x = at.row.x + r * at.row.row_step + window.first;
    for (int64_t k = 0; k < window.count; ++k) {
      const T v = x[k * dilation];
      if (v > best || v != v) {
        best = v;
        where = at.number(r, skipped + k);
      }
    }
  }
  *y = best;
  *index = static_cast<typename Where::Index>(at.first(o) + where);
}

// x[0], x[stride], ...: n of them, reading nothing beyond the last
template <class T>
PYFAST_INLINE vec<T> load_outputs(const T* x, int64_t stride, int n) {
  constexpr int w = vec<T>::size;
  if (stride == 1) return load(x, n);
  if (stride == 2) {
    const int last = 2 * n - 1;
    if (last < w) return even(vec<T>::load(x, last), vec<T>());
    return even(vec<T>::load(x), vec<T>::load(x + w, last - w));
  }
  if (n == w) return vec<T>::load_strided(x, stride);
  T lanes[w] = {};
  for (int i = 0; i < n; ++i) lanes[i] = x[i * stride];
  return vec<T>::load(lanes);
}

// n <= size inner outputs from o on
template <class T, class Where>
PYFAST_INLINE void argmax_vector(T* y, typename Where::Index* index, const ArgmaxRow<T, Where>& at,
                                 int64_t o, int n) {
  const PoolAxis& a = at.cols;
  const int64_t column = o * a.stride - a.padding;
  Best<T> best(vec<T>(static_cast<T>(at.number(0, 0))));
  for (int64_t r = 0; r < at.row.rows; ++r)
    for (int64_t k = 0; k < a.kernel; ++k)
      best.see(load_outputs(at.row.x + r * at.row.row_step + column + k * a.dilation, a.stride, n),
               static_cast<T>(at.number(r, k)));
  store(best.value, y + o, n);
  Where::store(index + o, best.tap, at.first(o), a.stride, n);
}

// Whether a lane carries the numbers of this row's taps exactly.
template <class T, class Where>
bool exact(const ArgmaxRow<T, Where>& at) {
  return at.row.rows * at.numbering.row_step + at.cols.in < kExact;
}

template <class T, class Where>
void argmax_row(T* y, typename Where::Index* index, const ArgmaxRow<T, Where>& at) {
  constexpr int w = vec<T>::size;
  const PoolAxis& a = at.cols;
  const bool vectors = exact(at);
  const int64_t begin = vectors ? a.inner_begin : 0, end = vectors ? a.inner_end : 0;
  for (int64_t o = 0; o < begin; ++o) argmax_window(y + o, index + o, at, o);
  int64_t o = begin;
  for (; o + w <= end; o += w) argmax_vector(y, index, at, o, w);
  if (o < end) argmax_vector(y, index, at, o, static_cast<int>(end - o));
  for (o = end; o < a.out; ++o) argmax_window(y + o, index + o, at, o);
}

template <class T, class Where>
void argmax_rows(T* y, typename Where::Index* index, const PoolPlane<T>& plane, int64_t begin,
                 int64_t end) {
  const int64_t out = plane.cols->out;
  const bool fits =
      plane.rows->kernel * Where::numbering(*plane.rows, *plane.cols).row_step + plane.cols->in <
      kExact;
  const bool small = fits && with_small_windows(*plane.cols, [&]<int K, int S>() PYFAST_INLINED {
                       for (int64_t o = begin; o < end; ++o)
                         small_argmax_row<T, Where, K, S>(y + o * out, index + o * out,
                                                          ArgmaxRow<T, Where>(plane, o));
                     });
  if (small) return;
  for (int64_t o = begin; o < end; ++o)
    argmax_row(y + o * out, index + o * out, ArgmaxRow<T, Where>(plane, o));
}

}  // namespace

template <class T>
const PoolArgmaxKernels<T>& pool_argmax_kernels() {
  static constexpr PoolArgmaxKernels<T> table{&argmax_rows<T, Positions<T>>,
                                              &argmax_rows<T, Taps<T>>};
  return table;
}

template const PoolArgmaxKernels<float>& pool_argmax_kernels<float>();
template const PoolArgmaxKernels<double>& pool_argmax_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
