// The windows of a pooling along one axis: fixed (kernel, stride, padding, dilation) or adaptive.
//
// The helpers are static: kernel.cpp is compiled for several instruction sets, and functions with
// external linkage would be merged with theirs.
#pragma once

#include <cstdint>

namespace pyfast {

struct PoolAxis {
  std::int64_t in = 1, out = 1;
  std::int64_t kernel = 1, stride = 1, padding = 0, dilation = 1;
  // Window o spans [floor(o in / out), ceil((o + 1) in / out)); kernel is then an upper bound.
  bool adaptive = false;
  // Outputs in [inner_begin, inner_end) have all `kernel` taps inside the input. Both are 0 for
  // adaptive windows, whose lengths differ.
  std::int64_t inner_begin = 0, inner_end = 1;

  std::int64_t span() const { return (kernel - 1) * dilation + 1; }
};

// The taps first, first + dilation, ... (`count` of them) that lie inside the input.
struct PoolWindow {
  std::int64_t first, count;
};

static inline PoolWindow window_at(const PoolAxis& a, std::int64_t o) {
  if (a.adaptive) {
    const std::int64_t first = o * a.in / a.out;
    return {first, ((o + 1) * a.in + a.out - 1) / a.out - first};
  }
  std::int64_t first = o * a.stride - a.padding, taps = a.kernel;
  if (first >= 0 && first + a.span() <= a.in) return {first, taps};  // nearly all; divides nothing
  if (first < 0) {
    const std::int64_t skipped = (a.dilation - 1 - first) / a.dilation;
    first += skipped * a.dilation;
    taps -= skipped;
  }
  const std::int64_t fitting = first < a.in ? (a.in - 1 - first) / a.dilation + 1 : 0;
  return {first, taps < fitting ? taps : fitting};
}

// How many elements an average counts along this axis: the taps, or all of the window that lies
// in the input or in its padding (ceil_mode may reach beyond both).
static inline std::int64_t extent_at(const PoolAxis& a, std::int64_t o, bool include_pad) {
  if (a.adaptive || !include_pad) return window_at(a, o).count;
  const std::int64_t room = a.in + 2 * a.padding - o * a.stride;
  return a.kernel < room ? a.kernel : room;
}

}  // namespace pyfast
