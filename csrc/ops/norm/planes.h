// Statistics and sums per plane, shared by batch, instance and group normalisation.
#pragma once

#include <cmath>

#include "core/memory.h"
#include "ops/norm/kernel.h"
#include "ops/norm/merge.h"
#include "ops/norm/operands.h"
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

// Per channel: sum of dz and sum of dz (x - mean), the mean being affine's.
template <class T>
void plane_sums(const T* g, const T* x, std::int64_t images, std::int64_t channels,
                std::int64_t length, Affine<T> affine, Activation activation, double* sum,
                double* weighted) {
  const PlanePieces pieces(images, channels, length);
  const Workspace<double> partial(2 * pieces.parts() * channels);
  const auto& kernels = norm_plane_kernels<T>();
  pieces.for_each(2, [&](std::int64_t item, std::int64_t c, std::int64_t offset, std::int64_t runs,
                         std::int64_t n) {
    kernels.sums(g + offset, x + offset, runs, pieces.stride(), n,
                 {affine.mean + c, affine.scale + c, affine.shift + c}, activation,
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

// Affine and AffineGradient of `n` planes or columns, filled one by one.
template <class T>
class Coefficients {
 public:
  explicit Coefficients(std::int64_t n) : n_(n), data_(6 * n) {}

  // y = (x - mean) invstd weight + bias, split so that T loses nothing: see Affine.
  void set(std::int64_t i, double mean, double invstd, double weight, double bias) {
    const T rounded = static_cast<T>(mean);
    const double scale = invstd * weight;
    data_[i] = rounded;
    data_[n_ + i] = static_cast<T>(scale);
    data_[2 * n_ + i] = static_cast<T>(std::isfinite(mean) ? bias - rest(i, mean) * scale : bias);
  }
  // dx = a dz + b (x - mean) + c, with the exact mean.
  void set_gradient(std::int64_t i, double mean, double a, double b, double c) {
    data_[3 * n_ + i] = static_cast<T>(a);
    data_[4 * n_ + i] = static_cast<T>(b);
    data_[5 * n_ + i] = static_cast<T>(c - b * rest(i, mean));
  }
  // What rounding took from the mean: x - mean = (x - rounded) - rest.
  double rest(std::int64_t i, double mean) const { return mean - double{data_[i]}; }

  Affine<T> affine(std::int64_t i = 0) const { return {at(0, i), at(1, i), at(2, i)}; }
  AffineGradient<T> gradient(std::int64_t i = 0) const { return {at(3, i), at(4, i), at(5, i)}; }

 private:
  const T* at(std::int64_t row, std::int64_t i) const { return data_.data() + row * n_ + i; }

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
