// float32 products on AMX tiles by signed bytes: what such kernels are written with. Included by
// kernels only, beside amx_tile.h; everything here is their own.
//
// Numbers that share a scale (a row of A over the depth of a block, a column of B) are rounded to
// integers of 24 bits and taken apart into three balanced digits of base 256,
//   x = unit (d0 + d1 / 256 + d2 / 65536),   |d| <= 128,
// so a product of two rows is a sum of nine sums of products of bytes, which the tiles add up
// exactly in int32, whatever their order (Ozaki et al. 2012). Those of one *level*, the sum of the
// indices of both digits, share a tile of C: levels 0 to 2 take six products and three tiles; the
// two of level 3 (d1 d2 and d2 d1) a fourth tile. d2 d2 is always left out.
//
// The error of an element of C, in units of both: what quantising leaves, 2^-16 sqrt(1 / 12) times
// the norm of the other's row, for each; and where a product of level 3 is left out, 2^-11.6 times
// the root of the depth. The latter is the larger one unless rows are even: with six products
// normal numbers have 1.5 times the error of multiply-adds, with eight 0.6 (0.95 and 0.5 where the
// unit fits the largest number and is no power of two). Whoever uses them decides by
// amx_digit_products() (gemm/amx_kernel.h).
//
// A tile instruction takes a depth of 64: rows of 64 bytes of A, and for B four neighbours in depth
// in a lane, 16 columns side by side.
#pragma once

#include "gemm/amx_tile.h"

namespace pyfast::amx {

namespace {

template <int c, int a, int b>
PYFAST_AMX_INLINE void tile_multiply_digits() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
}

// ---- the split

// What the first digit is worth where no number is larger than `largest`; 0 where that is 0. As a
// power of two it keeps integers of up to 16 bits, and whatever else has as few, exact.
PYFAST_AMX_INLINE __m512 power_of_two_unit(__m512 largest) {
  const __m512i bits = _mm512_add_epi32(_mm512_castps_si512(largest), _mm512_set1_epi32(0x010101));
  const __m512 power = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(0x7f800000)));
  return _mm512_mul_ps(power, _mm512_set1_ps(0x1p-6f));
}
// With a unit that fits the largest number the others keep half a bit more in the mean.
PYFAST_AMX_INLINE __m512 fitting_unit(__m512 largest) {
  return _mm512_mul_ps(largest, _mm512_set1_ps(65536.0f / 0x7f7f00));
}
// 65536 / unit: what numbers are multiplied by to become integers; infinite where the unit is 0,
// which makes zeros of zeros.
PYFAST_AMX_INLINE __m512 digit_scale(__m512 unit) {
  return _mm512_div_ps(_mm512_set1_ps(65536.0f), unit);
}

// Lanes whose low three bytes are the digits of scale x, the last digit lowest. Infinities and NaN
// become zeros.
PYFAST_AMX_INLINE __m512i to_digits(__m512 x, __m512 scale) {
  const __m512i balance = _mm512_set1_epi32(0x808080);
  const __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(x, scale));
  return _mm512_xor_si512(_mm512_add_epi32(v, balance), balance);
}

// Digit by digit, 64 bytes each, the first digit first.
struct DigitPlanes {
  __m512i plane[3];
};

// Four vectors' digits side by side in every lane: of four depths of 16 columns, a row of B. Of 64
// neighbours in depth, 16 a vector, a row of A whose depths come in the order 0, 16, 32, 48, 1, 17,
// ..., which serves as well if B's do, too.
PYFAST_AMX_INLINE DigitPlanes interleave(__m512i x0, __m512i x1, __m512i x2, __m512i x3) {
  constexpr __mmask64 kOdd = 0xaaaaaaaaaaaaaaaa;
  constexpr __mmask32 kHigh = 0xaaaaaaaa;
  const auto even = [](__m512i a, __m512i b) PYFAST_AMX_INLINED {
    return _mm512_mask_blend_epi8(kOdd, a, _mm512_slli_epi32(b, 8));
  };
  const auto odd = [](__m512i a, __m512i b) PYFAST_AMX_INLINED {
    return _mm512_mask_blend_epi8(kOdd, _mm512_srli_epi32(a, 8), b);
  };
  const __m512i even01 = even(x0, x1), even23 = even(x2, x3);
  const __m512i odd01 = odd(x0, x1), odd23 = odd(x2, x3);
  return {{_mm512_mask_blend_epi16(kHigh, _mm512_srli_epi32(even01, 16), even23),
           _mm512_mask_blend_epi16(kHigh, odd01, _mm512_slli_epi32(odd23, 16)),
           _mm512_mask_blend_epi16(kHigh, even01, _mm512_slli_epi32(even23, 16))}};
}

// 64 neighbours in depth, 16 a vector, in their order: a row of A.
PYFAST_AMX_INLINE DigitPlanes join(__m512i x0, __m512i x1, __m512i x2, __m512i x3) {
  const auto halve = [](__m512i a, __m512i b, int first) PYFAST_AMX_INLINED {  // every second lane
    const __m512i lanes =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    return _mm512_permutex2var_epi32(a, _mm512_add_epi32(lanes, _mm512_set1_epi32(first)), b);
  };
  const __m512i even01 = halve(x0, x1, 0), even23 = halve(x2, x3, 0);
  const __m512i odd01 = halve(x0, x1, 1), odd23 = halve(x2, x3, 1);
  return amx::interleave(halve(even01, even23, 0), halve(odd01, odd23, 0), halve(even01, even23, 1),
                         halve(odd01, odd23, 1));
}

// ---- the product

// Tile registers: 0-3 hold the levels of 16 x 16 of C, 4-7 operands. An instruction that adds to a
// tile waits for the last one that did: levels take turns.
constexpr int digit_levels(int products) { return products > 6 ? 4 : 3; }

// A step of 64 in depth: six, seven or eight products, six loads. Parts are digits.
template <int products>
PYFAST_AMX_INLINE void digit_products(const AmxOperand& x, const char* a, const AmxOperand& y,
                                      const char* b) {
  static_assert(products >= 6 && products <= 8);
  tile_load<4>(a, x.row);
  tile_load<5>(b, y.row);
  tile_load<6>(b + y.part, y.row);
  tile_load<7>(b + 2 * y.part, y.row);
  tile_multiply_digits<0, 4, 5>();
  tile_multiply_digits<1, 4, 6>();
  tile_multiply_digits<2, 4, 7>();
  tile_load<4>(a + x.part, x.row);
  if constexpr (products > 6) tile_multiply_digits<3, 4, 7>();
  tile_multiply_digits<1, 4, 5>();
  tile_load<7>(a + 2 * x.part, x.row);
  tile_multiply_digits<2, 4, 6>();
  if constexpr (products > 7) tile_multiply_digits<3, 7, 6>();
  tile_multiply_digits<2, 7, 5>();
}

// sums[level][row]: 16 columns of a row of C, in units of A's row and B's columns. Exact where
// digits are (no rounding of a level's sum) up to a depth of 512.
template <int products>
PYFAST_AMX_INLINE __m512 digit_sum(const std::int32_t (*sums)[kAmxTile][16], std::int64_t row) {
  const auto level = [&](int l) PYFAST_AMX_INLINED {
    return _mm512_cvtepi32_ps(_mm512_load_si512(sums[l][row]));
  };
  __m512 low = level(2);
  if constexpr (products > 6) low = _mm512_fmadd_ps(level(3), _mm512_set1_ps(0x1p-8f), low);
  const __m512 high = _mm512_fmadd_ps(level(1), _mm512_set1_ps(0x1p-8f), level(0));
  return _mm512_fmadd_ps(low, _mm512_set1_ps(0x1p-16f), high);
}

}  // namespace

}  // namespace pyfast::amx
