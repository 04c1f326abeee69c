// Weights times values by signed bytes (gemm/amx_digits.h). A weight lies in [0, 1], so that one
// unit serves all: 24 bits, of which the first digit takes eight, without a sign. A column of
// values has a unit for each block of keys, and four digits: what weights leave of a single key is
// exact to the last bits. Nine products, whose sums are exact. Included by this folder's
// kernel_*.cpp only; everything here belongs to their namespace.
#pragma once

#include "ops/attention/kernel_tiles.h"

#ifdef PYFAST_ISA_AVX512

#include "gemm/amx_digits.h"

namespace pyfast::PYFAST_ISA {
namespace {

struct WeightDigits : Tiles {
  static constexpr Index kDepth = kAmxDigitDepth;        // keys of a step
  static constexpr int kValueDigits = 4, kProducts = 9;  // of a step
  static constexpr Index kStepBytes = kAmxDigits * kAmxDigitTile;
  static constexpr Index kValueStepBytes = kValueDigits * kAmxDigitTile;
  // What a weight of 1 is: at most 0xff7f7f, as the last two digits are balanced, and near that the
  // integer whose reciprocal is nearest to a float, by 2e-11 of itself. That of 0xff7f7f is off by
  // 2e-8, which all sums of weights would be.
  static constexpr float kOne = 0xff7595;
  static constexpr std::int32_t kBalance = 0x8080;

  // The weights 2^x as integers.
  PYFAST_INLINE static __m512i weights(vec<float> x) { return _mm512_cvtps_epi32(exp2(x, kOne).v); }

  // A row of the weights' digits: the tiles of a step lie kAmxDigitTile apart. Keys come by fours:
  // those of lane l of x3 ... x0 in the order 16 l + 4 k + i, key 16 k + 4 l + i.
  PYFAST_INLINE static void store(std::uint8_t* to, __m512i x0, __m512i x1, __m512i x2,
                                  __m512i x3) {
    const __m512i by_digits = _mm512_broadcast_i32x4(
        _mm_setr_epi8(2, 6, 10, 14, 1, 5, 9, 13, 0, 4, 8, 12, -1, -1, -1, -1));
    const auto sort = [&](__m512i x) PYFAST_INLINED {
      return _mm512_shuffle_epi8(_mm512_add_epi32(x, _mm512_set1_epi32(kBalance)), by_digits);
    };
    x0 = sort(x0), x1 = sort(x1), x2 = sort(x2), x3 = sort(x3);
    const __m512i low01 = _mm512_unpacklo_epi32(x0, x1), low23 = _mm512_unpacklo_epi32(x2, x3);
    const __m512i high01 = _mm512_unpackhi_epi32(x0, x1), high23 = _mm512_unpackhi_epi32(x2, x3);
    const __m512i sign = _mm512_set1_epi8(-128);
    _mm512_store_si512(to, _mm512_unpacklo_epi64(low01, low23));
    _mm512_store_si512(to + kAmxDigitTile,
                       _mm512_xor_si512(_mm512_unpackhi_epi64(low01, low23), sign));
    _mm512_store_si512(to + 2 * kAmxDigitTile,
                       _mm512_xor_si512(_mm512_unpacklo_epi64(high01, high23), sign));
  }

  // The digits of 16 columns of a block's values, `keys` of them, step after step, their keys in
  // the order of the weights; factors: what their products with weights are worth. False where they
  // do not suit: not finite, or a column whose largest has more than half of the sum of squares, so
  // that one key, of a weight of nearly 0, would cost the others their last bits.
  static bool split(std::uint8_t* to, const float* from, Index stride, Index keys,
                    __mmask16 columns, float* factors) {
    constexpr float kMost = 0x7f7f0000;
    __m512i largest = _mm512_setzero_si512();
    for (Index k = 0; k < keys; ++k) {
      const __m512i bits = _mm512_castps_si512(_mm512_maskz_loadu_ps(columns, from + k * stride));
      largest = _mm512_max_epu32(largest, _mm512_slli_epi32(bits, 1));
    }
    const __m512i power = _mm512_srli_epi32(largest, 24);
    const __mmask16 zero = _mm512_cmpeq_epi32_mask(largest, _mm512_setzero_si512());
    if (static_cast<__mmask16>(_mm512_cmpgt_epu32_mask(power, _mm512_set1_epi32(227)) |
                               (_mm512_cmplt_epu32_mask(power, _mm512_set1_epi32(27)) & ~zero)))
      return false;
    const __m512 most = _mm512_castsi512_ps(_mm512_srli_epi32(largest, 1));
    // Infinite where all are zero: whatever digits that gives, they are worth nothing.
    const __m512 scale = _mm512_div_ps(_mm512_set1_ps(kMost), most);
    __m512 squares = _mm512_setzero_ps();
    const auto digits = [&](Index key) PYFAST_INLINED {
      const __m512i balance = _mm512_set1_epi32(static_cast<std::int32_t>(0x80808080));
      const __m512 x = _mm512_mul_ps(
          _mm512_maskz_loadu_ps(key < keys ? columns : __mmask16{0}, from + key * stride), scale);
      squares = _mm512_fmadd_ps(x, x, squares);
      return _mm512_xor_si512(_mm512_add_epi32(_mm512_cvtps_epi32(x), balance), balance);
    };
    for (Index k = 0; k < keys; k += kDepth, to += kValueStepBytes)
      for (Index group = 0; group < kDepth / 4; ++group) {
        const Index key = k + group % 4 * 16 + group / 4 * 4;
        interleave(to + group * 64, digits(key), digits(key + 1), digits(key + 2), digits(key + 3));
      }
    store_factors(factors, scale);
    const __mmask16 uneven =
        _mm512_cmp_ps_mask(_mm512_set1_ps(2 * kMost * kMost), squares, _CMP_GT_OQ);
    return uneven == 0;
  }

  // Sums of tiles 0 ... 3, by levels, of 16 rows of weights and 16 columns of values, when `last`
  // has left the tiles; `beside` advances between the products.
  template <class Beside>
  PYFAST_INLINE static void multiply(Index steps, const std::uint8_t* a, const std::uint8_t* b,
                                     const Leaving& last, Beside& beside) {
    multiply_step<true>(a, b, last, beside);
    for (Index s = 1; s < steps; ++s)
      multiply_step<false>(a + s * kStepBytes, b + s * kValueStepBytes, last, beside);
  }

  // The sum of a row of what multiply left, in units of weights and values. Of 256 keys whose
  // weights are 1 and whose values are the largest, the first two levels together nearly fill 31
  // bits.
  static_assert(kAttentionKeys <= 256);
  PYFAST_INLINE static vec<float> sum(const std::int32_t (*sums)[kAmxTile * kAmxTile], Index row) {
    const auto level = [&](int l) PYFAST_INLINED { return _mm512_load_si512(sums[l] + row * w); };
    const __m512i high = _mm512_add_epi32(_mm512_slli_epi32(level(0), 8), level(1));
    const __m512i low = _mm512_add_epi32(level(2), _mm512_srai_epi32(level(3), 8));
    return fma(vec<float>(_mm512_cvtepi32_ps(high)), vec<float>(256.0f),
               vec<float>(_mm512_cvtepi32_ps(low)));
  }

 private:
  // 2^24 / (kOne scale), rounded once: what `scale` is off from its own quotient, or a constant
  // from its, would be a bias of the whole column, which backward's dP - D magnifies.
  PYFAST_INLINE static void store_factors(float* to, __m512 scale) {
    const auto invert = [](__m256 x) PYFAST_INLINED {
      return _mm512_cvtpd_ps(
          _mm512_div_pd(_mm512_set1_pd(0x1p24 / double{kOne}), _mm512_cvtps_pd(x)));
    };
    _mm256_storeu_ps(to, invert(_mm512_castps512_ps256(scale)));
    _mm256_storeu_ps(to + 8, invert(_mm512_extractf32x8_ps(scale, 1)));
  }

  template <bool first, class Beside>
  PYFAST_INLINE static void multiply_step(const std::uint8_t* a, const std::uint8_t* b,
                                          const Leaving& last, Beside& beside) {
    const auto open = [&](auto c) PYFAST_INLINED {
      if constexpr (first) {
        last.leave<c>();
        amx::tile_zero<c>();
      }
    };
    amx::unroll<3>([&](auto d)
                       PYFAST_INLINED { amx::tile_load<4 + d>(a + d * kAmxDigitTile, 64); });
    amx::tile_load<7>(b, 64);
    open(std::integral_constant<int, 1>());
    amx::tile_multiply_digits<1, 5, 7>();
    open(std::integral_constant<int, 0>());
    multiply_first<0, 4, 7>();
    open(std::integral_constant<int, 2>());
    amx::tile_multiply_digits<2, 6, 7>();
    beside.advance(3);
    amx::tile_load<7>(b + kAmxDigitTile, 64);
    open(std::integral_constant<int, 3>());
    amx::tile_multiply_digits<3, 6, 7>();
    multiply_first<1, 4, 7>();
    amx::tile_multiply_digits<2, 5, 7>();
    beside.advance(3);
    amx::tile_load<7>(b + 2 * kAmxDigitTile, 64);
    amx::tile_multiply_digits<3, 5, 7>();
    multiply_first<2, 4, 7>();
    amx::tile_load<7>(b + 3 * kAmxDigitTile, 64);
    multiply_first<3, 4, 7>();
    beside.advance(3);
  }

  // Four rows of values' digits, a row of each of their tiles.
  PYFAST_INLINE static void interleave(std::uint8_t* to, __m512i x0, __m512i x1, __m512i x2,
                                       __m512i x3) {
    constexpr __mmask64 kOdd = 0xaaaaaaaaaaaaaaaa;
    constexpr __mmask32 kHigh = 0xaaaaaaaa;
    const auto even = [](__m512i a, __m512i b) PYFAST_INLINED {
      return _mm512_mask_blend_epi8(kOdd, a, _mm512_slli_epi32(b, 8));
    };
    const auto odd = [](__m512i a, __m512i b) PYFAST_INLINED {
      return _mm512_mask_blend_epi8(kOdd, _mm512_srli_epi32(a, 8), b);
    };
    const auto high = [](__m512i a, __m512i b) PYFAST_INLINED {
      return _mm512_mask_blend_epi16(kHigh, _mm512_srli_epi32(a, 16), b);
    };
    const auto low = [](__m512i a, __m512i b) PYFAST_INLINED {
      return _mm512_mask_blend_epi16(kHigh, a, _mm512_slli_epi32(b, 16));
    };
    const __m512i even01 = even(x0, x1), even23 = even(x2, x3);
    const __m512i odd01 = odd(x0, x1), odd23 = odd(x2, x3);
    _mm512_store_si512(to, high(odd01, odd23));
    _mm512_store_si512(to + kAmxDigitTile, high(even01, even23));
    _mm512_store_si512(to + 2 * kAmxDigitTile, low(odd01, odd23));
    _mm512_store_si512(to + 3 * kAmxDigitTile, low(even01, even23));
  }

  // The first digit of a weight has no sign.
  template <int c, int a, int b>
  PYFAST_INLINE static void multiply_first() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }
};

}  // namespace
}  // namespace pyfast::PYFAST_ISA

#endif
