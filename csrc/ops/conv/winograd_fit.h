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

// Of inputs and weights, multiplied: how even their magnitudes must be. An output's error is that
// of its whole tile and transformed filter, so one that a number outweighing the rest hardly
// touches has more than its own: with one weight of 10,000 times the others 7 to 25 of PyTorch's
// error (of 1,000 times 1.1), with Student's t of two degrees of freedom for both 1.1 to 1.2.
inline constexpr double kWinogradEvenness = 0.025;

// Square of the mean magnitude over the mean square, of numbers that are not zero: 0.64 for normal
// ones, near 0 where few outweigh the rest.
inline double winograd_evenness(double sum, double squares, double nonzero) {
  const double even = sum * sum / (squares * nonzero);
  return even >= 0 ? even : nonzero > 0 ? 0 : 1;  // NaN: overflow, or nothing there
}

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
    fit.evenness = std::min(fit.evenness, winograd_evenness(static_cast<double>(f.sums[i]),
                                                            static_cast<double>(f.squares[i]),
                                                            static_cast<double>(f.nonzero[i])));
  }
  return fit;
}

inline WinogradFit worse(const WinogradFit& a, const WinogradFit& b) {
  return {std::max(a.largest, b.largest), std::max(a.zeros, b.zeros),
          std::min(a.density, b.density), std::min(a.evenness, b.evenness)};
}

// Numbers whose sums and products stay far from overflow and from denormal numbers.
inline bool winograd_range(std::uint32_t bits, double low, double high) {
  const double x = static_cast<double>(std::bit_cast<float>(bits));
  return x >= low && x <= high;  // NaN and infinity are neither
}

inline bool winograd_suits(const WinogradFit& f) {
  return f.density >= kWinogradDensity && f.evenness >= kWinogradEvenness &&
         winograd_range(f.largest, 0x1p-50, 0x1p+50);
}

// Of products of inputs and weights that are not zero. `total`: numbers that were looked at.
inline double winograd_density(const WinogradFit& f, const WinogradNumbers& x, std::int64_t total) {
  return f.density * static_cast<double>(x.nonzero) / static_cast<double>(total);
}

inline bool winograd_short(const WinogradFit& f, const WinogradNumbers& x) {
  return low_zeros(x.bits) + f.zeros >= kWinogradZeros;
}

inline bool winograd_even(const WinogradFit& f, const WinogradNumbers& x) {
  const double even = winograd_evenness(x.sum, x.squares, static_cast<double>(x.nonzero));
  return f.evenness * even >= kWinogradEvenness;
}

inline bool winograd_suits(const WinogradFit& f, const WinogradNumbers& x, std::int64_t total) {
  return winograd_density(f, x, total) >= kWinogradDensity && winograd_even(f, x) &&
         winograd_range(x.largest, 0x1p-50, 0x1p+50) && !winograd_short(f, x);
}

}  // namespace pyfast
