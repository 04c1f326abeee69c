// Pooling across neighbouring channels (channels-last inputs): a vector of channels walks its
// window pixel by pixel. Results go through a tile that is written a channel's row at a time, since
// outputs are channels-first.
#include "ops/pool/kernel_best.h"

namespace pyfast::PYFAST_ISA {

namespace {

// y[c, 0..n) = tile[0..n, c]
template <class T>
PYFAST_INLINE void store_transposed(T* y, int64_t out_step, const T* tile, int channels, int n) {
  constexpr int w = vec<T>::size;
  for (int c = 0; c < channels; ++c) store(vec<T>::load_strided(tile + c, w), y + c * out_step, n);
}

// The row's partial results keep long sums short.
template <class T, class Op>
PYFAST_INLINE vec<T> fold_pixels(const PoolRow<T>& row, int64_t pixel_step, int channels,
                                 PoolWindow window) {
  const int64_t step = row.cols->dilation * pixel_step;
  vec<T> total(Op::identity);
  for (int64_t r = 0; r < row.rows; ++r) {
    const T* pixel = row.x + r * row.row_step + window.first * pixel_step;
    vec<T> part(Op::identity);
    for (int64_t k = 0; k < window.count; ++k)
      part = Op::fold(part, load(pixel + k * step, channels));
    total = Op::fold(total, part);
  }
  return total;
}

template <class T, class Op>
void pool_row(T* y, const PoolChannels<T>& x, const PoolRow<T>& row, const Op& op) {
  constexpr int w = vec<T>::size;
  const int64_t out = row.cols->out;
  T tile[w * w] = {};
  for (int64_t o = 0; o < out; o += w) {
    const int n = static_cast<int>(least(w, out - o));
    for (int i = 0; i < n; ++i) {
      const PoolWindow window = window_at(*row.cols, o + i);
      const vec<T> total = fold_pixels<T, Op>(row, x.pixel_step, x.channels, window);
      op.finish_all(total, o + i).store(tile + i * w);
    }
    store_transposed(y + o, x.out_step, tile, x.channels, n);
  }
}

template <class T>
void max_rows(T* y, const PoolChannels<T>& x, int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; ++o)
    pool_row(y + o * x.plane.cols->out, x, PoolRow<T>(x.plane, o), Max<T>());
}

template <class T>
void avg_rows(T* y, const PoolChannels<T>& x, const PoolDivisor<T>& divisor, int64_t begin,
              int64_t end) {
  for (int64_t o = begin; o < end; ++o)
    pool_row(y + o * x.plane.cols->out, x, PoolRow<T>(x.plane, o),
             Average<T>(divisor, extent_at(*x.plane.rows, o, divisor.include_pad)));
}

template <class T>
PYFAST_INLINE Best<T> best_pixel(const PoolRow<T>& row, const PoolChannels<T>& x,
                                 PoolNumbering numbering, PoolWindow window, int64_t skipped) {
  const int64_t step = row.cols->dilation * x.pixel_step;
  const auto number = [&](int64_t r, int64_t k) PYFAST_INLINED {
    return static_cast<T>((row.skipped + r) * numbering.row_step +
                          (skipped + k) * numbering.col_step);
  };
  Best<T> best{vec<T>(number(0, 0))};
  for (int64_t r = 0; r < row.rows; ++r) {
    const T* pixel = row.x + r * row.row_step + window.first * x.pixel_step;
    for (int64_t k = 0; k < window.count; ++k)
      best.see(load(pixel + k * step, x.channels), number(r, k));
  }
  return best;
}

template <class T, class Where>
void argmax_row(T* y, typename Where::Index* index, const PoolChannels<T>& x, int64_t row_o) {
  using Index = typename Where::Index;
  constexpr int w = vec<T>::size;
  const PoolAxis &rows = *x.plane.rows, &cols = *x.plane.cols;
  const PoolRow<T> row(x.plane, row_o);
  const PoolNumbering numbering = Where::numbering(rows, cols);
  T tile[w * w] = {}, taps[w];
  for (int64_t o = 0; o < cols.out; o += w) {
    const int n = static_cast<int>(least(w, cols.out - o));
    for (int i = 0; i < n; ++i) {
      const PoolWindow window = window_at(cols, o + i);
      const int64_t left = (o + i) * cols.stride - cols.padding;
      const int64_t skipped = cols.adaptive ? 0 : (window.first - left) / cols.dilation;
      const Best<T> best = best_pixel(row, x, numbering, window, skipped);
      best.value.store(tile + i * w);
      best.tap.store(taps);
      const int64_t first = Where::first(rows, cols, row_o, o + i);
      for (int c = 0; c < x.channels; ++c)
        index[c * x.out_step + o + i] = static_cast<Index>(first + static_cast<int64_t>(taps[c]));
    }
    store_transposed(y + o, x.out_step, tile, x.channels, n);
  }
}

template <class T, class Where>
void argmax_rows(T* y, typename Where::Index* index, const PoolChannels<T>& x, int64_t begin,
                 int64_t end) {
  const int64_t out = x.plane.cols->out;
  for (int64_t o = begin; o < end; ++o) argmax_row<T, Where>(y + o * out, index + o * out, x, o);
}

}  // namespace

template <class T>
const PoolChannelKernels<T>& pool_channel_kernels() {
  static constexpr PoolChannelKernels<T> table{vec<T>::size, &max_rows<T>, &avg_rows<T>,
                                               &argmax_rows<T, Positions<T>>,
                                               &argmax_rows<T, Taps<T>>};
  return table;
}

template const PoolChannelKernels<float>& pool_channel_kernels<float>();
template const PoolChannelKernels<double>& pool_channel_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
