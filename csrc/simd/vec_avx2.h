// 32-byte registers with FMA; a mask is a register of all-ones or all-zeros lanes.
#pragma once

#include <immintrin.h>

namespace pyfast::PYFAST_ISA::backend {

inline constexpr int kBytes = 32;

template <class T>
struct lanes;
template <>
struct lanes<float> {
  using type = __m256;
  using mask = __m256;
  using word = std::uint32_t;
};
template <>
struct lanes<double> {
  using type = __m256d;
  using mask = __m256d;
  using word = std::uint64_t;
};

PYFAST_INLINE __m256 broadcast(float x) { return _mm256_set1_ps(x); }
PYFAST_INLINE __m256d broadcast(double x) { return _mm256_set1_pd(x); }

template <class T>
PYFAST_INLINE typename lanes<T>::mask first(int n) {
  if constexpr (sizeof(T) == 4)
    return _mm256_castsi256_ps(
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)));
  else
    return _mm256_castsi256_pd(
        _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)));
}

template <class T>
PYFAST_INLINE typename lanes<T>::mask load_mask(const std::uint8_t* p) {
  const __m256i zero = _mm256_setzero_si256();
  if constexpr (sizeof(T) == 4) {
    const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_cvtepu8_epi32(x), zero));
  } else {
    int x;
    __builtin_memcpy(&x, p, sizeof x);
    return _mm256_castsi256_pd(
        _mm256_cmpgt_epi64(_mm256_cvtepu8_epi64(_mm_cvtsi32_si128(x)), zero));
  }
}

template <class T>
PYFAST_INLINE bool any(typename lanes<T>::mask m) {
  if constexpr (sizeof(T) == 4)
    return _mm256_movemask_ps(m) != 0;
  else
    return _mm256_movemask_pd(m) != 0;
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_and(typename lanes<T>::mask a,
                                               typename lanes<T>::mask b) {
  if constexpr (sizeof(T) == 4)
    return _mm256_and_ps(a, b);
  else
    return _mm256_and_pd(a, b);
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_or(typename lanes<T>::mask a,
                                              typename lanes<T>::mask b) {
  if constexpr (sizeof(T) == 4)
    return _mm256_or_ps(a, b);
  else
    return _mm256_or_pd(a, b);
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_not(typename lanes<T>::mask a) {
  const __m256i ones = _mm256_set1_epi32(-1);
  if constexpr (sizeof(T) == 4)
    return _mm256_xor_ps(a, _mm256_castsi256_ps(ones));
  else
    return _mm256_xor_pd(a, _mm256_castsi256_pd(ones));
}

PYFAST_INLINE __m256 less(__m256 a, __m256 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
PYFAST_INLINE __m256d less(__m256d a, __m256d b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
PYFAST_INLINE __m256 less_equal(__m256 a, __m256 b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
PYFAST_INLINE __m256d less_equal(__m256d a, __m256d b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
PYFAST_INLINE __m256 equal(__m256 a, __m256 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
PYFAST_INLINE __m256d equal(__m256d a, __m256d b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }

PYFAST_INLINE __m256 select(__m256 m, __m256 yes, __m256 no) {
  return _mm256_blendv_ps(no, yes, m);
}
PYFAST_INLINE __m256d select(__m256d m, __m256d yes, __m256d no) {
  return _mm256_blendv_pd(no, yes, m);
}

// 0 where the mask says so: one instruction where select takes three.
PYFAST_INLINE __m256 clear(__m256 m, __m256 x) { return _mm256_andnot_ps(m, x); }
PYFAST_INLINE __m256d clear(__m256d m, __m256d x) { return _mm256_andnot_pd(m, x); }

PYFAST_INLINE __m256 load_first(const float* p, int n, float fill) {
  const __m256 m = first<float>(n);
  return select(m, _mm256_maskload_ps(p, _mm256_castps_si256(m)), broadcast(fill));
}
PYFAST_INLINE __m256d load_first(const double* p, int n, double fill) {
  const __m256d m = first<double>(n);
  return select(m, _mm256_maskload_pd(p, _mm256_castpd_si256(m)), broadcast(fill));
}
PYFAST_INLINE void store_first(float* p, __m256 v, int n) {
  _mm256_maskstore_ps(p, _mm256_castps_si256(first<float>(n)), v);
}
PYFAST_INLINE void store_first(double* p, __m256d v, int n) {
  _mm256_maskstore_pd(p, _mm256_castpd_si256(first<double>(n)), v);
}

PYFAST_INLINE __m256 fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
PYFAST_INLINE __m256d fma(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }

PYFAST_INLINE __m256 min(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
PYFAST_INLINE __m256d min(__m256d a, __m256d b) { return _mm256_min_pd(a, b); }
PYFAST_INLINE __m256 max(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
PYFAST_INLINE __m256d max(__m256d a, __m256d b) { return _mm256_max_pd(a, b); }

// min and max give b where a is NaN: keep a there.
PYFAST_INLINE __m256 min_nan(__m256 a, __m256 b) {
  return select(_mm256_cmp_ps(a, a, _CMP_UNORD_Q), a, min(a, b));
}
PYFAST_INLINE __m256d min_nan(__m256d a, __m256d b) {
  return select(_mm256_cmp_pd(a, a, _CMP_UNORD_Q), a, min(a, b));
}
PYFAST_INLINE __m256 max_nan(__m256 a, __m256 b) {
  return select(_mm256_cmp_ps(a, a, _CMP_UNORD_Q), a, max(a, b));
}
PYFAST_INLINE __m256d max_nan(__m256d a, __m256d b) {
  return select(_mm256_cmp_pd(a, a, _CMP_UNORD_Q), a, max(a, b));
}

PYFAST_INLINE __m256 sqrt(__m256 x) { return _mm256_sqrt_ps(x); }
PYFAST_INLINE __m256d sqrt(__m256d x) { return _mm256_sqrt_pd(x); }

PYFAST_INLINE __m256 round(__m256 x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PYFAST_INLINE __m256d round(__m256d x) {
  return _mm256_round_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PYFAST_INLINE __m256 floor(__m256 x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
PYFAST_INLINE __m256d floor(__m256d x) {
  return _mm256_round_pd(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

PYFAST_INLINE float reduce_add(__m256 x) {
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}
PYFAST_INLINE double reduce_add(__m256d x) {
  const __m128d y = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_add_sd(y, _mm_unpackhi_pd(y, y)));
}
PYFAST_INLINE float reduce_max(__m256 x) {
  __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}
PYFAST_INLINE double reduce_max(__m256d x) {
  const __m128d y = _mm_max_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_max_sd(y, _mm_unpackhi_pd(y, y)));
}

PYFAST_INLINE __m256d widen_low(__m256 x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
PYFAST_INLINE __m256d widen_high(__m256 x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }
PYFAST_INLINE __m256 narrow(__m256d low, __m256d high) {
  return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
}

}  // namespace pyfast::PYFAST_ISA::backend
