// Inner loops of pooling: one row of outputs of one plane, or of a bundle of channels.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/pool/axis.h"

namespace pyfast {

// The input rows under one row of outputs: `rows` of them, row_step elements apart.
template <class T>
struct PoolRow {
  const T* x;  // column 0 of the first row
  std::int64_t rows, row_step;
  const PoolAxis* cols;
};

// The same for neighbouring channels (channel stride 1): pixels are pixel_step apart, and each
// channel's row of outputs lies out_step beyond the one before.
template <class T>
struct PoolChannels {
  PoolRow<T> row;
  std::int64_t pixel_step, out_step;
  int channels;  // at most lanes
};

// Flat input positions: a tap in row r and column c is first + r * row_step + c.
struct PoolIndexing {
  std::int64_t first, row_step;
};

// What the sums of a row are divided by: fixed if not 0, else rows times the column extent.
template <class T>
struct PoolDivisor {
  T fixed, rows;
  bool include_pad;
};

template <class T>
struct PoolKernels {
  int lanes;  // channels a PoolChannels holds at best
  void (*max_row)(T* y, const PoolRow<T>& row);
  void (*argmax_row)(T* y, std::int64_t* index, const PoolRow<T>& row, const PoolIndexing& at);
  void (*avg_row)(T* y, const PoolRow<T>& row, const PoolDivisor<T>& divisor);
  void (*max_channels)(T* y, const PoolChannels<T>& x);
  void (*argmax_channels)(T* y, std::int64_t* index, const PoolChannels<T>& x,
                          const PoolIndexing& at);
  void (*avg_channels)(T* y, const PoolChannels<T>& x, const PoolDivisor<T>& divisor);
  // dx[0 .. cols.in) = each g / divisor added to the columns of its window; scratch: cols.out
  void (*spread_row)(T* dx, T* scratch, const T* g, const PoolAxis& cols,
                     const PoolDivisor<T>& divisor);
  void (*add_row)(T* dx, const T* x, std::int64_t n);  // dx += x
};

PYFAST_KERNEL_TABLE(PoolKernels, pool_kernels)

}  // namespace pyfast
