#include <cmath>

#include "core/copy.h"
#include "ops/optimizer/blocks.h"
#include "ops/optimizer/gradient.h"
#include "ops/optimizer/kernel_gradient.h"

namespace pyfast {

namespace {

std::vector<std::int64_t> sizes_of(const std::vector<TensorView>& gradients) {
  std::vector<std::int64_t> sizes;
  for (const TensorView& g : gradients) sizes.push_back(g.numel());
  return sizes;
}

// The block's contribution to the norm, before any root.
template <class T>
double part(const T* g, std::int64_t n, double norm_type) {
  const auto& kernels = gradient_kernels<T>();
  if (norm_type == 2) return kernels.sum_of_squares(g, n);
  return norm_type == 1 ? kernels.sum_of_magnitudes(g, n) : kernels.largest(g, n);
}

// A copy in C order where the view is not, as bytes that either type may lie in.
struct Packed {
  explicit Packed(const TensorView& g) : f32(view_if(g, DType::f32)), f64(view_if(g, DType::f64)) {}
  static TensorView view_if(const TensorView& g, DType dtype) {
    return g.dtype == dtype ? g : TensorView();
  }
  Contiguous<float> f32;
  Contiguous<double> f64;
};

// change(kernels, data, n) for the blocks of every gradient.
template <class Change>
void rewrite(const std::vector<TensorView>& gradients, Change change) {
  for_each_block(sizes_of(gradients), [&](std::size_t t, std::int64_t at, std::int64_t n) {
    visit(gradients[t].dtype,
          [&]<class T>() { change(gradient_kernels<T>(), gradients[t].as<T>() + at, n); });
  });
}

}  // namespace

void norm_of(const std::vector<TensorView>& gradients, double norm_type, double* norm) {
  std::vector<Packed> packed;
  packed.reserve(gradients.size());
  for (const TensorView& g : gradients) packed.emplace_back(g);
  const auto sizes = sizes_of(gradients);
  std::vector<double> parts(static_cast<std::size_t>(first_blocks(sizes).back()));
  for_each_numbered_block(sizes, [&](std::size_t t, std::int64_t at, std::int64_t n,
                                     std::int64_t block) {
    const Packed& p = packed[t];
    parts[static_cast<std::size_t>(block)] = p.f32.data() ? part(p.f32.data() + at, n, norm_type)
                                                          : part(p.f64.data() + at, n, norm_type);
  });
  double total = 0;
  for (const double p : parts) {
    if (norm_type == 1 || norm_type == 2)
      total += p;
    else
      total = p > total || std::isnan(p) ? p : total;
  }
  *norm = norm_type == 2 ? std::sqrt(total) : total;
}

void scale(const std::vector<TensorView>& gradients, double factor) {
  rewrite(gradients,
          [=](const auto& kernels, auto* g, std::int64_t n) { kernels.scale(g, n, factor); });
}

void clamp(const std::vector<TensorView>& gradients, double limit) {
  rewrite(gradients,
          [=](const auto& kernels, auto* g, std::int64_t n) { kernels.clamp(g, n, limit); });
}

}  // namespace pyfast
