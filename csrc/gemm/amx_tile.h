// What kernels on AMX tiles are written with: the tile instructions, the order of a step's
// products, and floats taken apart into bfloat16 (see amx_kernel.h). Included by kernels only;
// everything here is their own.
//
// A step of 32 in depth takes 24 tile products (6 per tile of C). With four tiles left for the
// operands, the order x1y3, x1y2, x2y2, x2y1, x3y1, x1y1 changes one operand's part at a time: 14
// tile loads, which hide behind the products (16 cycles each). Where C has fewer than four tiles,
// the products take turns among copies of it, since each depends on its tile's last for 52 cycles.
// Instructions are written out: GCC's intrinsics tell the compiler nothing of the memory they read
// (GCC bug 122446).
#pragma once

#if defined(__GNUC__) && !defined(__clang__)  // see simd/vec_avx512.h
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

#include <utility>

#include "gemm/amx_kernel.h"

namespace pyfast::amx {

namespace {

#define PYFAST_AMX_INLINE __attribute__((always_inline)) inline

#define PYFAST_AMX_INLINED __attribute__((always_inline))

// Tile registers: 0-3 hold C, 4-5 A, 6-7 B.
template <int tile>
PYFAST_AMX_INLINE void tile_zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(tile));
}
template <int tile>
PYFAST_AMX_INLINE void tile_load(const void* from, std::int64_t row) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(tile), "r"(from), "r"(row) : "memory");
}
template <int tile>
PYFAST_AMX_INLINE void tile_store(void* to, std::int64_t row = 64) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(tile), "r"(to), "r"(row) : "memory");
}
template <int c, int a, int b>
PYFAST_AMX_INLINE void tile_multiply() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
}

// ---- the product

struct Product {
  int a, b;  // parts
};
template <int parts>
inline constexpr Product kProducts[1] = {{0, 0}};
template <>
inline constexpr Product kProducts<2>[3] = {{0, 1}, {0, 0}, {1, 0}};
template <>
inline constexpr Product kProducts<3>[6] = {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}};

// body(0), ..., body(n - 1) with constant arguments.
template <class Body, int... i>
PYFAST_AMX_INLINE void unrolled(std::integer_sequence<int, i...>, Body body) {
  (body(std::integral_constant<int, i>()), ...);
}
template <int n, class Body>
PYFAST_AMX_INLINE void unroll(Body body) {
  amx::unrolled(std::make_integer_sequence<int, n>(), body);  // whatever else body's namespace has
}

// Product p of a step: all tiles of C, operands loaded where their part is not the last product's,
// or in any case.
template <int parts, int a_tiles, int b_tiles, bool turns, int p, bool alone = p == 0>
PYFAST_AMX_INLINE void product(const AmxOperand& x, const char* a, const AmxOperand& y,
                               const char* b) {
  constexpr auto& order = kProducts<parts>;
  constexpr int copies = turns ? 4 / (a_tiles * b_tiles) : 1, last = p > 0 ? p - 1 : 0;
  if constexpr (alone || order[p].a != order[last].a)
    unroll<a_tiles>([&](auto i) { tile_load<4 + i>(a + order[p].a * x.part + i * x.tile, x.row); });
  if constexpr (alone || order[p].b != order[last].b)
    unroll<b_tiles>([&](auto j) { tile_load<6 + j>(b + order[p].b * y.part + j * y.tile, y.row); });
  unroll<b_tiles>([&](auto j) {
    unroll<a_tiles>(
        [&](auto i) { tile_multiply<((p % copies) * a_tiles + i) * b_tiles + j, 4 + i, 6 + j>(); });
  });
}

constexpr float kScale = 0x1p40f, kUnscale = 0x1p-80f;

PYFAST_AMX_INLINE const char* at_step(const AmxOperand& x, std::int64_t step) {
  return static_cast<const char*>(x.data) + (x.offsets ? x.offsets[step] : step * x.step);
}

// ---- the split

// The parts of 2^40 x, each in the high half of its lane, what stands below it of no account in the
// last. A part is rounded, half away from zero; what it leaves is exact, and so is a third part.
template <int parts>
struct Parts {
  __m512i part[parts];

  PYFAST_AMX_INLINE explicit Parts(__m512 x) { split(_mm512_mul_ps(x, _mm512_set1_ps(kScale))); }
  PYFAST_AMX_INLINE static Parts of_scaled(__m512 x) {  // x is 2^40 times the number already
    Parts p;
    p.split(x);
    return p;
  }

 private:
  Parts() = default;
  PYFAST_AMX_INLINE void split(__m512 x) {
    unroll<parts>([&](auto i) {
      part[i] = _mm512_castps_si512(x);
      if constexpr (i < 2) part[i] = _mm512_add_epi32(part[i], _mm512_set1_epi32(0x8000));
      if constexpr (i + 1 < parts) {
        part[i] = _mm512_and_si512(part[i], _mm512_set1_epi32(-0x10000));
        x = _mm512_sub_ps(x, _mm512_castsi512_ps(part[i]));
      }
    });
  }
};

// A lane of 32 bits: the first's bfloat16 below the second's.
PYFAST_AMX_INLINE __m512i pair(__m512i first, __m512i second) {
  constexpr int kSecondMaskedOrFirst = 0xf8;  // a | (b & c)
  return _mm512_ternarylogic_epi32(_mm512_srli_epi32(first, 16), second,
                                   _mm512_set1_epi32(-0x10000), kSecondMaskedOrFirst);
}

// All of the first's bfloat16, then all of the second's.
PYFAST_AMX_INLINE __m512i join(__m512i first, __m512i second) {
  alignas(64) static constexpr std::int16_t kOddWords[32] = {
      1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
      33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  return _mm512_permutex2var_epi16(first, _mm512_load_si512(kOddWords), second);
}

PYFAST_AMX_INLINE __mmask16 first_lanes(std::int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

// 16 x 16 floats turned, to[j][i] = from[i][j], zeros beyond what is there.
PYFAST_AMX_INLINE void transpose(float* to, std::int64_t to_stride, const float* from,
                                 std::int64_t from_stride, std::int64_t rows, __mmask16 columns) {
  __m512 x[16], y[16];
  for (int i = 0; i < 16; ++i)
    x[i] = _mm512_maskz_loadu_ps(i < rows ? columns : __mmask16{0}, from + i * from_stride);
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      x[i + 2 * j] = _mm512_shuffle_ps(y[i + j], y[i + 2 + j], 0x44);
      x[i + 2 * j + 1] = _mm512_shuffle_ps(y[i + j], y[i + 2 + j], 0xee);
    }
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 4; ++j) {
      y[i + j] = _mm512_shuffle_f32x4(x[i + j], x[i + 4 + j], 0x88);
      y[i + 4 + j] = _mm512_shuffle_f32x4(x[i + j], x[i + 4 + j], 0xdd);
    }
  for (int j = 0; j < 8; ++j) {
    x[j] = _mm512_shuffle_f32x4(y[j], y[8 + j], 0x88);
    x[8 + j] = _mm512_shuffle_f32x4(y[j], y[8 + j], 0xdd);
  }
  for (int j = 0; j < 16; ++j) _mm512_storeu_ps(to + j * to_stride, x[j]);
}

}  // namespace

}  // namespace pyfast::amx
