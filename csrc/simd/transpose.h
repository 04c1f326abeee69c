// A square of vectors turned in registers: to[c * to_row + r] = from[r * from_row + c] for r, c <
// vec<T>::size.
#pragma once

#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

#if defined(PYFAST_ISA_AVX512)

// Quarters of rows 0 ... 15 are put together while loading (on either port), so that only two
// rounds of shuffles remain.
PYFAST_INLINE void transpose_square(float* to, std::int64_t to_row, const float* from,
                                    std::int64_t from_row) {
#pragma GCC unroll 4
  for (int quarter = 0; quarter < 4; ++quarter) {
    __m512 x[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const float* p = from + r * from_row + 4 * quarter;
      x[r] = _mm512_castps128_ps512(_mm_loadu_ps(p));
      x[r] = _mm512_insertf32x4(x[r], _mm_loadu_ps(p + 4 * from_row), 1);
      x[r] = _mm512_insertf32x4(x[r], _mm_loadu_ps(p + 8 * from_row), 2);
      x[r] = _mm512_insertf32x4(x[r], _mm_loadu_ps(p + 12 * from_row), 3);
    }
    const __m512 low01 = _mm512_unpacklo_ps(x[0], x[1]), high01 = _mm512_unpackhi_ps(x[0], x[1]);
    const __m512 low23 = _mm512_unpacklo_ps(x[2], x[3]), high23 = _mm512_unpackhi_ps(x[2], x[3]);
    float* row = to + 4 * quarter * to_row;
    _mm512_storeu_ps(row, _mm512_shuffle_ps(low01, low23, 0x44));
    _mm512_storeu_ps(row + to_row, _mm512_shuffle_ps(low01, low23, 0xee));
    _mm512_storeu_ps(row + 2 * to_row, _mm512_shuffle_ps(high01, high23, 0x44));
    _mm512_storeu_ps(row + 3 * to_row, _mm512_shuffle_ps(high01, high23, 0xee));
  }
}

#endif

}  // namespace pyfast::PYFAST_ISA
