// Inner loops of pooling, over the output rows of one plane, or of a bundle of channels.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/pool/axis.h"

namespace pyfast {

// One input plane: elements of a row are neighbours.
template <class T>
struct PoolPlane {
  const T* x;
  std::int64_t row_step;
  const PoolAxis *rows, *cols;
};

// Neighbouring channels (channel stride 1): pixels are pixel_step apart, and each channel's outputs
// lie out_step beyond those of the one before.
template <class T>
struct PoolChannels {
  PoolPlane<T> plane;
  std::int64_t pixel_step, out_step;
  int channels;  // at most lanes
};

// What the sum of a window is divided by: `fixed` if not 0, else its extent along the rows times
// that along the columns, which columns[] lists; `uniform` when those are all the same.
template <class T>
struct PoolDivisor {
  T fixed;
  bool include_pad, uniform;
  const T* columns;
};

// How a maximum's place is numbered. Flat positions of the input plane (int64): tap (r, c) of a
// window lies row_step r + col_step c beyond its first. Taps (uint8): r times the width of the
// window plus c, whatever lies in the padding counted too.
struct PoolNumbering {
  std::int64_t row_step, col_step;
};

// All write output rows [begin, end) of the plane whose outputs start at y (and index).
template <class T>
struct PoolRowKernels {
  void (*max_rows)(T* y, const PoolPlane<T>& x, std::int64_t begin, std::int64_t end);
  void (*avg_rows)(T* y, const PoolPlane<T>& x, const PoolDivisor<T>& divisor, std::int64_t begin,
                   std::int64_t end);
};

template <class T>
struct PoolArgmaxKernels {
  void (*positions)(T* y, std::int64_t* index, const PoolPlane<T>& x, std::int64_t begin,
                    std::int64_t end);
  void (*taps)(T* y, std::uint8_t* index, const PoolPlane<T>& x, std::int64_t begin,
               std::int64_t end);
};

template <class T>
struct PoolChannelKernels {
  int lanes;  // channels a PoolChannels holds at best
  void (*max_rows)(T* y, const PoolChannels<T>& x, std::int64_t begin, std::int64_t end);
  void (*avg_rows)(T* y, const PoolChannels<T>& x, const PoolDivisor<T>& divisor,
                   std::int64_t begin, std::int64_t end);
  // Offsets in a window must be exact as T (cpu.cpp packs other inputs).
  void (*positions)(T* y, std::int64_t* index, const PoolChannels<T>& x, std::int64_t begin,
                    std::int64_t end);
  void (*taps)(T* y, std::uint8_t* index, const PoolChannels<T>& x, std::int64_t begin,
               std::int64_t end);
};

// Backward of windows for which gathers() holds, a plane at a time. Each input element collects
// from the outputs whose windows cover it; nothing is added to memory.
template <class T>
struct PoolGradientKernels {
  bool (*gathers)(const PoolAxis& rows, const PoolAxis& cols);
  std::int64_t (*scratch)(const PoolAxis& rows, const PoolAxis& cols);  // its size, elements
  // dx = g where the tap is the one that `taps` names, over all windows; scratch zero before the
  // first plane
  void (*max_plane)(T* dx, const T* g, const std::uint8_t* taps, const PoolAxis& rows,
                    const PoolAxis& cols, T* scratch);
  void (*avg_plane)(T* dx, const T* g, const PoolAxis& rows, const PoolAxis& cols,
                    const PoolDivisor<T>& divisor, T* scratch);
  // Other averages: dx[0 .. cols.in) = each g / divisor (of output row `row`) added to the columns
  // of its window; scratch: cols.out
  void (*spread_row)(T* dx, T* scratch, const T* g, std::int64_t row, const PoolAxis& rows,
                     const PoolAxis& cols, const PoolDivisor<T>& divisor);
  void (*add_row)(T* dx, const T* x, std::int64_t n);  // dx += x
};

PYFAST_KERNEL_TABLE(PoolRowKernels, pool_row_kernels)
PYFAST_KERNEL_TABLE(PoolArgmaxKernels, pool_argmax_kernels)
PYFAST_KERNEL_TABLE(PoolChannelKernels, pool_channel_kernels)
PYFAST_KERNEL_TABLE(PoolGradientKernels, pool_gradient_kernels)

}  // namespace pyfast
