// float32 products on AMX tiles: each operand is split into bfloat16 parts, x = x1 + x2 + x3.
//
// Three parts hold all 24 bits of a float; the six products x1 y1, x1 y2, x2 y1, x2 y2, x1 y3 and
// x3 y1 leave out no more than one rounding of float32 does, and the tiles sum in float32. Two
// parts and three products keep about 16 bits, one part and one product 8.
//
// Parts are split from 2^40 x, so that the last part of a small number is not lost to the tiles,
// which flush what lies below 2^-126; sums are scaled back by 2^-80. What still does not fit
// (Magnitudes tell) is the caller's to compute otherwise.
//
// Panels. A panel is 16 or 32 rows (of A) or columns (of B) deep as the block, in steps of 32:
// step after step, in a step part after part, in a part tile after tile, 1 KiB each, as the
// instruction reads it: A by rows of 32 neighbours in depth; B by pairs of neighbours in depth, 16
// columns side by side.
//
// Or each operand is split into three signed bytes, digits of a number in units of its row's
// largest (amx_digits.h): six to eight products of twice the depth.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pyfast {

inline constexpr int kAmxTile = 16;                         // rows or columns of a tile
inline constexpr int kAmxDepth = 32;                        // depth of a step
inline constexpr int kAmxTileItems = kAmxTile * kAmxDepth;  // bfloat16 in a tile

// The range of what has been split: bits of absolute values.
struct Magnitudes {
  std::uint32_t largest = 0;
  std::uint32_t smallest = 0xffffffffu;  // less one, of those that are not zero
};

inline constexpr int kAmxDigits = 3;
inline constexpr int kAmxDigitDepth = 64;                        // depth of a step of digits
inline constexpr int kAmxDigitTile = kAmxTile * kAmxDigitDepth;  // bytes of a tile

// What tells how exact digits of some rows are. A row's spread is the square of its unit over the
// root mean square of its numbers that are not zero; rows of nothing but zeros do not count.
struct DigitSpread {
  float sum = 0, most = 0;                            // of spreads
  std::int64_t rows = 0, filled = 0;                  // rows, and their numbers that are not zero
  std::int64_t least = std::int64_t{1} << 62;         // of these in a row
  std::uint32_t largest = 0, smallest = 0xffffffffu;  // bits of the rows' largest magnitudes
  bool exact = true;                                  // digits are the numbers themselves
};

// Where the tiles of an operand lie, distances in bytes: a panel, or anything that has pairs of
// neighbours in depth (of B: 16 columns of them) side by side.
struct AmxOperand {
  const void* data;
  std::int64_t row;                       // between the rows of a tile
  std::int64_t tile;                      // between neighbouring tiles
  std::int64_t part;                      // between the parts
  std::int64_t step;                      // between the steps,
  const std::int64_t* offsets = nullptr;  // or each step's own

  static AmxOperand panel(const std::uint16_t* data, int tiles, int parts) {
    constexpr std::int64_t kBytes = 2 * kAmxTileItems;
    return {data, 64, kBytes, tiles * kBytes, parts * tiles * kBytes};
  }
  static AmxOperand digits(const std::int8_t* data, int tiles) {
    return {data, 64, kAmxDigitTile, tiles * kAmxDigitTile, kAmxDigits * tiles * kAmxDigitTile};
  }
};

// 16 rows of a left operand of digits that begin anywhere, their units, and their tile of C.
struct AmxShifted {
  const std::int8_t* data;
  const float* units;
  float* tile;
};

struct AmxKernels {
  // Around any use of the others, on each thread.
  void (*begin)();
  void (*end)();

  // panel = the parts of `count` <= width rows of A, `stride` apart, each along the depth; zeros
  // beyond them and beyond `depth`. width: 16 or 32.
  void (*split_rows)(std::uint16_t* panel, const float* rows, std::int64_t stride, int count,
                     int width, std::int64_t depth, int parts, Magnitudes& seen);
  // The same for an A, or a B, that lies depth after depth: source[d * stride + r].
  void (*split_left)(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                     int width, std::int64_t depth, int parts, Magnitudes& seen);
  void (*split_right)(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                      int width, std::int64_t depth, int parts, Magnitudes& seen);

  // A B whose columns lie along the depth, as rows of an A do: source[r * stride + d].
  void (*split_turned)(std::uint16_t* panel, const float* source, std::int64_t stride, int count,
                       int width, std::int64_t depth, int parts, Magnitudes& seen);

  // `pairs` pairs of rows, each `entries` long: dwords[(part * pairs + p) * pitch + i] = the part
  // of rows 2 p (low half) and 2 p + 1; zeros where row >= count.
  void (*split_pairs)(std::uint32_t* dwords, std::int64_t pitch, const float* rows,
                      std::int64_t stride, std::int64_t count, std::int64_t pairs,
                      std::int64_t entries, int parts, Magnitudes& seen);

  // items[part * part_stride + i] = the parts of row[i], i < n; zeros up to a multiple of 32.
  void (*split_row)(std::uint16_t* items, std::int64_t part_stride, const float* row,
                    std::int64_t n, int parts, Magnitudes& seen);

  // tile[r * width of B + c] (+)= A B over `steps` steps; a_tiles, b_tiles: 1 or 2. Meanwhile
  // `bytes` of what will be read next are fetched from `ahead` into L2.
  void (*multiply)(std::int64_t steps, const AmxOperand& a, int a_tiles, const AmxOperand& b,
                   int b_tiles, int parts, float* tile, bool accumulate, const void* ahead,
                   std::int64_t bytes);
  // The same for `count` tiles, `next` elements apart, whose operands lie `a_next` and `b_next`
  // bytes apart: what is left to do for one is done between the tile instructions of the next.
  void (*multiply_row)(std::int64_t steps, const AmxOperand& a, int a_tiles, std::int64_t a_next,
                       const AmxOperand& b, int b_tiles, std::int64_t b_next, int parts,
                       std::int64_t count, float* tile, std::int64_t next, bool accumulate,
                       const void* ahead, std::int64_t bytes);
  // c[r * ld + j] = A B, or factors[r] * itself + A B, three parts; as many rows and columns as the
  // tiles have. An element's bits do not depend on the number of tiles.
  void (*multiply_into)(std::int64_t steps, const AmxOperand& a, int a_tiles, const AmxOperand& b,
                        int b_tiles, float* c, std::int64_t ld, const float* factors);

  // units[r] of `count` rows of either operand, up to 32, each along the depth, or depth after
  // depth: source[d * stride + r]. Zeros up to a multiple of 16.
  void (*look_along)(float* units, const float* rows, std::int64_t stride, int count,
                     std::int64_t depth, DigitSpread& seen);
  void (*look_across)(float* units, const float* source, std::int64_t stride, int count,
                      std::int64_t depth, DigitSpread& seen);
  // The digits of such rows: steps of 64 in depth, in a step digit after digit, in a digit tile
  // after tile; zeros beyond what is there. left: as rows of A, otherwise as columns of B.
  void (*digits_along)(std::int8_t* panel, const float* rows, std::int64_t stride, int count,
                       int width, std::int64_t depth, const float* units, bool left);
  void (*digits_across)(std::int8_t* panel, const float* source, std::int64_t stride, int count,
                        int width, std::int64_t depth, const float* units, bool left);
  // multiply_row for digits: A's and B's panels and their units, A's `a_next` bytes apart and 32
  // units.
  void (*multiply_digits)(std::int64_t steps, const std::int8_t* a, const float* a_units,
                          int a_tiles, std::int64_t a_next, const std::int8_t* b,
                          const float* b_units, int b_tiles, int products, std::int64_t count,
                          float* tile, std::int64_t next, bool accumulate, const void* ahead,
                          std::int64_t bytes);

  // items[k * digit + i] = digit k of row[i], i < n; zeros up to a multiple of 64.
  void (*digits_row)(std::int8_t* items, std::int64_t digit, const float* row, std::int64_t n,
                     float unit);
  // 16 columns of a B, of which `count` are there, each along the depth in memory as in
  // digits_row(): steps of 64 in depth, in a step digit after digit.
  void (*digits_turned)(std::int8_t* panel, const float* rows, std::int64_t stride, int count,
                        std::int64_t depth, const float* units);
  // tile[r * ld + c] (+)= A B for each of `count` left operands by the 16 columns of B. Rows of A
  // lie `row` bytes apart, digits `digit` bytes.
  void (*multiply_shifted)(std::int64_t steps, const AmxShifted* lefts, std::int64_t count,
                           std::int64_t row, std::int64_t digit, const std::int8_t* b,
                           const float* b_units, int products, std::int64_t ld, bool accumulate);
};

namespace gemm {
// Whether products of operands so split lose nothing on the tiles.
bool amx_fits(const Magnitudes& a, const Magnitudes& b, std::int64_t depth);
// How many products of digits, 6 to 8, it takes to be as exact as multiply-adds over this depth; 0
// if none is.
int amx_digit_products(const DigitSpread& a, const DigitSpread& b, std::int64_t depth);
// The same beside multiply-adds that add up `summed` products in a row; as a rule as many as this.
inline constexpr std::int64_t kAmxSummed = 256;
int amx_digit_products(const DigitSpread& a, const DigitSpread& b, std::int64_t depth,
                       std::int64_t summed);
}  // namespace gemm

namespace amx {
// Only where amx_ready() (gemm/amx.h).
#if defined(__x86_64__) || defined(_M_X64)
const AmxKernels& kernels();
#else
inline const AmxKernels& kernels() { __builtin_unreachable(); }
#endif
}  // namespace amx

}  // namespace pyfast
