// Planes: runs of contiguous values that share a mean, a scale and a shift. Two loads and a store
// an iteration at most: bound by memory.
#include "ops/norm/kernel.h"
#include "ops/norm/kernel_activation.h"
#include "simd/loop.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

// An entry of Affine in every lane.
template <class T>
struct Spread {
  vec<T> origin, scale, scale_rest, shift, centre;
  PYFAST_INLINE Spread(Affine<T> a, std::int64_t i)
      : origin(a.origin[i]),
        scale(a.scale[i]),
        scale_rest(a.scale_rest[i]),
        shift(a.shift[i]),
        centre(a.centre[i]) {}
  PYFAST_INLINE vec<T> operator()(vec<T> d) const {  // of d = x - origin
    return fma(d, scale, fma(d, scale_rest, shift));
  }
};

template <class T, class Act>
PYFAST_INLINE void forward_run(T* y, const T* x, std::int64_t length, const Spread<T>& s, Act act) {
  for_each_vector<T>(length, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    fetch_ahead(x + i);
    fetch_ahead(y + i);
    const vec<T> d = load(x + i, lanes) - s.origin;
    store(act.forward(s(d)), y + i, lanes);
  });
}

template <class T>
void forward(T* y, const T* x, std::int64_t planes, std::int64_t length, Affine<T> affine,
             Activation activation) {
  with_fused(activation, [=](auto act) {
    for (std::int64_t p = 0; p < planes; ++p)
      forward_run(y + p * length, x + p * length, length, Spread<T>(affine, p), act);
  });
}

template <class T>
void forward_runs(T* y, const T* x, std::int64_t segments, std::int64_t stride, std::int64_t length,
                  Affine<T> affine, Activation activation) {
  with_fused(activation, [=](auto act) {
    const Spread<T> s(affine, 0);
    for (std::int64_t k = 0; k < segments; ++k)
      forward_run(y + k * stride, x + k * stride, length, s, act);
  });
}

// Sums in T over at most kRun values, then in double.
constexpr std::int64_t kRun = 4096;

template <class T, class Act>
PYFAST_INLINE void add_run(const T* g, const T* x, std::int64_t n, const Spread<T>& s, Act act,
                           vec<T> (&sum)[2], vec<T> (&weighted)[2]) {
  constexpr int w = vec<T>::size;
  const auto step = [&](int k, vec<T> gi, vec<T> xi) PYFAST_INLINED {
    const vec<T> dz = act.backward(gi, s(xi - s.origin));
    sum[k] += dz;
    weighted[k] = fma(dz, xi - s.centre, weighted[k]);
  };
  std::int64_t i = 0;
  for (; i + 2 * w <= n; i += 2 * w) {
    step(0, vec<T>::load(g + i), vec<T>::load(x + i));
    step(1, vec<T>::load(g + i + w), vec<T>::load(x + i + w));
  }
  for (; i < n; i += w) {  // g = 0 in the lanes beyond n; x there is finite, so they add nothing
    const int rest = static_cast<int>(n - i < w ? n - i : w);
    step(0, vec<T>::load(g + i, rest), vec<T>::load(x + i, rest));
  }
}

template <class T>
void sums(const T* g, const T* x, std::int64_t segments, std::int64_t stride, std::int64_t length,
          Affine<T> affine, Activation activation, double* totals) {
  const std::int64_t together = length < kRun ? kRun / length : 1;
  totals[0] = totals[1] = 0;
  with_fused(activation, [=](auto act) {
    const Spread<T> s(affine, 0);
    for (std::int64_t first = 0; first < segments; first += together) {
      const std::int64_t end = first + together < segments ? first + together : segments;
      for (std::int64_t i = 0; i < length; i += kRun) {
        const std::int64_t n = length - i < kRun ? length - i : kRun;
        vec<T> sum[2], weighted[2];
        for (std::int64_t k = first; k < end; ++k)
          add_run(g + k * stride + i, x + k * stride + i, n, s, act, sum, weighted);
        totals[0] += lane_sum(sum[0] + sum[1]);
        totals[1] += lane_sum(weighted[0] + weighted[1]);
      }
    }
  });
}

template <class T>
struct SpreadGradient {
  vec<T> unit, a, a_rest, b, c;
  PYFAST_INLINE SpreadGradient(AffineGradient<T> g, std::int64_t i)
      : unit(g.unit[i]), a(g.a[i]), a_rest(g.a_rest[i]), b(g.b[i]), c(g.c[i]) {}
  PYFAST_INLINE vec<T> operator()(vec<T> dz, vec<T> d) const {
    return unit * fma(a, dz, fma(a_rest, dz, fma(b, d, c)));
  }
};

template <class T, class Act>
PYFAST_INLINE void backward_run(T* dx, const T* g, const T* x, std::int64_t length,
                                const Spread<T>& s, const SpreadGradient<T>& to, Act act) {
  for_each_vector<T>(length, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    fetch_ahead(x + i);
    fetch_ahead(g + i);
    fetch_ahead(dx + i);
    const vec<T> d = load(x + i, lanes) - s.origin;
    const vec<T> dz = act.backward(load(g + i, lanes), s(d));
    store(to(dz, d), dx + i, lanes);
  });
}

template <class T>
void backward(T* dx, const T* g, const T* x, std::int64_t planes, std::int64_t length,
              Affine<T> affine, AffineGradient<T> gradient, Activation activation) {
  with_fused(activation, [=](auto act) {
    for (std::int64_t p = 0; p < planes; ++p) {
      const std::int64_t at = p * length;
      backward_run(dx + at, g + at, x + at, length, Spread<T>(affine, p),
                   SpreadGradient<T>(gradient, p), act);
    }
  });
}

template <class T>
void backward_runs(T* dx, const T* g, const T* x, std::int64_t segments, std::int64_t stride,
                   std::int64_t length, Affine<T> affine, AffineGradient<T> gradient,
                   Activation activation) {
  with_fused(activation, [=](auto act) {
    const Spread<T> s(affine, 0);
    const SpreadGradient<T> to(gradient, 0);
    for (std::int64_t k = 0; k < segments; ++k)
      backward_run(dx + k * stride, g + k * stride, x + k * stride, length, s, to, act);
  });
}

}  // namespace

template <class T>
const PlaneKernels<T>& norm_plane_kernels() {
  static constexpr PlaneKernels<T> table{&forward_runs<T>, &backward_runs<T>, &forward<T>, &sums<T>,
                                         &backward<T>};
  return table;
}

template const PlaneKernels<float>& norm_plane_kernels<float>();
template const PlaneKernels<double>& norm_plane_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
