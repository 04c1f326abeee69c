// Maxima and averages along the width, a row of outputs at a time.
//
// Windows are separable: the rows under the output row are folded into one, a vector of columns at
// a time, then the columns. Windows of two or three columns do that in registers: the taps of a
// vector of outputs are the even and odd columns (stride 2) or the columns slid along (stride 1).
// Wider ones go through a buffer in L1; those at the border, adaptive ones and very wide ones are
// folded one by one, a vector along their rows where they are that wide.
#include <type_traits>

#include "ops/pool/kernel_fold.h"
#include "simd/deinterleave.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr int64_t kBuffer = 2048;                   // folded columns held at once
constexpr int64_t kWideSpan = 256, kTallRows = 64;  // windows beyond are not folded separably

// ---- windows of two or three columns ----

template <class T, class Op, int K>
PYFAST_INLINE void small_row_by_1(T* y, const Columns<T, Op>& columns, const PoolAxis& a,
                                  const Op& op) {
  constexpr int w = vec<T>::size;
  vec<T> here = columns(-a.padding);
  for (int64_t o = 0; o < a.out; o += w) {
    const vec<T> next = columns(o + w - a.padding);
    vec<T> total = Op::fold(here, slide<1>(here, next));
    if constexpr (K == 3) total = Op::fold(total, slide<2>(here, next));
    const int lanes = static_cast<int>(least(w, a.out - o));
    store(op.finish(total, o, lanes), y + o, lanes);
    here = next;
  }
}

template <class T, class Op, int K>
PYFAST_INLINE void small_row_by_2(T* y, const Columns<T, Op>& columns, const PoolAxis& a,
                                  const Op& op) {
  constexpr int w = vec<T>::size;
  vec<T> first = columns(-a.padding), second = columns(w - a.padding);
  vec<T> evens = even(first, second);
  for (int64_t o = 0; o < a.out; o += w) {
    vec<T> total = Op::fold(evens, odd(first, second));
    const int64_t c = 2 * (o + w) - a.padding;
    first = columns(c);
    second = columns(c + w);
    const vec<T> next = even(first, second);
    if constexpr (K == 3) total = Op::fold(total, slide<1>(evens, next));
    const int lanes = static_cast<int>(least(w, a.out - o));
    store(op.finish(total, o, lanes), y + o, lanes);
    evens = next;
  }
}

template <class T, class Op, int K, int S>
PYFAST_INLINE void small_row(T* y, const PoolRow<T>& row, const Op& op) {
  const Columns<T, Op> columns{row.x, row.rows, row.row_step, row.cols->in};
  if constexpr (S == 1)
    small_row_by_1<T, Op, K>(y, columns, *row.cols, op);
  else
    small_row_by_2<T, Op, K>(y, columns, *row.cols, op);
}

// Rows that fit two registers (one for stride 1) with their border: nothing is asked per vector.
template <int S, class T>
PYFAST_INLINE bool narrow(const PoolAxis& a) {
  constexpr int w = vec<T>::size;
  return a.in + a.padding <= S * w && a.out <= w;
}

// As Columns, of K rows that all lie in the input.
template <class T, class Op, int K>
struct InnerColumns {
  const T* x;
  int64_t row_step;

  PYFAST_INLINE vec<T> fold(int64_t c, int lanes) const {
    vec<T> v = load(x + c, lanes, Op::identity);
#pragma GCC unroll 3
    for (int r = 1; r < K; ++r) v = Op::fold(v, load(x + r * row_step + c, lanes, Op::identity));
    return v;
  }
};

template <class T, class Op, int K, int S, class Source>
PYFAST_INLINE void narrow_row(T* y, const Source& columns, const PoolAxis& a, const Op& op) {
  constexpr int w = vec<T>::size;
  const vec<T> border(Op::identity);
  const int out = static_cast<int>(a.out);
  const int head = static_cast<int>(least(w - a.padding, a.in));
  vec<T> first = columns.fold(0, head), total;
  if (a.padding > 0) first = slide<w - 1>(border, first);
  if constexpr (S == 1) {
    total = Op::fold(first, slide<1>(first, border));
    if constexpr (K == 3) total = Op::fold(total, slide<2>(first, border));
  } else {
    const int tail = static_cast<int>(a.in) - head;
    const vec<T> second = tail > 0 ? columns.fold(head, tail) : border;
    const vec<T> evens = even(first, second);
    total = Op::fold(evens, odd(first, second));
    if constexpr (K == 3) total = Op::fold(total, slide<1>(evens, border));
  }
  op.finish(total, 0, out).store(y, out);
}

// Two rows of outputs in one register, where each needs no more than half of it.
template <class T, class Op, int K, class Source>
PYFAST_INLINE void narrow_pair(T* y, const Source& upper, const Source& lower, const PoolAxis& a,
                               const Op& upper_op, const Op& lower_op) {
  constexpr int w = vec<T>::size;
  const vec<T> border(Op::identity);
  const int out = static_cast<int>(a.out), in = static_cast<int>(a.in);
  vec<T> first = upper.fold(0, in), second = lower.fold(0, in);
  if (a.padding > 0) {
    first = slide<w - 1>(border, first);
    second = slide<w - 1>(border, second);
  }
  const vec<T> evens = even(first, second);
  vec<T> total = Op::fold(evens, odd(first, second));
  if constexpr (K == 3) total = Op::fold(total, slide<1>(evens, border));
  upper_op.finish(total, 0, out).store(y, out);
  lower_op.finish(slide<w / 2>(total, total), 0, out).store(y + out, out);
}

template <int K, class T>
PYFAST_INLINE bool pairs_fit(const PoolAxis& a) {
  constexpr int w = vec<T>::size;
  return a.stride == 2 && a.in + a.padding <= w && a.out <= w / 2 - (K == 3);
}

// Narrow rows of K by K windows that all lie inside and reduce alike: a function of its own, whose
// few values stay in registers. On rows of seven outputs, half the time was spent asking.
template <class T, class Op, int K, int S>
__attribute__((noinline)) void inner_rows(T* y, const PoolPlane<T>& plane, int64_t begin,
                                          int64_t end, const Op op) {
  using Source = InnerColumns<T, Op, K>;
  const PoolAxis cols = *plane.cols;
  const int64_t step = plane.row_step, stride = plane.rows->stride * step;
  const T* x = plane.x + (begin * plane.rows->stride - plane.rows->padding) * step;
  y += begin * cols.out;
  if constexpr (S == 2)
    if (pairs_fit<K, T>(cols))
      for (; begin + 2 <= end; begin += 2, x += 2 * stride, y += 2 * cols.out) {
        fetch_ahead(x);
        fetch_ahead(x + stride);
        narrow_pair<T, Op, K>(y, Source{x, step}, Source{x + stride, step}, cols, op, op);
      }
  for (; begin < end; ++begin, x += stride, y += cols.out) {
    fetch_ahead(x);
    narrow_row<T, Op, K, S>(y, Source{x, step}, cols, op);
  }
}

// ---- one window ----

// Vectors are folded a few at a time: long sums go on in double.
template <class T, class Op>
typename Op::Total fold_long(const T* x, int64_t n) {
  constexpr int w = vec<T>::size;
  constexpr int64_t kBlock = 32 * w;
  typename Op::Total total = Op::identity;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = least(begin + kBlock, n);
    vec<T> part(Op::identity);
    int64_t i = begin;
    for (; i + w <= end; i += w) part = Op::fold(part, vec<T>::load(x + i));
    const int rest = static_cast<int>(end - i);
    if (rest > 0) part = Op::fold(part, vec<T>::load(x + i, rest, Op::identity));
    total = Op::fold(total, Op::of_lanes(part));
  }
  return total;
}

template <class T, class Op>
T fold_window(const PoolRow<T>& row, int64_t o) {
  using Total = typename Op::Total;
  PoolWindow window = window_at(*row.cols, o);
  const int64_t step = row.cols->dilation;
  // Rows that follow each other are one run: global pooling of small images.
  int64_t rows = row.rows;
  if (window.count == row.row_step && step == 1) {
    window.count *= rows;
    rows = 1;
  }
  const bool wide = step == 1 && window.count >= vec<T>::size;
  Total total = Op::identity;
  for (int64_t r = 0; r < rows; ++r) {
    const T* x = row.x + r * row.row_step + window.first;
    if (wide)
      total = Op::fold(total, fold_long<T, Op>(x, window.count));
    else
      for (int64_t k = 0; k < window.count; ++k) total = Op::fold(total, Total{x[k * step]});
  }
  return static_cast<T>(total);
}

// Windows as wide as their rows, all inside: each is one run of memory (global pooling).
PYFAST_INLINE bool spans_rows(const PoolAxis& a, int64_t row_step) {
  return a.out == 1 && a.kernel == a.in && a.padding == 0 && a.dilation == 1 && !a.adaptive &&
         row_step == a.in;
}

template <class T, class Op>
__attribute__((noinline)) void inner_runs(T* y, const PoolPlane<T>& plane, int64_t begin,
                                          int64_t end, const Op op) {
  const PoolAxis& rows = *plane.rows;
  const int64_t stride = rows.stride * plane.row_step, n = rows.kernel * plane.row_step;
  const T* x = plane.x + (begin * rows.stride - rows.padding) * plane.row_step;
  for (; begin < end; ++begin, x += stride)
    y[begin] = op.finish(static_cast<T>(fold_long<T, Op>(x, n)), 0);
}

// ---- the inner outputs of a row of other windows ----

// buffer[i] = fold of column i over the rows, then two vectors of zeros for loads past the end
template <class T, class Op>
void fold_rows(T* buffer, const T* x, int64_t rows, int64_t row_step, int64_t width) {
  constexpr int w = vec<T>::size;
  const Columns<T, Op> columns{x, rows, row_step, width};
  int64_t i = 0;
  for (; i + w <= width; i += w) columns.fold(i, w).store(buffer + i);
  if (i < width) columns.fold(i, static_cast<int>(width - i)).store(buffer + i);
  vec<T>().store(buffer + width);
  vec<T>().store(buffer + width + w);
}

template <class T, class Op>
void fold_columns_by_1(T* y, const T* buffer, int64_t o, int64_t n, const PoolAxis& a,
                       const Op& op) {
  for_each_vector<T>(n, [&](int64_t i, int lanes) PYFAST_INLINED {
    vec<T> total = vec<T>::load(buffer + i);
    for (int64_t k = 1; k < a.kernel; ++k)
      total = Op::fold(total, vec<T>::load(buffer + i + k * a.dilation));
    store(op.finish(total, o + i, lanes), y + o + i, lanes);
  });
}

// dilation 1: taps alternate between the even and the odd columns
template <class T, class Op>
void fold_columns_by_2(T* y, const T* buffer, int64_t o, int64_t n, const PoolAxis& a,
                       const Op& op) {
  constexpr int w = vec<T>::size;
  for_each_vector<T>(n, [&](int64_t i, int lanes) PYFAST_INLINED {
    const T* p = buffer + 2 * i;
    vec<T> total(Op::identity);
    for (int64_t k = 0; k < a.kernel; k += 2) {
      const vec<T> first = vec<T>::load(p + k), second = vec<T>::load(p + k + w);
      total = Op::fold(total, even(first, second));
      if (k + 1 < a.kernel) total = Op::fold(total, odd(first, second));
    }
    store(op.finish(total, o + i, lanes), y + o + i, lanes);
  });
}

template <class T, class Op>
void fold_columns(T* y, const T* buffer, int64_t o, int64_t n, const PoolAxis& a, const Op& op) {
  for (int64_t i = 0; i < n; ++i) {
    const T* p = buffer + i * a.stride;
    typename Op::Total total = p[0];
    for (int64_t k = 1; k < a.kernel; ++k)
      total = Op::fold(total, typename Op::Total{p[k * a.dilation]});
    y[o + i] = op.finish(static_cast<T>(total), o + i);
  }
}

template <class T, class Op>
void fold_inner(T* y, const PoolRow<T>& row, const Op& op) {
  const PoolAxis& a = *row.cols;
  const int64_t span = (a.kernel - 1) * a.dilation + 1;
  const int64_t block = (kBuffer - span) / a.stride + 1;
  T buffer[kBuffer + 2 * vec<T>::size];
  for (int64_t o = a.inner_begin; o < a.inner_end; o += block) {
    const int64_t n = least(block, a.inner_end - o);
    fold_rows<T, Op>(buffer, row.x + o * a.stride - a.padding, row.rows, row.row_step,
                     (n - 1) * a.stride + span);
    if (a.stride == 1)
      fold_columns_by_1(y, buffer, o, n, a, op);
    else if (a.stride == 2 && a.dilation == 1)
      fold_columns_by_2(y, buffer, o, n, a, op);
    else
      fold_columns(y, buffer, o, n, a, op);
  }
}

template <class T, class Op>
void any_row(T* y, const PoolRow<T>& row, const Op& op) {
  const PoolAxis& a = *row.cols;
  const bool separable = (a.kernel - 1) * a.dilation < kWideSpan && row.rows <= kTallRows &&
                         row.rows > 0 && a.kernel < a.in;
  const int64_t begin = separable ? a.inner_begin : 0, end = separable ? a.inner_end : 0;
  for (int64_t o = 0; o < begin; ++o) y[o] = op.finish(fold_window<T, Op>(row, o), o);
  if (begin < end) fold_inner(y, row, op);
  for (int64_t o = end; o < a.out; ++o) y[o] = op.finish(fold_window<T, Op>(row, o), o);
}

// Output rows [begin, end); make_op(o) is the reduction for the windows of row o.
template <class T, class MakeOp>
void pool_rows(T* y, const PoolPlane<T>& plane, int64_t begin, int64_t end, MakeOp make_op) {
  using Op = std::decay_t<decltype(make_op(int64_t{0}))>;
  const PoolAxis& a = *plane.cols;
  const auto columns = [&](int64_t o) PYFAST_INLINED {
    const PoolRow<T> row(plane, o);
    return Columns<T, Op>{row.x, row.rows, row.row_step, a.in};
  };
  const bool small = with_small_windows(a, [&]<int K, int S>() PYFAST_INLINED {
    if (S == 2 && pairs_fit<K, T>(a))
      for (; begin + 2 <= end; begin += 2)
        narrow_pair<T, Op, K>(y + begin * a.out, columns(begin), columns(begin + 1), a,
                              make_op(begin), make_op(begin + 1));
    if (narrow<S, T>(a))
      for (; begin < end; ++begin)
        narrow_row<T, Op, K, S>(y + begin * a.out, columns(begin), a, make_op(begin));
    else
      for (; begin < end; ++begin)
        small_row<T, Op, K, S>(y + begin * a.out, PoolRow<T>(plane, begin), make_op(begin));
  });
  if (small) return;
  for (; begin < end; ++begin)
    any_row<T, Op>(y + begin * a.out, PoolRow<T>(plane, begin), make_op(begin));
}

// As pool_rows, but those whose windows lie inside by inner_rows, where that is for them; `op` is
// the reduction of a whole window.
template <class T, class MakeOp, class Op>
void pool_rows_around(T* y, const PoolPlane<T>& plane, int64_t begin, int64_t end, MakeOp make_op,
                      const Op& op) {
  const PoolAxis &rows = *plane.rows, &cols = *plane.cols;
  const int64_t first = begin > rows.inner_begin ? begin : rows.inner_begin;
  const int64_t last = least(end, rows.inner_end);
  const bool whole = first < last && rows.dilation == 1 && !rows.adaptive;
  bool done = whole && spans_rows(cols, plane.row_step);
  if (done)
    inner_runs<T, Op>(y, plane, first, last, op);
  else if (whole && rows.kernel == cols.kernel)
    with_small_windows(cols, [&]<int K, int S>() PYFAST_INLINED {
      done = narrow<S, T>(cols) || (S == 2 && pairs_fit<K, T>(cols));
      if (done) inner_rows<T, Op, K, S>(y, plane, first, last, op);
    });
  if (begin < first || !done) pool_rows(y, plane, begin, done ? first : end, make_op);
  if (done && last < end) pool_rows(y, plane, last, end, make_op);
}

template <class T>
void max_rows(T* y, const PoolPlane<T>& plane, int64_t begin, int64_t end) {
  pool_rows_around(y, plane, begin, end, [](int64_t) PYFAST_INLINED { return Max<T>(); }, Max<T>());
}

template <class T>
void avg_rows(T* y, const PoolPlane<T>& plane, const PoolDivisor<T>& divisor, int64_t begin,
              int64_t end) {
  const PoolAxis& rows = *plane.rows;
  const Average<T> whole(divisor, rows.kernel);
  const auto make_op = [&](int64_t o) PYFAST_INLINED {
    const int64_t extent = extent_at(rows, o, divisor.include_pad);
    return extent == whole.extent ? whole : Average<T>(divisor, extent);
  };
  pool_rows_around(y, plane, begin, end, make_op, whole);
}

}  // namespace

template <class T>
const PoolRowKernels<T>& pool_row_kernels() {
  static constexpr PoolRowKernels<T> table{&max_rows<T>, &avg_rows<T>};
  return table;
}

template const PoolRowKernels<float>& pool_row_kernels<float>();
template const PoolRowKernels<double>& pool_row_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
