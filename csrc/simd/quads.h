// Transposing on the way from memory: registers filled 16 bytes at a time.
//
// A register's 16-byte quads are loaded from rows that lie q apart in order (q elements a quad);
// shuffles that stay inside the quads then turn q such registers, so that w = vec::size rows of q
// elements become q registers of w elements. A quad loaded from memory costs no shuffle: 64 floats
// take 8 shuffles on AVX-512, where a transpose of whole registers would take 16.
#pragma once

#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace backend {

#if defined(PYFAST_ISA_AVX512)

PYFAST_INLINE __m512 load_quads(const float* const* p, int step, std::int64_t at) {
  __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(p[0] + at));
  x = _mm512_insertf32x4(x, _mm_loadu_ps(p[step] + at), 1);
  x = _mm512_insertf32x4(x, _mm_loadu_ps(p[2 * step] + at), 2);
  return _mm512_insertf32x4(x, _mm_loadu_ps(p[3 * step] + at), 3);
}
PYFAST_INLINE __m512d load_quads(const double* const* p, int step, std::int64_t at) {
  __m512d x = _mm512_castpd128_pd512(_mm_loadu_pd(p[0] + at));
  x = _mm512_insertf64x2(x, _mm_loadu_pd(p[step] + at), 1);
  x = _mm512_insertf64x2(x, _mm_loadu_pd(p[2 * step] + at), 2);
  return _mm512_insertf64x2(x, _mm_loadu_pd(p[3 * step] + at), 3);
}
PYFAST_INLINE __m512 low(__m512 a, __m512 b) { return _mm512_unpacklo_ps(a, b); }
PYFAST_INLINE __m512 high(__m512 a, __m512 b) { return _mm512_unpackhi_ps(a, b); }
PYFAST_INLINE __m512d low(__m512d a, __m512d b) { return _mm512_unpacklo_pd(a, b); }
PYFAST_INLINE __m512d high(__m512d a, __m512d b) { return _mm512_unpackhi_pd(a, b); }
PYFAST_INLINE __m512d in_pairs(__m512 x) { return _mm512_castps_pd(x); }
PYFAST_INLINE __m512 single(__m512d x) { return _mm512_castpd_ps(x); }

#elif defined(PYFAST_ISA_AVX2)

PYFAST_INLINE __m256 load_quads(const float* const* p, int step, std::int64_t at) {
  const __m256 x = _mm256_castps128_ps256(_mm_loadu_ps(p[0] + at));
  return _mm256_insertf128_ps(x, _mm_loadu_ps(p[step] + at), 1);
}
PYFAST_INLINE __m256d load_quads(const double* const* p, int step, std::int64_t at) {
  const __m256d x = _mm256_castpd128_pd256(_mm_loadu_pd(p[0] + at));
  return _mm256_insertf128_pd(x, _mm_loadu_pd(p[step] + at), 1);
}
PYFAST_INLINE __m256 low(__m256 a, __m256 b) { return _mm256_unpacklo_ps(a, b); }
PYFAST_INLINE __m256 high(__m256 a, __m256 b) { return _mm256_unpackhi_ps(a, b); }
PYFAST_INLINE __m256d low(__m256d a, __m256d b) { return _mm256_unpacklo_pd(a, b); }
PYFAST_INLINE __m256d high(__m256d a, __m256d b) { return _mm256_unpackhi_pd(a, b); }
PYFAST_INLINE __m256d in_pairs(__m256 x) { return _mm256_castps_pd(x); }
PYFAST_INLINE __m256 single(__m256d x) { return _mm256_castpd_ps(x); }

#else  // one quad a register

template <class T>
PYFAST_INLINE typename lanes<T>::type load_quads(const T* const* p, int, std::int64_t at) {
  typename lanes<T>::type x;
  __builtin_memcpy(&x, p[0] + at, sizeof x);
  return x;
}

#if defined(__clang__)
#define PYFAST_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define PYFAST_SHUFFLE2(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef std::int32_t quad_order __attribute__((vector_size(16)));
typedef std::int64_t pair_order __attribute__((vector_size(16)));
#define PYFAST_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, quad_order{__VA_ARGS__})
#define PYFAST_SHUFFLE2(a, b, ...) __builtin_shuffle(a, b, pair_order{__VA_ARGS__})
#endif
using single_quad = lanes<float>::type;
using double_quad = lanes<double>::type;
PYFAST_INLINE single_quad low(single_quad a, single_quad b) {
  return PYFAST_SHUFFLE(a, b, 0, 4, 1, 5);
}
PYFAST_INLINE single_quad high(single_quad a, single_quad b) {
  return PYFAST_SHUFFLE(a, b, 2, 6, 3, 7);
}
PYFAST_INLINE double_quad low(double_quad a, double_quad b) { return PYFAST_SHUFFLE2(a, b, 0, 2); }
PYFAST_INLINE double_quad high(double_quad a, double_quad b) { return PYFAST_SHUFFLE2(a, b, 1, 3); }
PYFAST_INLINE double_quad in_pairs(single_quad x) { return __builtin_bit_cast(double_quad, x); }
PYFAST_INLINE single_quad single(double_quad x) { return __builtin_bit_cast(single_quad, x); }
#undef PYFAST_SHUFFLE
#undef PYFAST_SHUFFLE2

#endif

}  // namespace backend

template <class T>
inline constexpr int kQuad = 16 / static_cast<int>(sizeof(T));

// turned[d] = row[0][at + d], ..., row[w - 1][at + d]  for d < kQuad.
PYFAST_INLINE void load_turned(vec<float> (&turned)[4], const float* const* row, std::int64_t at) {
  using namespace backend;
  const auto r0 = load_quads(row, 4, at), r1 = load_quads(row + 1, 4, at);
  const auto r2 = load_quads(row + 2, 4, at), r3 = load_quads(row + 3, 4, at);
  const auto low01 = in_pairs(low(r0, r1)), high01 = in_pairs(high(r0, r1));
  const auto low23 = in_pairs(low(r2, r3)), high23 = in_pairs(high(r2, r3));
  turned[0] = vec<float>(single(low(low01, low23)));
  turned[1] = vec<float>(single(high(low01, low23)));
  turned[2] = vec<float>(single(low(high01, high23)));
  turned[3] = vec<float>(single(high(high01, high23)));
}
PYFAST_INLINE void load_turned(vec<double> (&turned)[2], const double* const* row,
                               std::int64_t at) {
  using namespace backend;
  const auto r0 = load_quads(row, 2, at), r1 = load_quads(row + 1, 2, at);
  turned[0] = vec<double>(low(r0, r1));
  turned[1] = vec<double>(high(r0, r1));
}

}  // namespace pyfast::PYFAST_ISA
