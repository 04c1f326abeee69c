// Patches of an image as rows and columns of a matrix, gathered while packing.
//
// The columns of a panel are cut into runs once per kernel tap, borders and row ends included; the
// runs then serve every channel. Nothing is computed per element.
#include "ops/conv/kernel.h"

#include "ops/conv/kernel_band.h"
#include "ops/conv/kernel_direct.h"
#include "ops/conv/kernel_flat.h"
#include "ops/conv/kernel_lanes.h"
#include "ops/conv/kernel_patches.h"
#include "ops/conv/kernel_plane.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
void pack_columns(const Patches<T>& p, T* panel, std::int64_t column, int cols, int tile,
                  std::int64_t k, std::int64_t depth) {
  Stretch<T> stretch(p, column, cols, tile);
  const std::int64_t taps = p.y.taps * p.x.taps, tap_count = depth < taps ? depth : taps;
  std::int64_t channel = k / taps, tap = k % taps;
  for (std::int64_t i = 0; i < tap_count; ++i) {
    stretch.find_runs(tap / p.x.taps, tap % p.x.taps);
    stretch.copy(panel + i * tile, taps * tile, p.image + channel * p.channel,
                 (depth - i - 1) / taps + 1);
    if (++tap == taps) tap = 0, ++channel;
  }
}

template <class T>
void gather_rows(const Patches<T>& p, T* out, std::int64_t stride, std::int64_t row,
                 std::int64_t rows, std::int64_t column, std::int64_t cols) {
  const std::int64_t taps = p.y.taps * p.x.taps, tap_count = rows < taps ? rows : taps;
  for (std::int64_t i = 0; i < cols; i += kMaxColumns) {
    const int count = cols - i < kMaxColumns ? static_cast<int>(cols - i) : kMaxColumns;
    Stretch<T> stretch(p, column + i, count, count);
    for (std::int64_t r = 0; r < tap_count; ++r) {
      const std::int64_t tap = (row + r) % taps, channel = (row + r) / taps;
      stretch.find_runs(tap / p.x.taps, tap % p.x.taps);
      for (std::int64_t c = 0; r + c * taps < rows; ++c)
        stretch.copy(out + (r + c * taps) * stride + i, 0, p.image + (channel + c) * p.channel, 1);
    }
  }
}

}  // namespace

template <class T>
const ConvKernels<T>& conv_kernels() {
  static constexpr ConvKernels<T> table{&fill_planes<T>,     band_micro_table<T>(),
                                        lanes_table<T>(),    kAnywhere,
                                        weight_table<T>(),   kWeightRows,
                                        kWeightVectors,      &lanes_store<T>,
                                        &fill_inside<T>,     &pack_columns<T>,
                                        &gather_rows<T>,     &fill_band<T>,
                                        &direct<T>,          &plane_3x3<T>,
                                        &copy_masked<T>,     &direct_weights<T>,
                                        &any_flat_planes<T>, &any_flat_weights<T>,
                                        &fold_lanes<T>,      &spread_3x3<T>,
                                        &interleave<T>,      &sum<T>};
  return table;
}

template const ConvKernels<float>& conv_kernels<float>();
template const ConvKernels<double>& conv_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
