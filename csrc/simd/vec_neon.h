// 16-byte registers of AArch64, which has FMA and float64 lanes.
#pragma once

#include <arm_neon.h>

namespace pyfast::PYFAST_ISA::backend {

inline constexpr int kBytes = 16;

template <class T>
struct lanes;
template <>
struct lanes<float> {
  using type = float32x4_t;
  using mask = uint32x4_t;
  using word = std::uint32_t;
};
template <>
struct lanes<double> {
  using type = float64x2_t;
  using mask = uint64x2_t;
  using word = std::uint64_t;
};

PYFAST_INLINE float32x4_t broadcast(float x) { return vdupq_n_f32(x); }
PYFAST_INLINE float64x2_t broadcast(double x) { return vdupq_n_f64(x); }

template <class T>
PYFAST_INLINE typename lanes<T>::mask first(int n) {
  using Word = typename lanes<T>::word;
  Word x[kBytes / sizeof(T)];
  for (int i = 0; i < kBytes / static_cast<int>(sizeof(T)); ++i) x[i] = i < n ? ~Word{0} : Word{0};
  return __builtin_bit_cast(typename lanes<T>::mask, x);
}

template <class T>
PYFAST_INLINE typename lanes<T>::mask load_mask(const std::uint8_t* p) {
  using Word = typename lanes<T>::word;
  Word x[kBytes / sizeof(T)];
  for (int i = 0; i < kBytes / static_cast<int>(sizeof(T)); ++i) x[i] = p[i] ? ~Word{0} : Word{0};
  return __builtin_bit_cast(typename lanes<T>::mask, x);
}

template <class T>
PYFAST_INLINE bool any(typename lanes<T>::mask m) {
  return vmaxvq_u32(__builtin_bit_cast(uint32x4_t, m)) != 0;
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_and(typename lanes<T>::mask a,
                                               typename lanes<T>::mask b) {
  return a & b;
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_or(typename lanes<T>::mask a,
                                              typename lanes<T>::mask b) {
  return a | b;
}
template <class T>
PYFAST_INLINE typename lanes<T>::mask mask_not(typename lanes<T>::mask a) {
  return ~a;
}

PYFAST_INLINE uint32x4_t less(float32x4_t a, float32x4_t b) { return vcltq_f32(a, b); }
PYFAST_INLINE uint64x2_t less(float64x2_t a, float64x2_t b) { return vcltq_f64(a, b); }
PYFAST_INLINE uint32x4_t less_equal(float32x4_t a, float32x4_t b) { return vcleq_f32(a, b); }
PYFAST_INLINE uint64x2_t less_equal(float64x2_t a, float64x2_t b) { return vcleq_f64(a, b); }
PYFAST_INLINE uint32x4_t equal(float32x4_t a, float32x4_t b) { return vceqq_f32(a, b); }
PYFAST_INLINE uint64x2_t equal(float64x2_t a, float64x2_t b) { return vceqq_f64(a, b); }

PYFAST_INLINE float32x4_t select(uint32x4_t m, float32x4_t yes, float32x4_t no) {
  return vbslq_f32(m, yes, no);
}
PYFAST_INLINE float64x2_t select(uint64x2_t m, float64x2_t yes, float64x2_t no) {
  return vbslq_f64(m, yes, no);
}
PYFAST_INLINE float32x4_t clear(uint32x4_t m, float32x4_t x) {
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), m));
}
PYFAST_INLINE float64x2_t clear(uint64x2_t m, float64x2_t x) {
  return vreinterpretq_f64_u64(vbicq_u64(vreinterpretq_u64_f64(x), m));
}

PYFAST_INLINE float32x4_t load_first(const float* p, int n, float fill) {
  float x[4];
  for (int i = 0; i < 4; ++i) x[i] = i < n ? p[i] : fill;
  return vld1q_f32(x);
}
PYFAST_INLINE float64x2_t load_first(const double* p, int n, double fill) {
  double x[2];
  for (int i = 0; i < 2; ++i) x[i] = i < n ? p[i] : fill;
  return vld1q_f64(x);
}
PYFAST_INLINE void store_first(float* p, float32x4_t v, int n) {
  for (int i = 0; i < 4; ++i)
    if (i < n) p[i] = v[i];
}
PYFAST_INLINE void store_first(double* p, float64x2_t v, int n) {
  for (int i = 0; i < 2; ++i)
    if (i < n) p[i] = v[i];
}

PYFAST_INLINE float32x4_t fma(float32x4_t a, float32x4_t b, float32x4_t c) {
  return vfmaq_f32(c, a, b);
}
PYFAST_INLINE float64x2_t fma(float64x2_t a, float64x2_t b, float64x2_t c) {
  return vfmaq_f64(c, a, b);
}

// FMIN and FMAX propagate NaN; a comparison gives x86's "b where either is NaN".
PYFAST_INLINE float32x4_t min(float32x4_t a, float32x4_t b) { return select(less(a, b), a, b); }
PYFAST_INLINE float64x2_t min(float64x2_t a, float64x2_t b) { return select(less(a, b), a, b); }
PYFAST_INLINE float32x4_t max(float32x4_t a, float32x4_t b) { return select(less(b, a), a, b); }
PYFAST_INLINE float64x2_t max(float64x2_t a, float64x2_t b) { return select(less(b, a), a, b); }
PYFAST_INLINE float32x4_t min_nan(float32x4_t a, float32x4_t b) { return vminq_f32(a, b); }
PYFAST_INLINE float64x2_t min_nan(float64x2_t a, float64x2_t b) { return vminq_f64(a, b); }
PYFAST_INLINE float32x4_t max_nan(float32x4_t a, float32x4_t b) { return vmaxq_f32(a, b); }
PYFAST_INLINE float64x2_t max_nan(float64x2_t a, float64x2_t b) { return vmaxq_f64(a, b); }

PYFAST_INLINE float32x4_t sqrt(float32x4_t x) { return vsqrtq_f32(x); }
PYFAST_INLINE float64x2_t sqrt(float64x2_t x) { return vsqrtq_f64(x); }
PYFAST_INLINE float32x4_t round(float32x4_t x) { return vrndnq_f32(x); }
PYFAST_INLINE float64x2_t round(float64x2_t x) { return vrndnq_f64(x); }
PYFAST_INLINE float32x4_t floor(float32x4_t x) { return vrndmq_f32(x); }
PYFAST_INLINE float64x2_t floor(float64x2_t x) { return vrndmq_f64(x); }

PYFAST_INLINE float reduce_add(float32x4_t x) { return (x[0] + x[2]) + (x[1] + x[3]); }
PYFAST_INLINE double reduce_add(float64x2_t x) { return x[0] + x[1]; }
PYFAST_INLINE float reduce_max(float32x4_t x) { return vmaxvq_f32(x); }
PYFAST_INLINE double reduce_max(float64x2_t x) { return vmaxvq_f64(x); }

PYFAST_INLINE float64x2_t widen_low(float32x4_t x) { return vcvt_f64_f32(vget_low_f32(x)); }
PYFAST_INLINE float64x2_t widen_high(float32x4_t x) { return vcvt_high_f64_f32(x); }
PYFAST_INLINE float32x4_t narrow(float64x2_t low, float64x2_t high) {
  return vcvt_high_f32_f64(vcvt_f32_f64(low), high);
}

}  // namespace pyfast::PYFAST_ISA::backend
