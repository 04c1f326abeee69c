// Which numbers may go by F(2 x 2, 3 x 3): those whose error is then no larger than that of
// multiply-adds, tap by tap, in sums of 16 channels.
//
// Tap by tap, an error grows with the number of products that are not zero: those alone round. By
// transforms, all sums round, and a corner of the kernel is part of four times as many as its
// middle. NumPy with float32 sums in the kernel's order, normal and non-negative data of 16 to 512
// channels: 0.34 to 0.94 of PyTorch's error where nothing is zero, 0.8 to 0.9 where half of the
// inputs are, 1.0 at 35 %, 1.1 at 25 %, 1.4 at 10 %.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "ops/conv/packed.h"
#include "ops/conv/winograd.h"

namespace pyfast {

// Of all products of inputs and weights, the share that must not be zero.
inline constexpr double kWinogradDensity = 0.36;
// Low bits of the mantissas that inputs and weights, together, may lack: products of numbers so
// short are added without rounding, tap by tap (integers; bfloat16 had 1.4 of PyTorch's error).
inline constexpr int kWinogradZeros = 27;

inline int low_zeros(std::uint32_t bits) { return std::min(23, std::countr_zero(bits)); }

// `depth`: weights of a filter.
inline WinogradFit winograd_fit(const WinogradFilters& f, int filters, std::int64_t depth) {
  constexpr double kEven = 25.0 / 9;  // weighed over plain squares where taps are alike
  WinogradFit fit;
  for (int i = 0; i < filters; ++i) {
    fit.largest = std::max(fit.largest, f.largest[i]);
    fit.zeros = std::max(fit.zeros, low_zeros(f.bits[i]));
    const double share = static_cast<double>(f.nonzero[i]) / static_cast<double>(depth);
    const double density = share * kEven * static_cast<double>(f.squares[i] / f.weighed[i]);
    fit.density = density >= 0 ? std::min(fit.density, density) : 0;  // NaN: 0
  }
  return fit;
}

inline WinogradFit worse(const WinogradFit& a, const WinogradFit& b) {
  return {std::max(a.largest, b.largest), std::max(a.zeros, b.zeros),
          std::min(a.density, b.density)};
}

// Numbers whose sums and products stay far from overflow and from denormal numbers.
inline bool winograd_range(std::uint32_t bits, double low, double high) {
  const double x = static_cast<double>(std::bit_cast<float>(bits));
  return x >= low && x <= high;  // NaN and infinity are neither
}

inline bool winograd_suits(const WinogradFit& f) {
  return f.density >= kWinogradDensity && winograd_range(f.largest, 0x1p-50, 0x1p+50);
}

// Of products of inputs and weights that are not zero. `total`: numbers that were looked at.
inline double winograd_density(const WinogradFit& f, const WinogradNumbers& x, std::int64_t total) {
  return f.density * static_cast<double>(x.nonzero) / static_cast<double>(total);
}

inline bool winograd_short(const WinogradFit& f, const WinogradNumbers& x) {
  return low_zeros(x.bits) + f.zeros >= kWinogradZeros;
}

inline bool winograd_suits(const WinogradFit& f, const WinogradNumbers& x, std::int64_t total) {
  return winograd_density(f, x, total) >= kWinogradDensity &&
         winograd_range(x.largest, 0x1p-50, 0x1p+50) && !winograd_short(f, x);
}

}  // namespace pyfast
