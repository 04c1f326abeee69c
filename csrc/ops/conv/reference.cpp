// Every product of the defining sum, one after the other, accumulated in double.
#include <algorithm>

#include "core/activation.h"
#include "core/copy.h"
#include "ops/conv/conv.h"
#include "ops/conv/layout.h"

namespace pyfast::reference {

namespace {

// One product: maps[n, m, oy, ox] meets image[n, c, iy, ix] at weight[w].
struct Product {
  std::int64_t n, m, c, oy, ox, iy, ix, w;
};

template <class Body>
void for_each_x(const ConvGeometry& g, Product p, Body body) {
  const std::int64_t row = p.w;
  for (p.ox = 0; p.ox < g.x.maps; ++p.ox)
    for (std::int64_t k = 0; k < g.x.kernel; ++k) {
      p.ix = p.ox * g.x.stride + k * g.x.dilation - g.x.padding;
      p.w = row + k;
      if (p.ix >= 0 && p.ix < g.x.image) body(p);
    }
}

template <class Body>
void for_each_y(const ConvGeometry& g, Product p, Body body) {
  const std::int64_t first = p.w;
  for (p.oy = 0; p.oy < g.y.maps; ++p.oy)
    for (std::int64_t k = 0; k < g.y.kernel; ++k) {
      p.iy = p.oy * g.y.stride + k * g.y.dilation - g.y.padding;
      p.w = first + k * g.x.kernel;
      if (p.iy >= 0 && p.iy < g.y.image) for_each_x(g, p, body);
    }
}

template <class Body>
void for_each_product(const ConvGeometry& g, Body body) {
  for (std::int64_t n = 0; n < g.batch; ++n)
    for (std::int64_t m = 0; m < g.groups * g.maps; ++m)
      for (std::int64_t c = 0; c < g.channels; ++c) {
        const std::int64_t weight = (m * g.channels + c) * g.taps();
        for_each_y(g, {n, m, m / g.maps * g.channels + c, 0, 0, 0, 0, weight}, body);
      }
}

// Sums in double, in C order of the result, rounded once at the end.
class Sums {
 public:
  explicit Sums(std::int64_t n) : sums_(n) { std::fill_n(sums_.data(), n, 0.0); }
  double& operator[](std::int64_t i) const { return sums_[i]; }
  template <class T>
  void round_into(T* result) const {
    for (std::int64_t i = 0; i < sums_.size(); ++i) result[i] = static_cast<T>(sums_[i]);
  }

 private:
  Workspace<double> sums_;
};

std::int64_t image_index(const ConvGeometry& g, const Product& p) {
  return ((p.n * g.groups * g.channels + p.c) * g.y.image + p.iy) * g.x.image + p.ix;
}

std::int64_t maps_index(const ConvGeometry& g, const Product& p) {
  return ((p.n * g.groups * g.maps + p.m) * g.y.maps + p.oy) * g.x.maps + p.ox;
}

template <class T>
void bias_gradient(const ConvParams& p, const double* grad, T* result, std::int64_t total) {
  const std::int64_t channels = p.output_channels();
  const std::int64_t size =
      p.transposed ? p.geometry.y.image * p.geometry.x.image : p.geometry.pixels();
  const Sums sums(channels);
  for (std::int64_t i = 0; i < total; ++i) sums[i / size % channels] += grad[i];
  sums.round_into(result);
}

}  // namespace

namespace {

void forward(const ConvParams& params, const TensorView& input, const TensorView& weight,
             const TensorView& bias, const TensorView& residual, const TensorView& output,
             const TensorView& linear) {
  visit(input.dtype, [&]<class T>() {
    const ConvGeometry& g = params.geometry;
    const Contiguous<T> x(input), w(weight), b(bias), r(residual);
    const std::int64_t total = output.numel();
    const std::int64_t channels = params.output_channels();
    const Sums sums(total);
    for_each_product(g, [&](const Product& p) {
      if (params.transposed)
        sums[image_index(g, p)] += double{x.data()[maps_index(g, p)]} * double{w.data()[p.w]};
      else
        sums[maps_index(g, p)] += double{x.data()[image_index(g, p)]} * double{w.data()[p.w]};
    });
    const std::int64_t size = params.transposed ? g.y.image * g.x.image : g.pixels();
    for (std::int64_t i = 0; i < total; ++i) {
      if (bias.defined) sums[i] += double{b.data()[i / size % channels]};
      if (residual.defined) sums[i] += double{r.data()[i]};
    }
    if (linear.defined) sums.round_into(linear.as<T>());
    for (std::int64_t i = 0; i < total; ++i) sums[i] = activate(params.activation, sums[i]);
    sums.round_into(output.as<T>());
  });
}

}  // namespace

void convolution_forward(const ConvParams& params, const TensorView& input,
                         const TensorView& weight, const TensorView& bias, const TensorView& output,
                         const TensorView& linear) {
  forward(params, input, weight, bias, TensorView(), output, linear);
}

void convolution_packed(const ConvParams& params, const TensorView& input,
                        const PackedConvWeight& weight, const TensorView& bias,
                        const TensorView& residual, const TensorView& output) {
  forward(params, input, weight.weight(), bias, residual, output, TensorView());
}

void convolution_backward(const ConvParams& params, const TensorView& grad, const TensorView& input,
                          const TensorView& weight, const TensorView& saved,
                          const TensorView& grad_input, const TensorView& grad_weight,
                          const TensorView& grad_bias) {
  visit(input.dtype, [&]<class T>() {
    const ConvGeometry& g = params.geometry;
    const Contiguous<T> x(input), w(weight), s(saved), incoming(grad);
    const Workspace<double> dy(grad.numel());
    for (std::int64_t i = 0; i < grad.numel(); ++i)
      dy[i] = params.activation == Activation::none
                  ? double{incoming.data()[i]}
                  : activate_backward(params.activation, double{incoming.data()[i]},
                                      double{s.data()[i]});
    const Sums dx(input.numel()), dw(weight.numel());
    for_each_product(g, [&](const Product& p) {
      const std::int64_t image = image_index(g, p), maps = maps_index(g, p);
      const std::int64_t at_input = params.transposed ? maps : image;
      const double d = dy[params.transposed ? image : maps];
      dx[at_input] += d * double{w.data()[p.w]};
      dw[p.w] += d * double{x.data()[at_input]};
    });
    if (grad_input.defined) dx.round_into(grad_input.as<T>());
    if (grad_weight.defined) dw.round_into(grad_weight.as<T>());
    if (grad_bias.defined) bias_gradient(params, dy.data(), grad_bias.as<T>(), grad.numel());
  });
}

}  // namespace pyfast::reference
