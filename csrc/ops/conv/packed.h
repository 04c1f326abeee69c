// A convolution's weight whose panels are packed once, for inference.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <variant>

#include "core/memory.h"
#include "core/tensor.h"
#include "gemm/amx_kernel.h"

namespace pyfast {

// A value made by whoever needs it first; those who race for it make it twice. There is no lock: a
// forked child could not open one that another thread held.
template <class V>
class Once {
 public:
  Once() = default;
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;
  ~Once() { delete value_.load(); }

  template <class Make>
  const V& get(Make make) const {
    if (const V* there = value_.load(std::memory_order_acquire)) return *there;
    auto made = std::make_unique<const V>(make());
    const V* there = nullptr;
    if (value_.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel))
      return *made.release();
    return *there;
  }

 private:
  mutable std::atomic<const V*> value_{nullptr};
};

// Panels of 32 output channels on AMX tiles, by (group, stretch, panel), and what was seen of each.
struct TilePanels {
  Workspace<std::uint16_t> items;
  Workspace<Magnitudes> seen;
};

// Panels of 16 output channels in fixed point, by (group, stretch, panel); each channel's factor,
// each panel's spread (band_digits.h).
struct DigitPanels {
  Workspace<std::int8_t> items;
  Workspace<float> factors, spread;
};

// Panels of filters transformed for F(2 x 2, 3 x 3), by (group, panel), and what they are like
// (winograd_fit.h).
struct WinogradFit {
  std::uint32_t largest = 0;  // bits of the largest magnitude
  int zeros = 0;              // low bits that no weight of some filter has
  double density = 1;         // of weights that are not 0, less where corners outweigh the rest
  double evenness = 1;        // of a filter's weights
};
struct WinogradPanels {
  Workspace<float> items;
  Workspace<WinogradFit> fits;
  std::int64_t panels;  // of a group
};

// What the ways of correlate() make of a weight: its layout depends on the weight alone, not on the
// image it meets.
template <class T>
struct ConvPanels {
  Once<Workspace<T>> band, lanes;
  Once<TilePanels> tiles;  // of all three parts, whatever the precision
  Once<DigitPanels> digits;
  Once<WinogradPanels> winograd;
};

// A weight (out, in / groups, ...) of conv1d or conv2d. Its elements must neither change nor go
// while it lives: panels are made of them when a call first needs them.
class PackedConvWeight {
 public:
  // Validates: 3 or 4 dimensions, output channels that the groups divide.
  PackedConvWeight(const TensorView& weight, std::int64_t groups);

  const TensorView& weight() const { return weight_; }
  std::int64_t groups() const { return groups_; }
  template <class T>
  const ConvPanels<T>& panels() const {
    return std::get<ConvPanels<T>>(panels_);
  }

 private:
  Workspace<std::byte> copy_;  // where the array is not in C order
  TensorView weight_;
  std::int64_t groups_;
  std::variant<ConvPanels<float>, ConvPanels<double>> panels_;
};

}  // namespace pyfast
