// Which numbers the tiles multiply as exactly as multiply-adds do.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "gemm/amx_kernel.h"

namespace pyfast::gemm {

// What suits the tiles: no infinity or NaN, no sum of products beyond float32 at 2^80 times its
// size, no pair of factors whose product the split would lose bits of (they are gone below 2^-126).
bool amx_fits(const Magnitudes& a, const Magnitudes& b, std::int64_t depth) {
  const auto exponent = [](std::uint32_t bits) { return static_cast<int>(bits >> 23) - 127; };
  const int high_a = exponent(a.largest), high_b = exponent(b.largest);
  if (a.largest == 0 || b.largest == 0) return std::max(high_a, high_b) < 128;
  const int low_a = exponent(a.smallest + 1), low_b = exponent(b.smallest + 1);
  const int depth_bits = std::ilogb(static_cast<double>(depth)) + 1;
  return std::max(high_a, high_b) <= 85 && high_a + high_b + depth_bits <= 43 &&
         std::min(low_a, low_b) >= -126 && low_a + low_b >= -172;
}

// Mean squares, over those of products: an element of C is a sum of as many of them as there are
// depths where neither factor is zero.
//
// A product of level 3 that is left out: two digits, each uniform over a byte, in units of 2^-24.
// Rounding: uniform over a last digit. A multiply-add rounds what is summed so far, in the mean
// half of the sum: by 0.43 units of 2^-24 as measured, in sums of no more than 256 as PyTorch's.
namespace {

constexpr double kLeftOut = 1.06e-7;  // (256^2 / 12 / 2^24)^2
constexpr double kRounded = 0x1p-32 / 12;
constexpr double kMultiplyAdd = 0.184 / 2 * 0x1p-48;
// Of the error of multiply-adds, squared: over all rows, and for any one of them.
constexpr double kMean = 0.9, kRow = 3;

struct Rows {  // of one spread, so many numbers of each not zero
  double spread, filled;
};
Rows mean(const DigitSpread& s) {
  const auto rows = static_cast<double>(s.rows);
  return {static_cast<double>(s.sum) / rows, static_cast<double>(s.filled) / rows};
}
Rows worst(const DigitSpread& s) {
  return {static_cast<double>(s.most), static_cast<double>(s.least)};
}

// The mean square error of so many products of digits over that of multiply-adds.
double error_ratio(int products, const Rows& a, const Rows& b, std::int64_t depth,
                   std::int64_t summed) {
  const auto sums = static_cast<double>(summed);
  const double part = a.filled * b.filled / static_cast<double>(depth * depth);
  const double digits =
      (8 - products) * kLeftOut * a.spread * b.spread + kRounded * (a.spread + b.spread);
  return digits / (kMultiplyAdd * sums * part);
}

}  // namespace

int amx_digit_products(const DigitSpread& a, const DigitSpread& b, std::int64_t depth) {
  return amx_digit_products(a, b, depth, std::min(depth, kAmxSummed));
}

int amx_digit_products(const DigitSpread& a, const DigitSpread& b, std::int64_t depth,
                       std::int64_t summed) {
  constexpr std::uint32_t kOne = 0x3f800000, kRange = 55u << 23;  // squares and units stay normal
  if (std::max(a.largest, b.largest) > kOne + kRange) return 0;
  if (a.rows == 0 || b.rows == 0) return 6;
  if (std::min(a.smallest, b.smallest) < kOne - kRange) return 0;
  if (a.exact && b.exact) return 6;
  for (int products = 6; products <= 8; ++products)
    if (error_ratio(products, mean(a), mean(b), depth, summed) <= kMean &&
        error_ratio(products, worst(a), mean(b), depth, summed) <= kRow &&
        error_ratio(products, mean(a), worst(b), depth, summed) <= kRow)
      return products;
  return 0;
}

}  // namespace pyfast::gemm
