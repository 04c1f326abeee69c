// A correlation as its kernels see it: which source index, kernel index and target index belong
// together along each axis.
//
// Reading an image into maps is one plan. The other direction, from maps to the image, is cut by
// the stride: the pixels of one residue class (a phase) meet the same kernel taps, and form a
// correlation of stride 1 of their own. No zeros are inserted, no product is spent on them.
#pragma once

#include <algorithm>
#include <numeric>

#include "ops/conv/conv.h"

namespace pyfast {

// For grid point i and tap t: source index i stride + offset + t step (a zero where outside),
// kernel index first_tap + t tap_step, target index first_target + i target_step.
struct AxisPlan {
  std::int64_t source, grid, stride;
  std::int64_t taps, offset, step;
  std::int64_t first_tap, tap_step;
  std::int64_t first_target, target_step;
};

inline AxisPlan gather_axis(const ConvAxis& a) {
  return {a.image, a.maps, a.stride, a.kernel, -a.padding, a.dilation, 0, 1, 0, 1};
}

// Phases of an axis that meet any tap: tap `first` < scatter_phases() is the first of its phase.
inline std::int64_t scatter_phases(const ConvAxis& a) {
  return std::min(a.kernel, a.stride / std::gcd(a.stride, a.dilation));
}

// The image points that meet tap `first`; grid may be 0.
inline AxisPlan scatter_axis(const ConvAxis& a, std::int64_t first) {
  const std::int64_t shared = std::gcd(a.stride, a.dilation), tap_step = a.stride / shared;
  const std::int64_t at = first * a.dilation - a.padding;  // of output 0's element under the tap
  const std::int64_t phase = (at % a.stride + a.stride) % a.stride;
  const std::int64_t grid = phase < a.image ? (a.image - phase - 1) / a.stride + 1 : 0;
  const std::int64_t taps = (a.kernel - 1 - first) / tap_step + 1;
  return {a.maps, grid,     1,     taps,    (phase - at) / a.stride, -a.dilation / shared,
          first,  tap_step, phase, a.stride};
}

// Whether some image point meets no tap. A phase may lie beyond an image shorter than the stride.
inline bool leaves_points(const ConvAxis& a) {
  std::int64_t met = 0;
  for (std::int64_t t = 0; t < scatter_phases(a); ++t) met += scatter_axis(a, t).grid > 0;
  return met < std::min(a.stride, a.image);
}

// Every image point, with no tap.
inline AxisPlan untouched_axis(const ConvAxis& a) {
  return {a.maps, a.image, 1, 0, 0, 1, 0, 1, 0, 1};
}

}  // namespace pyfast
