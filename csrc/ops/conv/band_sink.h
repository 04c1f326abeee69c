// From a product's tiles over a band to the target.
#pragma once

#include <algorithm>

#include "gemm/gemm.h"
#include "gemm/kernel.h"
#include "ops/conv/band_plan.h"

namespace pyfast {

// Tiles of flattened band entries on their way to the target: what lies between the rows of the
// block is left out.
template <class T>
struct BandSink {
  gemm::Epilogue<T> epilogue;  // at the block's first grid point, the item's first channel
  decltype(GemmKernels<T>::store) store_;
  std::int64_t sample, row, column;  // strides of the grid in the target
  std::int64_t pitch, sample_pitch;  // in the band
  BandBlock block;

  void store(const T* tile, std::int64_t ld, std::int64_t first, std::int64_t rows,
             std::int64_t col, std::int64_t cols) const {
    each_run(first, col, cols, [&](const gemm::Epilogue<T>& e, std::int64_t at, std::int64_t n) {
      store_(e, tile + at, ld, 0, rows, 0, n);
    });
  }

  // The same from tile[entry * lanes + row].
  void store_turned(const T* tile, int lanes, std::int64_t first, int rows, std::int64_t col,
                    std::int64_t cols) const {
    each_run(first, col, cols, [&](const gemm::Epilogue<T>& e, std::int64_t at, std::int64_t n) {
      conv_kernels<T>().lanes_store(e, tile + at * lanes, lanes, static_cast<int>(n), rows);
    });
  }

  // run(epilogue, at, count) for every row of the grid among entries [col, col + cols).
  template <class Run>
  void each_run(std::int64_t first, std::int64_t col, std::int64_t cols, Run run) const {
    std::int64_t n = col / sample_pitch, y = col % sample_pitch / pitch, x = col % pitch;
    for (std::int64_t at = 0; at < cols && n < block.samples;) {
      const std::int64_t count = std::min(block.cols - x, cols - at);
      if (count > 0 && y < block.rows) {
        gemm::Epilogue<T> e = epilogue;
        const std::int64_t offset = n * sample + y * row + x * column + first * e.row_stride;
        e.c += offset;
        if (e.linear) e.linear += offset;
        if (e.residual) e.residual += offset;
        if (e.row_bias) e.row_bias += first;
        run(e, at, count);
      }
      at += pitch - x;
      x = 0;
      if (++y * pitch == sample_pitch) y = 0, ++n;
    }
  }

  // Lines of the target that a tile is about to write.
  void prefetch(std::int64_t first, std::int64_t rows, std::int64_t col, std::int64_t cols) const {
    constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));
    if (epilogue.col_stride != 1) return;
    const std::int64_t n = col / sample_pitch, y = col % sample_pitch / pitch, x = col % pitch;
    const T* c = epilogue.c + n * sample + y * row + x * column + first * epilogue.row_stride;
    for (std::int64_t r = 0; r < rows; ++r, c += epilogue.row_stride)
      for (std::int64_t i = 0; i < cols + kLine - 1; i += kLine) __builtin_prefetch(c + i, 1);
  }
};

// At the element of the target `at` behind channel 0's, output channels from `channel` on (counted
// over all groups).
template <class T>
gemm::Epilogue<T> epilogue_at(const Correlation<T>& c, std::int64_t channel, std::int64_t at) {
  at += channel * c.target.channel;
  gemm::Epilogue<T> e;
  e.c = c.target.data + at;
  e.row_stride = e.residual_row_stride = c.target.channel;
  e.col_stride = e.residual_col_stride = c.x.target_step * c.target.column;
  e.row_bias = c.bias ? c.bias + channel : nullptr;
  e.activation = c.activation;
  e.linear = c.linear ? c.linear + at : nullptr;
  e.residual = c.residual ? c.residual + at : nullptr;
  return e;
}

// For `block`, whose entries are `pitch` and `sample_pitch` apart, and output channels from
// `channel` (counted over all groups) on.
template <class T>
BandSink<T> band_sink(const Correlation<T>& c, BandBlock block, std::int64_t channel,
                      std::int64_t pitch, std::int64_t sample_pitch) {
  const std::int64_t first = c.target_offset(block.n, block.y, block.x);
  if (pitch == block.cols && c.y.target_step * c.target.row ==
                                 pitch * c.x.target_step * c.target.column) {  // rows without gaps
    block.cols *= block.rows;
    block.rows = 1;
    pitch = sample_pitch;
  }
  return {epilogue_at(c, channel, first),
          gemm_kernels<T>().store,
          c.target.sample,
          c.y.target_step * c.target.row,
          c.x.target_step * c.target.column,
          pitch,
          sample_pitch,
          block};
}

}  // namespace pyfast
