// Depthwise planes that are computed as one row each (kernel_flat.h).
#pragma once

#include <algorithm>
#include <cstring>

#include "core/memory.h"
#include "ops/conv/kernel.h"
#include "ops/conv/plan.h"

namespace pyfast {

class FlatLayout {
 public:
  // Small planes, a 3 x 3 or 5 x 5 kernel in their middle.
  static bool fits(const AxisPlan& y, const AxisPlan& x) {
    constexpr std::int64_t kWidth = 40, kSize = 1600;
    const auto same = [](const AxisPlan& a) {
      const std::int64_t reach = std::abs(a.step) * (a.taps / 2);
      return a.stride == 1 && a.source == a.grid && a.target_step == 1 && a.tap_step == 1 &&
             a.offset + a.step * (a.taps / 2) == 0 && reach <= a.grid;
    };
    return (y.taps == 3 || y.taps == 5) && x.taps == y.taps && std::abs(x.step) == 1 &&
           x.grid <= kWidth && x.grid * y.grid <= kSize && same(y) && same(x);
  }
  FlatLayout(const AxisPlan& y, const AxisPlan& x)
      : width_(x.grid),
        size_(y.grid * x.grid),
        kernel_(static_cast<int>(x.taps)),
        row_step_(std::abs(y.step) * x.grid),
        slack_(kernel_ / 2 * (row_step_ + 1) + kDirectSlack) {}

  std::int64_t size() const { return size_; }
  std::int64_t scratch() const { return 2 * (size_ + 2 * slack_); }

  template <class T>
  Workspace<T> masks() const {
    Workspace<T> masks(kernel_ * mask_pitch());
    std::memset(masks.data(), 0, static_cast<std::size_t>(masks.size()) * sizeof(T));
    for (std::int64_t t = 0; t < kernel_; ++t)
      for (std::int64_t i = 0; i < size_; ++i) {
        const std::int64_t x = i % width_ + t - kernel_ / 2;
        if (x >= 0 && x < width_) std::memset(&masks[t * mask_pitch() + i], 0xff, sizeof(T));
      }
    return masks;
  }
  template <class T>
  FlatShape<T> shape(const Workspace<T>& masks) const {
    return {size_, slack_, kernel_, row_step_, masks.data(), mask_pitch()};
  }

 private:
  std::int64_t mask_pitch() const { return size_ + kDirectSlack; }

  std::int64_t width_, size_;
  int kernel_;
  std::int64_t row_step_, slack_;
};

}  // namespace pyfast
