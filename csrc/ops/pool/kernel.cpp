// Pooling, a row of outputs at a time.
//
// Windows that lie inside the input are separable: the rows under the output row are folded into
// one (a vector of columns at a time, the buffer stays in L1), then its columns are folded, with
// the loads deinterleaved for stride 2. Windows at the border, adaptive ones and very wide ones are
// folded one by one, a vector along their rows where they are that wide. With indices, windows are
// walked tap by tap in row-major order, since that order decides between equal elements; positions
// travel as floating numbers, which are exact below 2^24.
#include "ops/pool/kernel.h"

#include "simd/deinterleave.h"
#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

using std::int64_t;

constexpr int64_t kBuffer = 2048;                   // folded columns held at once
constexpr int64_t kWideSpan = 256, kTallRows = 64;  // windows beyond are not folded separably
constexpr int64_t kExact = 1 << 24;

PYFAST_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class T>
struct Max {
  using Total = T;
  static constexpr T identity = static_cast<T>(-__builtin_inf());
  static PYFAST_INLINE vec<T> fold(vec<T> a, vec<T> b) { return max_nan(a, b); }
  static PYFAST_INLINE T fold(T a, T b) { return b > a || b != b ? b : a; }
  PYFAST_INLINE vec<T> finish_inner(vec<T> v) const { return v; }
  PYFAST_INLINE T finish(T v, int64_t) const { return v; }
  PYFAST_INLINE vec<T> finish(vec<T> v, int64_t) const { return v; }
};

template <class T>
struct Average {
  using Total = double;
  PoolDivisor<T> divisor;
  const PoolAxis* cols;
  T inner;

  PYFAST_INLINE Average(const PoolDivisor<T>& d, const PoolAxis& a)
      : divisor(d), cols(&a), inner(d.fixed != 0 ? d.fixed : d.rows * static_cast<T>(a.kernel)) {}
  static constexpr T identity = 0;
  static PYFAST_INLINE vec<T> fold(vec<T> a, vec<T> b) { return a + b; }
  static PYFAST_INLINE double fold(double a, double b) { return a + b; }
  PYFAST_INLINE T at(int64_t o) const {
    if (divisor.fixed != 0) return divisor.fixed;
    return divisor.rows * static_cast<T>(extent_at(*cols, o, divisor.include_pad));
  }
  PYFAST_INLINE vec<T> finish_inner(vec<T> v) const { return v / vec<T>(inner); }
  PYFAST_INLINE T finish(T v, int64_t o) const { return v / at(o); }
  PYFAST_INLINE vec<T> finish(vec<T> v, int64_t o) const { return v / vec<T>(at(o)); }
};

// ---- one window ----

template <class T, class Op>
typename Op::Total fold_lanes(vec<T> v) {
  T lanes[vec<T>::size];
  v.store(lanes);
  typename Op::Total total = lanes[0];
  for (int i = 1; i < vec<T>::size; ++i) total = Op::fold(total, typename Op::Total{lanes[i]});
  return total;
}

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
    total = Op::fold(total, fold_lanes<T, Op>(part));
  }
  return total;
}

template <class T, class Op>
T fold_window(const PoolRow<T>& row, int64_t o) {
  using Total = typename Op::Total;
  const PoolWindow window = window_at(*row.cols, o);
  const int64_t step = row.cols->dilation;
  const bool wide = step == 1 && window.count >= vec<T>::size;
  Total total = Op::identity;
  for (int64_t r = 0; r < row.rows; ++r) {
    const T* x = row.x + r * row.row_step + window.first;
    if (wide)
      total = Op::fold(total, fold_long<T, Op>(x, window.count));
    else
      for (int64_t k = 0; k < window.count; ++k) total = Op::fold(total, Total{x[k * step]});
  }
  return static_cast<T>(total);
}

// ---- the inner outputs of a row ----

// buffer[i] = fold of column i over the rows, then two vectors of zeros for loads past the end
template <class T, class Op>
void fold_rows(T* buffer, const T* x, int64_t rows, int64_t row_step, int64_t width) {
  constexpr int w = vec<T>::size;
  int64_t i = 0;
  for (; i + 2 * w <= width; i += 2 * w) {
    vec<T> a = vec<T>::load(x + i), b = vec<T>::load(x + i + w);
    for (int64_t r = 1; r < rows; ++r) {
      a = Op::fold(a, vec<T>::load(x + r * row_step + i));
      b = Op::fold(b, vec<T>::load(x + r * row_step + i + w));
    }
    a.store(buffer + i);
    b.store(buffer + i + w);
  }
  for (; i < width; i += w) {
    const int n = static_cast<int>(least(w, width - i));
    vec<T> a = vec<T>::load(x + i, n);
    for (int64_t r = 1; r < rows; ++r) a = Op::fold(a, vec<T>::load(x + r * row_step + i, n));
    a.store(buffer + i, n);
  }
  vec<T>().store(buffer + width);
  vec<T>().store(buffer + width + w);
}

template <class T, class Op>
void fold_columns_by_1(T* y, const T* buffer, int64_t n, const PoolAxis& a, const Op& op) {
  constexpr int w = vec<T>::size;
  for (int64_t o = 0; o < n; o += w) {
    vec<T> total = vec<T>::load(buffer + o);
    for (int64_t k = 1; k < a.kernel; ++k)
      total = Op::fold(total, vec<T>::load(buffer + o + k * a.dilation));
    total = op.finish_inner(total);
    if (n - o >= w)
      total.store(y + o);
    else
      total.store(y + o, static_cast<int>(n - o));
  }
}

// stride 2, dilation 1: two loads serve two neighbouring taps
template <class T, class Op>
void fold_columns_by_2(T* y, const T* buffer, int64_t n, const PoolAxis& a, const Op& op) {
  constexpr int w = vec<T>::size;
  for (int64_t o = 0; o < n; o += w) {
    vec<T> total(Op::identity);
    int64_t k = 0;
    for (; k + 2 <= a.kernel; k += 2) {
      const T* p = buffer + 2 * o + k;
      const vec<T> low = vec<T>::load(p), high = vec<T>::load(p + w);
      total = Op::fold(Op::fold(total, even(low, high)), odd(low, high));
    }
    if (k < a.kernel) {
      const T* p = buffer + 2 * o + k;
      total = Op::fold(total, even(vec<T>::load(p), vec<T>::load(p + w)));
    }
    total = op.finish_inner(total);
    if (n - o >= w)
      total.store(y + o);
    else
      total.store(y + o, static_cast<int>(n - o));
  }
}

template <class T, class Op>
void fold_columns(T* y, const T* buffer, int64_t n, const PoolAxis& a, const Op& op) {
  constexpr int w = vec<T>::size;
  int64_t o = 0;
  for (; o + w <= n; o += w) {
    const T* p = buffer + o * a.stride;
    vec<T> total = vec<T>::load_strided(p, a.stride);
    for (int64_t k = 1; k < a.kernel; ++k)
      total = Op::fold(total, vec<T>::load_strided(p + k * a.dilation, a.stride));
    op.finish_inner(total).store(y + o);
  }
  for (; o < n; ++o) {
    const T* p = buffer + o * a.stride;
    typename Op::Total total = p[0];
    for (int64_t k = 1; k < a.kernel; ++k)
      total = Op::fold(total, typename Op::Total{p[k * a.dilation]});
    y[o] = op.finish(static_cast<T>(total), a.inner_begin);
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
      fold_columns_by_1(y + o, buffer, n, a, op);
    else if (a.stride == 2 && a.dilation == 1)
      fold_columns_by_2(y + o, buffer, n, a, op);
    else
      fold_columns(y + o, buffer, n, a, op);
  }
}

template <class T, class Op>
void pool_row(T* y, const PoolRow<T>& row, const Op& op) {
  const PoolAxis& a = *row.cols;
  const bool separable = (a.kernel - 1) * a.dilation < kWideSpan && row.rows <= kTallRows;
  const int64_t begin = separable ? a.inner_begin : 0, end = separable ? a.inner_end : 0;
  for (int64_t o = 0; o < begin; ++o) y[o] = op.finish(fold_window<T, Op>(row, o), o);
  if (begin < end) fold_inner(y, row, op);
  for (int64_t o = end; o < a.out; ++o) y[o] = op.finish(fold_window<T, Op>(row, o), o);
}

template <class T>
void max_row(T* y, const PoolRow<T>& row) {
  pool_row(y, row, Max<T>());
}

template <class T>
void avg_row(T* y, const PoolRow<T>& row, const PoolDivisor<T>& divisor) {
  pool_row(y, row, Average<T>(divisor, *row.cols));
}

// ---- maximum and its position ----

template <class T>
void argmax_window(T* y, int64_t* index, const PoolRow<T>& row, const PoolIndexing& at, int64_t o) {
  const PoolWindow window = window_at(*row.cols, o);
  const int64_t step = row.cols->dilation;
  T best = Max<T>::identity;
  int64_t where = window.first;
  for (int64_t r = 0; r < row.rows; ++r) {
    const T* x = row.x + r * row.row_step + window.first;
    for (int64_t k = 0; k < window.count; ++k) {
      const T v = x[k * step];
      if (v > best || v != v) {
        best = v;
        where = r * at.row_step + window.first + k * step;
      }
    }
  }
  *y = best;
  *index = at.first + where;
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

// Keeps the first maximum, or the last NaN, and the offset at which it was seen.
template <class T>
struct Best {
  vec<T> value = vec<T>(Max<T>::identity), offset;
  PYFAST_INLINE void see(vec<T> v, T where) {
    const mask<T> better = (v > value) | isnan(v);
    value = select(better, v, value);
    offset = select(better, vec<T>(where), offset);
  }
};

// n <= size inner outputs from o on
template <class T>
PYFAST_INLINE void argmax_vector(T* y, int64_t* index, const PoolRow<T>& row,
                                 const PoolIndexing& at, int64_t o, int n) {
  const PoolAxis& a = *row.cols;
  const int64_t column = o * a.stride - a.padding;
  Best<T> best;
  for (int64_t r = 0; r < row.rows; ++r)
    for (int64_t k = 0; k < a.kernel; ++k)
      best.see(load_outputs(row.x + r * row.row_step + column + k * a.dilation, a.stride, n),
               static_cast<T>(r * at.row_step + k * a.dilation));
  best.value.store(y + o, n);
  T offset[vec<T>::size];
  best.offset.store(offset);
  for (int i = 0; i < n; ++i)
    index[o + i] = at.first + column + i * a.stride + static_cast<int64_t>(offset[i]);
}

template <class T>
bool exact_offsets(const PoolRow<T>& row, const PoolIndexing& at) {
  return row.rows * at.row_step + row.cols->in < kExact;
}

template <class T>
void argmax_row(T* y, int64_t* index, const PoolRow<T>& row, const PoolIndexing& at) {
  constexpr int w = vec<T>::size;
  const PoolAxis& a = *row.cols;
  const bool vectors = exact_offsets(row, at);
  const int64_t begin = vectors ? a.inner_begin : 0, end = vectors ? a.inner_end : 0;
  for (int64_t o = 0; o < begin; ++o) argmax_window(y + o, index + o, row, at, o);
  int64_t o = begin;
  for (; o + w <= end; o += w) argmax_vector(y, index, row, at, o, w);
  if (o < end) argmax_vector(y, index, row, at, o, static_cast<int>(end - o));
  for (o = end; o < a.out; ++o) argmax_window(y + o, index + o, row, at, o);
}

// ---- channels ----

// y[c, 0..n) = tile[0..n, c]
template <class T>
PYFAST_INLINE void store_transposed(T* y, int64_t out_step, const T* tile, int channels, int n) {
  constexpr int w = vec<T>::size;
  for (int c = 0; c < channels; ++c) {
    store(vec<T>::load_strided(tile + c, w), y + c * out_step, n);
  }
}

// The row's partial results keep long sums short.
template <class T, class Op>
PYFAST_INLINE vec<T> fold_pixels(const PoolChannels<T>& x, PoolWindow window) {
  const int64_t step = x.row.cols->dilation * x.pixel_step;
  vec<T> total(Op::identity);
  for (int64_t r = 0; r < x.row.rows; ++r) {
    const T* pixel = x.row.x + r * x.row.row_step + window.first * x.pixel_step;
    vec<T> part(Op::identity);
    for (int64_t k = 0; k < window.count; ++k)
      part = Op::fold(part, load(pixel + k * step, x.channels));
    total = Op::fold(total, part);
  }
  return total;
}

template <class T, class Op>
void pool_channels(T* y, const PoolChannels<T>& x, const Op& op) {
  constexpr int w = vec<T>::size;
  const int64_t out = x.row.cols->out;
  T tile[w * w] = {};
  for (int64_t o = 0; o < out; o += w) {
    const int n = static_cast<int>(least(w, out - o));
    for (int i = 0; i < n; ++i) {
      const PoolWindow window = window_at(*x.row.cols, o + i);
      op.finish(fold_pixels<T, Op>(x, window), o + i).store(tile + i * w);
    }
    store_transposed(y + o, x.out_step, tile, x.channels, n);
  }
}

template <class T>
void max_channels(T* y, const PoolChannels<T>& x) {
  pool_channels(y, x, Max<T>());
}

template <class T>
void avg_channels(T* y, const PoolChannels<T>& x, const PoolDivisor<T>& divisor) {
  pool_channels(y, x, Average<T>(divisor, *x.row.cols));
}

template <class T>
PYFAST_INLINE Best<T> best_pixel(const PoolChannels<T>& x, const PoolIndexing& at,
                                 PoolWindow window) {
  const int64_t step = x.row.cols->dilation;
  Best<T> best;
  for (int64_t r = 0; r < x.row.rows; ++r) {
    const T* pixel = x.row.x + r * x.row.row_step + window.first * x.pixel_step;
    for (int64_t k = 0; k < window.count; ++k)
      best.see(load(pixel + k * step * x.pixel_step, x.channels),
               static_cast<T>(r * at.row_step + k * step));
  }
  return best;
}

// Offsets that are not exact as T do not reach this function: cpu.cpp packs such inputs.
template <class T>
void argmax_channels(T* y, int64_t* index, const PoolChannels<T>& x, const PoolIndexing& at) {
  constexpr int w = vec<T>::size;
  const int64_t out = x.row.cols->out;
  T tile[w * w] = {}, offset[w];
  for (int64_t o = 0; o < out; o += w) {
    const int n = static_cast<int>(least(w, out - o));
    for (int i = 0; i < n; ++i) {
      const PoolWindow window = window_at(*x.row.cols, o + i);
      const Best<T> best = best_pixel(x, at, window);
      best.value.store(tile + i * w);
      best.offset.store(offset);
      for (int c = 0; c < x.channels; ++c)
        index[c * x.out_step + o + i] = at.first + window.first + static_cast<int64_t>(offset[c]);
    }
    store_transposed(y + o, x.out_step, tile, x.channels, n);
  }
}

// ---- backward of the average ----

template <class T>
void add_row(T* dx, const T* x, int64_t n) {
  map(dx, dx, x, n, [](vec<T> a, vec<T> b) PYFAST_INLINED { return a + b; });
}

template <class T>
void spread_window(T* dx, T g, PoolWindow window) {  // averages have no dilation
  constexpr int w = vec<T>::size;
  int64_t i = 0;
  for (; i + w <= window.count; i += w)
    (vec<T>::load(dx + window.first + i) + vec<T>(g)).store(dx + window.first + i);
  for (; i < window.count; ++i) dx[window.first + i] += g;
}

template <class T>
void scale_row(T* y, const T* x, int64_t n, T divisor) {
  map(y, x, n, [=](vec<T> v) PYFAST_INLINED { return v / vec<T>(divisor); });
}

template <class T>
void spread_row(T* dx, T* scratch, const T* g, const PoolAxis& cols,
                const PoolDivisor<T>& divisor) {
  const Average<T> average(divisor, cols);
  const int64_t begin = cols.inner_begin, inner = cols.inner_end - begin;
  for (int64_t i = 0; i < cols.in; ++i) dx[i] = 0;
  for (int64_t o = 0; o < begin; ++o) spread_window(dx, g[o] / average.at(o), window_at(cols, o));
  if (inner > 0) scale_row(scratch, g + begin, inner, average.inner);
  T* first = dx + begin * cols.stride - cols.padding;
  if (cols.stride == 1 && inner > 0) {
    for (int64_t k = 0; k < cols.kernel; ++k) add_row(first + k, scratch, inner);
  } else {
    for (int64_t o = 0; o < inner; ++o)
      spread_window(first, scratch[o], {o * cols.stride, cols.kernel});
  }
  for (int64_t o = cols.inner_end; o < cols.out; ++o)
    spread_window(dx, g[o] / average.at(o), window_at(cols, o));
}

}  // namespace

template <class T>
const PoolKernels<T>& pool_kernels() {
  static constexpr PoolKernels<T> table{vec<T>::size,     &max_row<T>,      &argmax_row<T>,
                                        &avg_row<T>,      &max_channels<T>, &argmax_channels<T>,
                                        &avg_channels<T>, &spread_row<T>,   &add_row<T>};
  return table;
}

template const PoolKernels<float>& pool_kernels<float>();
template const PoolKernels<double>& pool_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
