// 64-byte registers; comparisons give predicate registers.
#pragma once

// GCC 12 takes the don't-care operands of its own AVX-512 intrinsics for uninitialised variables.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

namespace pyfast::PYFAST_ISA::backend {

inline constexpr int kBytes = 64;

template <class T>
struct lanes;
template <>
struct lanes<float> {
  using type = __m512;
  using mask = __mmask16;
  using word = std::uint32_t;
};
template <>
struct lanes<double> {
  using type = __m512d;
  using mask = __mmask8;
  using word = std::uint64_t;
};

PYFAST_INLINE __m512 broadcast(float x) { return _mm512_set1_ps(x); }
PYFAST_INLINE __m512d broadcast(double x) { return _mm512_set1_pd(x); }

template <class T>
PYFAST_INLINE typename lanes<T>::mask first(int n) {
  return static_cast<typename lanes<T>::mask>((1u << n) - 1u);
}

template <class T>
PYFAST_INLINE typename lanes<T>::mask load_mask(const std::uint8_t* p) {
  if constexpr (sizeof(T) == 4) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm_test_epi8_mask(x, x);
  } else {
    const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return static_cast<__mmask8>(_mm_test_epi8_mask(x, x));
  }
}

template <class T>
PYFAST_INLINE bool any(typename lanes<T>::mask m) {
  return m != 0;
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_and(typename lanes<T>::mask a,
                                               typename lanes<T>::mask b) {
  return static_cast<typename lanes<T>::mask>(a & b);
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_or(typename lanes<T>::mask a,
                                              typename lanes<T>::mask b) {
  return static_cast<typename lanes<T>::mask>(a | b);
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_not(typename lanes<T>::mask a) {
  return static_cast<typename lanes<T>::mask>(~a);
}

PYFAST_INLINE __mmask16 less(__m512 a, __m512 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
PYFAST_INLINE __mmask8 less(__m512d a, __m512d b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
PYFAST_INLINE __mmask16 less_equal(__m512 a, __m512 b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
PYFAST_INLINE __mmask8 less_equal(__m512d a, __m512d b) {
  return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ);
}
PYFAST_INLINE __mmask16 equal(__m512 a, __m512 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
PYFAST_INLINE __mmask8 equal(__m512d a, __m512d b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }

PYFAST_INLINE __m512 select(__mmask16 m, __m512 yes, __m512 no) {
  return _mm512_mask_blend_ps(m, no, yes);
}
PYFAST_INLINE __m512d select(__mmask8 m, __m512d yes, __m512d no) {
  return _mm512_mask_blend_pd(m, no, yes);
}

PYFAST_INLINE __m512 load_first(const float* p, int n, float fill) {
  return _mm512_mask_loadu_ps(broadcast(fill), first<float>(n), p);
}
PYFAST_INLINE __m512d load_first(const double* p, int n, double fill) {
  return _mm512_mask_loadu_pd(broadcast(fill), first<double>(n), p);
}
PYFAST_INLINE void store_first(float* p, __m512 v, int n) {
  _mm512_mask_storeu_ps(p, first<float>(n), v);
}
PYFAST_INLINE void store_first(double* p, __m512d v, int n) {
  _mm512_mask_storeu_pd(p, first<double>(n), v);
}

PYFAST_INLINE __m512 fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
PYFAST_INLINE __m512d fma(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }

PYFAST_INLINE __m512 min(__m512 a, __m512 b) { return _mm512_min_ps(a, b); }
PYFAST_INLINE __m512d min(__m512d a, __m512d b) { return _mm512_min_pd(a, b); }
PYFAST_INLINE __m512 max(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
PYFAST_INLINE __m512d max(__m512d a, __m512d b) { return _mm512_max_pd(a, b); }

// min and max give b where a is NaN: keep a there.
PYFAST_INLINE __m512 min_nan(__m512 a, __m512 b) {
  return _mm512_mask_min_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b);
}
PYFAST_INLINE __m512d min_nan(__m512d a, __m512d b) {
  return _mm512_mask_min_pd(a, _mm512_cmp_pd_mask(a, a, _CMP_ORD_Q), a, b);
}
PYFAST_INLINE __m512 max_nan(__m512 a, __m512 b) {
  return _mm512_mask_max_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b);
}
PYFAST_INLINE __m512d max_nan(__m512d a, __m512d b) {
  return _mm512_mask_max_pd(a, _mm512_cmp_pd_mask(a, a, _CMP_ORD_Q), a, b);
}

PYFAST_INLINE __m512 sqrt(__m512 x) { return _mm512_sqrt_ps(x); }
PYFAST_INLINE __m512d sqrt(__m512d x) { return _mm512_sqrt_pd(x); }

PYFAST_INLINE __m512 round(__m512 x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PYFAST_INLINE __m512d round(__m512d x) {
  return _mm512_roundscale_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PYFAST_INLINE __m512 floor(__m512 x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
PYFAST_INLINE __m512d floor(__m512d x) {
  return _mm512_roundscale_pd(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

PYFAST_INLINE float reduce_add(__m512 x) { return _mm512_reduce_add_ps(x); }
PYFAST_INLINE double reduce_add(__m512d x) { return _mm512_reduce_add_pd(x); }
PYFAST_INLINE float reduce_max(__m512 x) { return _mm512_reduce_max_ps(x); }
PYFAST_INLINE double reduce_max(__m512d x) { return _mm512_reduce_max_pd(x); }

PYFAST_INLINE __m512d widen_low(__m512 x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
PYFAST_INLINE __m512d widen_high(__m512 x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }
PYFAST_INLINE __m512 narrow(__m512d low, __m512d high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}

// Only here, for table.h: table[i mod its size], i the bits of each lane.
PYFAST_INLINE __m512 lookup(const float (&table)[16], __m512 bits) {
  return _mm512_permutexvar_ps(_mm512_castps_si512(bits), _mm512_load_ps(table));
}
PYFAST_INLINE __m512 lookup(const float (&table)[32], __m512 bits) {
  return _mm512_permutex2var_ps(_mm512_load_ps(table), _mm512_castps_si512(bits),
                                _mm512_load_ps(table + 16));
}

// Only here, for exp and log: x 2^n, with n = +-inf giving inf and 0 whatever x, NaN giving NaN;
// x less the nearest integer, 0 for infinities;
// x where |x| < 1, else (NaN too) a number of magnitude 1; and x = 2^exponent mantissa with
// mantissa in [1, 2), denormals included.
PYFAST_INLINE __m512 scalef(__m512 x, __m512 n) { return _mm512_scalef_ps(x, n); }
PYFAST_INLINE __m512d scalef(__m512d x, __m512d n) { return _mm512_scalef_pd(x, n); }
PYFAST_INLINE __m512 from_nearest(__m512 x) {
  return _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PYFAST_INLINE __m512d from_nearest(__m512d x) {
  return _mm512_reduce_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PYFAST_INLINE __m512 bound_by_one(__m512 x) { return _mm512_range_ps(x, broadcast(1.0f), 2); }
PYFAST_INLINE __m512d bound_by_one(__m512d x) { return _mm512_range_pd(x, broadcast(1.0), 2); }
PYFAST_INLINE __m512 exponent(__m512 x) { return _mm512_getexp_ps(x); }
PYFAST_INLINE __m512d exponent(__m512d x) { return _mm512_getexp_pd(x); }
PYFAST_INLINE __m512 mantissa(__m512 x) {
  return _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
}
PYFAST_INLINE __m512d mantissa(__m512d x) {
  return _mm512_getmant_pd(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
}

}  // namespace pyfast::PYFAST_ISA::backend
