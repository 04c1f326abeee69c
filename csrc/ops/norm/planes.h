// Statistics and sums per plane, shared by batch, instance and group normalisation.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core/memory.h"
#include "ops/norm/kernel.h"
#include "ops/norm/merge.h"
#include "ops/norm/operands.h"
#include "ops/norm/origin.h"
#include "ops/norm/pieces.h"

namespace pyfast {

// Mean and biased variance of each channel of (images, channels, length), length > 0.
template <class T>
void plane_statistics(MomentsOf<T> moments_of, const T* x, std::int64_t images,
                      std::int64_t channels, std::int64_t length, double* mean, double* var) {
  const PlanePieces pieces(images, channels, length);
  const Workspace<Moments> partial(pieces.parts() * channels);
  pieces.for_each(
      2, [&](std::int64_t item, std::int64_t, std::int64_t offset, std::int64_t runs,
             std::int64_t n) { partial[item] = moments_of(x + offset, runs, pieces.stride(), n); });
  for (std::int64_t c = 0; c < channels; ++c) {
    Moments total = partial[c];
    for (std::int64_t p = 1; p < pieces.parts(); ++p)
      total = merge(total, partial[p * channels + c]);
    mean[c] = total.mean;
    var[c] = total.m2 / total.count;
  }
}

template <class T>
Affine<T> from(Affine<T> a, std::int64_t i) {
  return {a.origin + i, a.scale + i, a.scale_rest + i, a.shift + i, a.centre + i};
}

// Per channel: sum of dz and sum of dz (x - centre), the centre being affine's.
template <class T>
void plane_sums(const T* g, const T* x, std::int64_t images, std::int64_t channels,
                std::int64_t length, Affine<T> affine, Activation activation, double* sum,
                double* weighted) {
  const PlanePieces pieces(images, channels, length);
  const Workspace<double> partial(2 * pieces.parts() * channels);
  const auto& kernels = norm_plane_kernels<T>();
  pieces.for_each(2, [&](std::int64_t item, std::int64_t c, std::int64_t offset, std::int64_t runs,
                         std::int64_t n) {
    kernels.sums(g + offset, x + offset, runs, pieces.stride(), n, from(affine, c), activation,
                 partial.data() + 2 * item);
  });
  for (std::int64_t c = 0; c < channels; ++c) {
    sum[c] = weighted[c] = 0;
    for (std::int64_t p = 0; p < pieces.parts(); ++p) {
      sum[c] += partial[2 * (p * channels + c)];
      weighted[c] += partial[2 * (p * channels + c) + 1];
    }
  }
}

struct SetStatistics {
  double mean, var, invstd;
  SetStatistics(double m, double v, double eps) : mean(m), var(v), invstd(1 / std::sqrt(v + eps)) {}
};

// Affine and AffineGradient of `n` planes or columns, filled one by one.
template <class T>
class Coefficients {
 public:
  explicit Coefficients(std::int64_t n) : n_(n), data_(10 * n) {}

  // y = (x - mean) invstd weight + bias, split so that T loses nothing: see Affine.
  void set(std::int64_t i, const SetStatistics& s, double weight, double bias) {
    const double scale = s.invstd * weight;
    put(0, i, origin_of<T>(s.mean, s.var));
    put_split(1, i, scale);
    put(3, i, std::isfinite(s.mean) ? bias - (s.mean - at(0, i)) * scale : bias);
    put(4, i, s.mean);
  }
  // dx = scale (a dz + b (x - mean) + c) of sets of `count` values, with the exact mean. The terms
  // of few values nearly cancel, and are rounded least before they are scaled; of many only the
  // scale's rounding would count, which they share. A power of two is left outside, so that b does
  // not underflow where x is large.
  void set_gradient(std::int64_t i, double count, double mean, double scale, double a, double b,
                    double c) {
    const double unit = unit_of(scale, count < kFew), rest = scale / unit;
    put(5, i, unit);
    put_split(6, i, a * rest);
    put(8, i, b * rest);
    put(9, i, (c - b * (mean - at(0, i))) * rest);
  }
  // What rounding took from the mean: x - mean = (x - centre) - rest.
  double rest(std::int64_t i, double mean) const { return mean - at(4, i); }

  Affine<T> affine(std::int64_t i = 0) const {
    return {row(0) + i, row(1) + i, row(2) + i, row(3) + i, row(4) + i};
  }
  AffineGradient<T> gradient(std::int64_t i = 0) const {
    return {row(5) + i, row(6) + i, row(7) + i, row(8) + i, row(9) + i};
  }

 private:
  static constexpr double kFew = 32;

  // The scale itself or the power of two below it; 1 where there is none.
  static double unit_of(double scale, bool whole) {
    const double power =
        std::bit_cast<double>(std::bit_cast<std::uint64_t>(scale) & 0x7ffull << 52);
    if (power == 0 || !std::isfinite(power)) return 1;
    return whole ? scale : power;
  }
  const T* row(std::int64_t k) const { return data_.data() + k * n_; }
  double at(std::int64_t k, std::int64_t i) const { return double{row(k)[i]}; }
  void put(std::int64_t k, std::int64_t i, double x) { data_[k * n_ + i] = static_cast<T>(x); }
  // Rounded, and what rounding took from it in the row behind.
  void put_split(std::int64_t k, std::int64_t i, double x) {
    put(k, i, x);
    put(k + 1, i, std::isfinite(at(k, i)) ? x - at(k, i) : 0);
  }

  std::int64_t n_;
  Workspace<T> data_;
};

// Values that share their statistics and fit L2 with what is made of them: normalised as soon as
// the statistics are known, instead of being read from memory twice. Too few such sets would leave
// threads idle.
inline bool resident(std::int64_t sets, std::int64_t values) {
  constexpr std::int64_t kMostValues = 1 << 17, kFewSets = 8;
  return values <= kMostValues && sets >= kFewSets;
}

// body(set) for each of them, in parallel.
template <class Body>
void for_each_set(std::int64_t sets, std::int64_t values, std::int64_t cost, Body body) {
  parallel_for(sets, grain_for(values * cost), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

// y = act(affine(x)); entry p % period of the coefficients belongs to plane p.
template <class T>
void planes_forward(T* y, const T* x, std::int64_t planes, std::int64_t length,
                    const Coefficients<T>& coefficients, std::int64_t period,
                    Activation activation) {
  const auto forward = norm_plane_kernels<T>().forward;
  for_each_plane(planes, length, period, 2,
                 [&](std::int64_t plane, std::int64_t offset, std::int64_t count, std::int64_t n) {
                   forward(y + offset, x + offset, count, n, coefficients.affine(plane % period),
                           activation);
                 });
}

template <class T>
void planes_backward(T* dx, const T* g, const T* x, std::int64_t planes, std::int64_t length,
                     const Coefficients<T>& coefficients, std::int64_t period,
                     Activation activation) {
  const auto backward = norm_plane_kernels<T>().backward;
  for_each_plane(planes, length, period, 3,
                 [&](std::int64_t plane, std::int64_t offset, std::int64_t count, std::int64_t n) {
                   backward(dx + offset, g + offset, x + offset, count, n,
                            coefficients.affine(plane % period),
                            coefficients.gradient(plane % period), activation);
                 });
}

}  // namespace pyfast
