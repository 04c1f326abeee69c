// Which inputs a window holds, and which windows hold an input, for GPU and host. 32-bit: bind.cpp
// checks that axes fit.
#pragma once

#include "cuda/core/host_device.h"
#include "ops/pool/pool.h"

namespace pyfast::cuda {

struct WindowAxis {
  int in, out, kernel, stride, padding, dilation;
  bool adaptive;

  PYFAST_HOST_DEVICE int first(int o) const {
    return adaptive ? o * in / out : o * stride - padding;
  }
  // One past the last tap's position.
  PYFAST_HOST_DEVICE int end(int o) const {
    if (adaptive) return ((o + 1) * in + out - 1) / out;
    return o * stride - padding + (kernel - 1) * dilation + 1;
  }
  PYFAST_HOST_DEVICE int step() const { return adaptive ? 1 : dilation; }
  // The first tap inside the input.
  PYFAST_HOST_DEVICE int begin(int o) const {
    const int f = first(o);
    return f >= 0 ? f : f + (-f + step() - 1) / step() * step();
  }
  PYFAST_HOST_DEVICE int last_in(int o) const { return end(o) < in ? end(o) : in; }
  // Windows [first_window, end_window) may hold input i; holds() says whether one does.
  PYFAST_HOST_DEVICE int first_window(int i) const {
    if (adaptive) return i * out / in;
    const int reach = i + padding - (kernel - 1) * dilation;
    return reach <= 0 ? 0 : (reach + stride - 1) / stride;
  }
  PYFAST_HOST_DEVICE int end_window(int i) const {
    if (adaptive) return ((i + 1) * out + in - 1) / in;
    const int windows = (i + padding) / stride + 1;
    return windows < out ? windows : out;
  }
  PYFAST_HOST_DEVICE bool holds(int o, int i) const {
    const int away = i - first(o);
    return away >= 0 && i < end(o) && away % step() == 0;
  }
  PYFAST_HOST_DEVICE int tap(int o, int i) const { return (i - first(o)) / step(); }
  // What an average counts along this axis.
  PYFAST_HOST_DEVICE int counted(int o, bool include_pad) const {
    if (adaptive || !include_pad) {
      const int from = begin(o), to = last_in(o);
      return from < to ? (to - from + step() - 1) / step() : 0;
    }
    const int room = in + 2 * padding - o * stride;
    return kernel < room ? kernel : room;
  }
};

inline WindowAxis window_axis(const PoolAxis& a) {
  const auto i = [](std::int64_t v) { return static_cast<int>(v); };
  return {i(a.in), i(a.out), i(a.kernel), i(a.stride), i(a.padding), i(a.dilation), a.adaptive};
}

// What the sum of a window is divided by.
struct PoolDivisor {
  bool include_pad;
  float fixed;  // 0: what the window counts

  explicit PoolDivisor(const PoolParams& p)
      : include_pad(p.count_include_pad), fixed(static_cast<float>(p.divisor_override)) {}
  PYFAST_HOST_DEVICE float operator()(const WindowAxis& rows, const WindowAxis& cols, int r,
                                      int c) const {
    if (fixed != 0) return fixed;
    return static_cast<float>(rows.counted(r, include_pad)) *
           static_cast<float>(cols.counted(c, include_pad));
  }
};

}  // namespace pyfast::cuda
