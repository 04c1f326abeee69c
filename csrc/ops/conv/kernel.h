// Inner loops of convolution: gathering patches of an image, and the direct kernels for few
// channels.
#pragma once

#include <cstdint>
#include <limits>

#include "core/isa.h"
#include "gemm/epilogue.h"
#include "ops/conv/plan.h"

namespace pyfast {

// The matrix of an image's patches, which is never formed. Row (c, ty, tx), column (n, y, x):
//   image[n, c, y stride + offset + ty step, x stride + ...], zero outside the image
template <class T>
struct Patches {
  const T* image;                             // first channel of the group
  std::int64_t sample, channel, row, column;  // strides
  AxisPlan y, x;
};

// What will be read next: square kernels fetch it into L2 while they compute.
template <class T>
struct Ahead {
  const T* data = nullptr;
  std::int64_t size = 0;
};

// One plane of outputs of the direct kernel, computed from a band: rows of the source with their
// padding, cut by column residue so that every tap reads neighbours at unit stride.
template <class T>
struct DirectRows {
  const T* band;
  std::int64_t band_stride;  // between the sources of neighbouring output rows
  std::int64_t rows, cols;
  const std::int64_t* offsets;  // of every tap, in the band
  int taps;
  // Of a dense kernel of as many rows as columns, in the band's order: its size (else 0), and the
  // stride down.
  int square = 0, stride = 1;
  Ahead<T> ahead = {};
  bool descending = false;  // of a dense 3 x 3 kernel of stride 1: the last tap is added first
};

// A plane under a 3 x 3 kernel whose taps begin at most one row and one column before it, and end
// at most one behind it.
template <class T>
struct PlaneRows {
  const T* image;                   // the plane
  std::int64_t height, width, row;  // of it, and between its rows
  std::int64_t above, left;         // rows and columns outside that the first outputs see: 0 or 1
  std::int64_t cols;                // of outputs
  int stride;                       // 1 or 2, along both axes
  const T* zeros;                   // a row of them, as wide as the plane
};

// Filling a band: the source under a block of the grid, padded with zeros and cut by row and column
// residue modulo the strides into planes, in which every tap is a shift.
struct BandAxis {
  std::int64_t first, stride,
      size;                    // coordinate of entry 0; step to the next; extent of the source
  std::int64_t phases, count;  // planes, and entries of each
};

template <class T>
struct BandFill {
  const T* source;                            // first channel of the first sample
  std::int64_t sample, channel, row, column;  // strides
  BandAxis y, x;
  std::int64_t samples, channels;
  // Where entry (c, phase y, phase x, sample, i, j) goes: c channel_pitch + phase plane + ...
  std::int64_t channel_pitch, plane, sample_pitch, pitch;
};

// Planes taken as one row each, and a square kernel that keeps their size (kernel_flat.h).
template <class T>
struct FlatShape {
  std::int64_t size;      // of a plane
  std::int64_t slack;     // zeros on either side of a copy of it
  int kernel;             // rows and columns: 3 or 5, the middle one on the output's position
  std::int64_t row_step;  // between the taps of a column
  const T* masks;         // [kernel][mask_pitch]: all bits set where a column of taps is inside
  std::int64_t mask_pitch;

  std::int64_t copy() const { return size + 2 * slack; }
};

// tile[r * cols + c] (+)= sum over d of a[d * rows + r] * band[offsets[d] + c]
template <class T>
using BandMicro = void (*)(std::int64_t depth, const T* a, const T* band,
                           const std::int64_t* offsets, T* tile, bool accumulate);

// What a tile of grid points sees of the source: a step of depth d begins at data + offsets[d].
template <class T>
struct LanesSource {
  const T* data;
  const std::int64_t* offsets;
  std::int64_t row_step;  // between rows of points
  std::int64_t ahead;     // what will be read next, fetched into L2
  std::int64_t run = std::numeric_limits<std::int64_t>::max();  // depths of a sum from zero
  const std::int64_t* points = nullptr;  // where each is, if they are anywhere
};

// tile[p * lanes + l] (+)= sum over d of point p of step d * weights[d * lanes + l]
template <class T>
using LanesMicro = void (*)(std::int64_t depth, const LanesSource<T>& source, const T* weights,
                            T* tile, bool accumulate);

template <class T>
struct ConvKernels {
  void (*fill_planes)(const BandFill<T>& fill, T* band);
  const BandMicro<T>* band_micro;  // by tile size, as GemmKernels::micro
  // For points s = 1 or 2 apart, r rows of c of them (of two rows up to half a tile's) and v
  // vectors of lanes, with R = GemmKernels::rows:
  //   lanes_micro[((s - 1) * (R + R / 2) + (r - 1) * R + c - 1) * vectors + v - 1]
  // Where `lanes_anywhere`, for p points anywhere: lanes_micro[(p - 1) * vectors + v - 1]
  const LanesMicro<T>* lanes_micro;
  bool lanes_anywhere;
  // The same of r rows of the image and v vectors of maps, for the gradient of a weight:
  //   weight_micro[(r - 1) * weight_vectors + v - 1]
  const LanesMicro<T>* weight_micro;
  int weight_rows, weight_vectors;
  // C(r, p) = epilogue(tile[p * lanes + r]), r < rows
  void (*lanes_store)(const gemm::Epilogue<T>& e, const T* tile, int lanes, int points, int rows);
  void (*fill_inside)(const BandFill<T>& fill, T* band);
  // gemm::Source::pack: columns of the patch matrix as the panel's rows
  void (*pack_columns)(const Patches<T>& patches, T* panel, std::int64_t column, int cols, int tile,
                       std::int64_t k, std::int64_t depth);
  // out[r * stride + i] = patch matrix(row + r, column + i)
  void (*gather_rows)(const Patches<T>& patches, T* out, std::int64_t stride, std::int64_t row,
                      std::int64_t rows, std::int64_t column, std::int64_t cols);
  // The rows under a block of a grid, the columns of each residue modulo the stride together:
  //   band[(phase * y.grid + i) * x.grid + j] =
  //       image[y.offset + i, x.offset + phase + j x.stride], phase < x.taps
  void (*fill_band)(const Patches<T>& plane, T* band);
  // out[y, x] = bias + sum over taps; added to out when `accumulate`. The band must be readable
  // for kDirectSlack elements behind its end.
  void (*direct)(const DirectRows<T>& source, const T* weights, T bias, bool accumulate, T* out,
                 std::int64_t out_stride);
  // Rows [begin, end) of bias + sum over taps, to rows `out_row` apart; out: row `begin`.
  void (*plane_3x3)(const PlaneRows<T>& plane, std::int64_t begin, std::int64_t end,
                    const T* weights, T bias, T* out, std::int64_t out_row);
  // out[t * stride + i] = x[i] where mask[t * n + i] has all bits set, 0 where none, t < copies
  void (*copy_masked)(T* out, std::int64_t stride, const T* x, const T* mask, std::int64_t copies,
                      std::int64_t n);
  // sums[tap] += sum over y, x of grad[y, x] * source under that tap
  void (*direct_weights)(const DirectRows<T>& source, const T* grad, std::int64_t grad_stride,
                         double* sums);
  // Planes `step` apart correlated with K x K weights each, last tap first if `reversed`. scratch:
  // two copies, zero in the slack.
  void (*flat_planes)(const FlatShape<T>& s, std::int64_t planes, const T* source,
                      std::int64_t step, const T* weights, bool reversed, const T* bias, T* out,
                      std::int64_t out_step, T* scratch);
  // lanes[plane][tap][.] += maps * image under the tap, whose sum over lanes is the gradient
  void (*flat_weights)(const FlatShape<T>& s, std::int64_t planes, const T* image,
                       std::int64_t step, const T* maps, std::int64_t maps_step, T* lanes,
                       T* scratch);
  // sums[i] += the lanes of vector i, i < n, which become zero
  void (*fold_lanes)(T* lanes, std::int64_t n, double* sums);
  // The image's gradient of a 3 x 3 kernel, stride 2, padding 1: rows x cols of it from maps whose
  // rows are `pitch` apart, with a row and a column of zeros behind them.
  void (*spread_3x3)(const T* maps, std::int64_t pitch, const T* weights, T* out,
                     std::int64_t out_pitch, std::int64_t rows, std::int64_t cols);
  // out[2 i] = even[i], out[2 i + 1] = odd[i], for 2 i and 2 i + 1 below n; rows of them
  void (*interleave)(const T* even, const T* odd, std::int64_t pitch, T* out,
                     std::int64_t out_pitch, std::int64_t rows, std::int64_t n);
  // x[0] + x[stride] + ..., n of them
  double (*sum)(const T* x, std::int64_t n, std::int64_t stride);
};

inline constexpr std::int64_t kDirectSlack = 64;

PYFAST_KERNEL_TABLE(ConvKernels, conv_kernels)

}  // namespace pyfast
