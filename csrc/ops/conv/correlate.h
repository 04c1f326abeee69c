// The one computation behind every convolution's output and every gradient of an input: channels
// of a source correlated with a kernel, written to a grid of the target.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/activation.h"
#include "ops/conv/layout.h"
#include "ops/conv/packed.h"
#include "ops/conv/plan.h"

namespace pyfast {

// target[n, o, y, x] = activation(bias[o] + residual[n, o, y, x] + sum over i, ty, tx of
//     source[n, i, ...] weight[o weight_out + i weight_in + ky kernel_width + kx])
// over the grid of the two plans; other elements of the target are left alone.
template <class T>
struct Correlation {
  Image<const T> source;
  Image<T> target;
  AxisPlan y, x;
  std::int64_t batch, groups;
  std::int64_t in, out;  // channels of one group
  const T* weight;
  std::int64_t weight_group, weight_out, weight_in, kernel_width;
  const T* bias = nullptr;  // of every output channel; null: 0
  Activation activation = Activation::none;
  T* linear = nullptr;  // also gets the values before the activation, laid out as the target
  const T* residual = nullptr;            // laid out as the target; null: 0
  const ConvPanels<T>* panels = nullptr;  // of the weight, if it is a constant

  std::int64_t taps() const { return y.taps * x.taps; }
  std::int64_t grid() const { return y.grid * x.grid; }
  // So many products are one chain of multiply-adds, and chains' sums added up. PyTorch adds up
  // long sums in a row, save where it spreads a product of matrices over an image (a gradient, or
  // a transposed convolution): there an output is a sum over taps of sums over channels.
  bool spreads() const { return y.step < 0 && taps() > 1; }
  std::int64_t chain() const {
    const std::int64_t depth = in * taps();
    if (!spreads()) return std::clamp<std::int64_t>(depth / 4, 32, 80);
    return std::clamp<std::int64_t>(
        static_cast<std::int64_t>(1.4 * std::sqrt(static_cast<double>(depth))), 24, 80);
  }
  // Offset of weight[o, i, ., .] under tap (ty, tx).
  std::int64_t tap_offset(std::int64_t ty, std::int64_t tx) const {
    return (y.first_tap + ty * y.tap_step) * kernel_width + x.first_tap + tx * x.tap_step;
  }
  // Offset in the target of grid point (y, x) of channel 0.
  std::int64_t target_offset(std::int64_t n, std::int64_t gy, std::int64_t gx) const {
    return n * target.sample + (y.first_target + gy * y.target_step) * target.row +
           (x.first_target + gx * x.target_step) * target.column;
  }
};

// A 1 x 1 kernel over rows without gaps: the plane is one long row.
template <class T>
Correlation<T> flattened(const Correlation<T>& c) {
  Correlation<T> flat = c;
  const auto trivial = [](const AxisPlan& a) {
    return a.taps == 1 && a.offset == 0 && a.stride == 1 && a.grid == a.source &&
           a.first_target == 0 && a.target_step == 1;
  };
  const bool gapless =
      c.source.row == c.x.source * c.source.column && c.target.row == c.x.grid * c.target.column;
  if (!trivial(c.y) || !trivial(c.x) || !gapless) return flat;
  flat.x.source = flat.x.grid = c.grid();
  flat.y.source = flat.y.grid = 1;
  return flat;
}

// As a matrix product of the weights with the source's patches.
template <class T>
void correlate_gemm(const Correlation<T>& c);

// The same product over a band of the source (band_plan.h), without gathering patches.
template <class T>
void correlate_band(const Correlation<T>& c);
template <class T>
bool prefers_band(const Correlation<T>& c);

// The same with output channels in the lanes: rows of any length fill its tiles.
template <class T>
void correlate_lanes(const Correlation<T>& c);
template <class T>
bool prefers_lanes(const Correlation<T>& c);

// The same on AMX tiles, each number as a sum of bfloat16 parts or in fixed point.
void correlate_amx(const Correlation<float>& c);
bool prefers_amx(const Correlation<float>& c);

// In fixed point; pieces that it does not suit are left to `otherwise`.
void correlate_digits(const Correlation<float>& c, void (*otherwise)(const Correlation<float>&));
bool prefers_digits(const Correlation<float>& c);

// 3 x 3 kernels of stride 1 from 16 products for 36 (winograd.h); pieces whose numbers it does not
// suit are left to `otherwise`.
void correlate_winograd(const Correlation<float>& c, void (*otherwise)(const Correlation<float>&));
bool prefers_winograd(const Correlation<float>& c);

// Plane by plane, for groups too small to fill a product's tile. Takes no residual.
template <class T>
void correlate_direct(const Correlation<T>& c);
template <class T>
bool prefers_direct(const Correlation<T>& c);

// Plane by plane, straight from the source: depthwise 3 x 3. Takes no residual.
template <class T>
void correlate_planes(const Correlation<T>& c);
template <class T>
bool prefers_planes(const Correlation<T>& c);

// Plane by plane, each as one row: small depthwise ones. Takes no residual.
template <class T>
void correlate_flat(const Correlation<T>& c);
template <class T>
bool prefers_flat(const Correlation<T>& c);

// A 1 x 1 kernel with strides, whose points are picked out first.
template <class T>
void correlate_picked(const Correlation<T>& c);
template <class T>
bool prefers_picked(const Correlation<T>& c);

// One channel a group, side by side in memory: turned into planes first. Takes no residual.
template <class T>
void correlate_turned(const Correlation<T>& c);
template <class T>
bool prefers_turned(const Correlation<T>& c);

// As a product, whichever is fastest; without tiles, or with them.
template <class T>
void correlate_taps(const Correlation<T>& c) {
  if (prefers_lanes(c)) return correlate_lanes(c);
  prefers_band(c) ? correlate_band(c) : correlate_gemm(c);
}
template <class T>
void correlate_vectors(const Correlation<T>& c) {
  if constexpr (std::is_same_v<T, float>)
    if (prefers_winograd(c)) return correlate_winograd(c, &correlate_taps<T>);
  correlate_taps(c);
}
template <class T>
void correlate_product(const Correlation<T>& c) {
  if constexpr (std::is_same_v<T, float>)
    if (prefers_amx(c)) return correlate_amx(c);
  correlate_vectors(c);
}

template <class T>
void correlate(const Correlation<T>& c) {
  if (!c.residual && prefers_turned(c)) return correlate_turned(c);
  if (!c.residual && prefers_flat(c)) return correlate_flat(c);
  if (!c.residual && prefers_planes(c)) return correlate_planes(c);
  if (!c.residual && prefers_direct(c)) return correlate_direct(c);
  prefers_picked(c) ? correlate_picked(c) : correlate_product(c);
}

}  // namespace pyfast
