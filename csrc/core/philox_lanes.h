// Sixteen Philox counters at a time, one a lane. Included by kernels only; everything here belongs
// to their namespace.
#pragma once

#include "core/philox.h"
#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr int kPhiloxLanes = 16, kPhiloxWords = 4 * kPhiloxLanes;

#if defined(PYFAST_ISA_AVX512)

// Of factor and each lane: the product's halves.
struct PhiloxProduct {
  __m512i high, low;

  PYFAST_INLINE PhiloxProduct(__m512i lanes, std::uint32_t factor) {
    constexpr __mmask16 kOdd = 0xaaaa;
    const __m512i by = _mm512_set1_epi64(factor);
    const __m512i even = _mm512_mul_epu32(lanes, by);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(lanes, 32), by);
    high = _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), kOdd, odd);
    low = _mm512_mask_mov_epi32(even, kOdd, _mm512_slli_epi64(odd, 32));
  }
};

// words[4 * i + k] of blocks block ... block + 15: philox_block, by hand since what the compiler
// makes of it is slower. Lane 4 l + i holds block 4 i + l, so that turning squares
// of four within 128 bits brings the words into order.
PYFAST_INLINE void draw(std::uint32_t* words, std::uint64_t seed, std::uint64_t offset,
                        std::uint64_t block) {
  const auto all = [](std::uint64_t x) PYFAST_INLINED {
    return _mm512_set1_epi32(static_cast<int>(static_cast<std::uint32_t>(x)));
  };
  const __m512i from_first =
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i c0 = _mm512_add_epi32(all(block), from_first), c1 = all(block >> 32), c2 = all(offset),
          c3 = all(offset >> 32);
  c1 = _mm512_mask_add_epi32(c1, _mm512_cmplt_epu32_mask(c0, from_first), c1, all(1));
  auto key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
    constexpr int kXor3 = 0x96;
    const PhiloxProduct a(c0, 0xD2511F53u), b(c2, 0xCD9E8D57u);
    c0 = _mm512_ternarylogic_epi32(b.high, c1, all(key0), kXor3);
    c2 = _mm512_ternarylogic_epi32(a.high, c3, all(key1), kXor3);
    c1 = b.low;
    c3 = a.low;
  }
  const __m512i low01 = _mm512_unpacklo_epi32(c0, c1), high01 = _mm512_unpackhi_epi32(c0, c1);
  const __m512i low23 = _mm512_unpacklo_epi32(c2, c3), high23 = _mm512_unpackhi_epi32(c2, c3);
  _mm512_storeu_si512(words, _mm512_unpacklo_epi64(low01, low23));
  _mm512_storeu_si512(words + 16, _mm512_unpackhi_epi64(low01, low23));
  _mm512_storeu_si512(words + 32, _mm512_unpacklo_epi64(high01, high23));
  _mm512_storeu_si512(words + 48, _mm512_unpackhi_epi64(high01, high23));
}

#else

// The same, written so that the compiler keeps one counter per lane.
PYFAST_INLINE void draw(std::uint32_t* words, std::uint64_t seed, std::uint64_t offset,
                        std::uint64_t block) {
  std::uint32_t transposed[4][kPhiloxLanes];
  for (int lane = 0; lane < kPhiloxLanes; ++lane) {
    const PhiloxWords r = philox_block(seed, offset, block + static_cast<std::uint64_t>(lane));
    for (int k = 0; k < 4; ++k) transposed[k][lane] = r.word[k];
  }
  for (int lane = 0; lane < kPhiloxLanes; ++lane)
    for (int k = 0; k < 4; ++k) words[4 * lane + k] = transposed[k][lane];
}

#endif

}  // namespace

}  // namespace pyfast::PYFAST_ISA
