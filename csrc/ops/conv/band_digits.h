// float32 products on AMX tiles in fixed point: x = 2^-e (d0 2^24 + d1 2^16 + d2 2^8 + d3), each
// digit a signed byte.
//
// Numbers that share the scale 2^e, of which the largest decides, are rounded to multiples of 2^-31
// of its power of two. Of the products of two numbers' digits the ten with d0 ... d3 opposite each
// other or further up are summed, exactly, in four levels: d0 d0; d0 d1 + d1 d0; ...; what is left
// out is 2^-33 of the largest product. With three digits (six products) convolutions had 3 to 9
// times PyTorch's error, and with all nine of them 1.0 to 3 times: so many of 24 bits are lost to
// the distance between the largest number and the others. DigitFit tells that distance.
//
// A tile instruction multiplies 64 of the depth, twice what it does of bfloat16, of which six
// products are needed: 10 instructions here are 12 there, on two thirds of the bytes.
#pragma once

#include <cstdint>

#include "gemm/amx_kernel.h"

namespace pyfast {

inline constexpr int kDigits = 4;
inline constexpr int kDigitDepth = 64;                               // of a step
inline constexpr int kDigitStep = kDigits * kDigitDepth * kAmxTile;  // bytes, of a panel of 16
inline constexpr int kLeastExponent = 127 - 40, kMostExponent = 127 + 40;  // biased, of the largest

// How far numbers lie below the power of two that bounds them.
struct DigitFit {
  // The most, over what shares a scale or lies together, of the bound's square over the mean
  // square; infinite where numbers are not finite or their exponents extreme.
  float spread = 0;
  // The most, over what shares a scale, of the largest number's square over the sum of squares.
  float lone = 0;
  float energy = 0, peaks = 0;  // sums of squares: of all, of each column's largest
};

// n columns of numbers, those of a column `stride` apart: runs of `run`, at least 16 if there are
// several, whose beginnings are `skip` apart.
struct DigitColumns {
  const float* data;
  std::int64_t stride, skip, run, n;
};

// The weights of `count` <= 16 filters: element e of channel i's kernel, `size` of them side by
// side, lies at r * filter + i * channel + e; taps[t] is the element of tap t.
struct DigitFilters {
  const float* data;
  std::int64_t filter, channel, depth, count, size;
  const std::int64_t* taps;
  std::int64_t tap_count;
};

// A row of 16 x 16 tiles of a product, `left` and `right` as they lie (a part is a digit's plane).
struct DigitRow {
  std::int64_t steps, count;
  AmxOperand left, right;
  std::int64_t left_next, right_next;  // bytes to the next tile's
  const float* row_factors;            // of the 16 rows,
  const float* lane_factors;           // and of the 16 columns of each tile,
  std::int64_t lane_next;              // which lie so far apart
  float* tile;                         // tile t's rows: tile + t next + r ld
  std::int64_t ld, next;
  bool accumulate;
  const std::int8_t* ahead;  // what will be read next: so many lines are fetched into L2 meanwhile
  std::int64_t ahead_lines;
};

struct DigitKernels {
  // Each column's scales[i] = 2^e and factors[i] = 2^(12 - e); both have room for whole vectors.
  void (*scale_columns)(const DigitColumns& columns, std::int64_t depth, float* scales,
                        float* factors, DigitFit& fit);
  // The same of rows r < n <= 16 of source[r * stride + d].
  void (*scale_rows)(const float* source, std::int64_t stride, std::int64_t depth, std::int64_t n,
                     float* scales, float* factors, DigitFit& fit);
  // One scale for all of the columns: the largest magnitude's bits, and the least mean square of 16
  // columns, zeros left out, are joined to what they were; and fit's sums. room: 2 (n + 32).
  void (*measure)(const DigitColumns& columns, std::int64_t depth, float* room,
                  std::uint32_t& largest, float& least, DigitFit& fit);

  // Left operand: planes[k * plane + 64 at[i] + d] = digit k of column i at depth d < 64, zeros for
  // d >= depth. Without `at`: i, and rows up to a multiple of 16 are written. Scales 16 at a time,
  // the same ones again unless `own`.
  void (*split_left)(std::int8_t* planes, std::int64_t plane, const DigitColumns& columns,
                     std::int64_t depth, const float* scales, bool own, const std::int32_t* at);
  // Right operands of 16 columns, panels `next` bytes apart: in steps of 64 of the depth, digit
  // after digit, a line for each four of the depth, which lie side by side in the columns' lanes.
  void (*split_right)(std::int8_t* panels, std::int64_t next, const DigitColumns& columns,
                      std::int64_t depth, const float* scales);
  // A panel of rows r < n <= 16 of source[r * stride + d] as left operand.
  void (*split_rows)(std::int8_t* panel, const float* source, std::int64_t stride,
                     std::int64_t depth, std::int64_t n, const float* scales);
  // A panel of filters as right operand, 64 channels after 64, of each tap after tap, and the 16
  // filters' factors. room: 16 depth size.
  void (*split_filters)(std::int8_t* panel, const DigitFilters& filters, float* room,
                        float* factors, DigitFit& fit);

  // tile[r, c] (+)= row_factors[r] lane_factors[c] sum
  void (*multiply_row)(const DigitRow& row);
};

namespace amx {
// Only where amx_ready() (gemm/amx.h).
#if defined(__x86_64__) || defined(_M_X64)
const DigitKernels& digit_kernels();
#else
inline const DigitKernels& digit_kernels() { __builtin_unreachable(); }
#endif
}  // namespace amx

}  // namespace pyfast
