#include <algorithm>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/conv/conv.h"
#include "ops/conv/correlate.h"
#include "ops/conv/depthwise.h"
#include "ops/conv/kernel.h"
#include "ops/conv/scatter.h"
#include "ops/conv/weight_gradient.h"

namespace pyfast {

namespace {

// maps = weight correlated with the image.
template <class T>
Correlation<T> gather(const ConvGeometry& g, Image<const T> image, const T* weight, Image<T> maps) {
  return {.source = image,
          .target = maps,
          .y = gather_axis(g.y),
          .x = gather_axis(g.x),
          .batch = g.batch,
          .groups = g.groups,
          .in = g.channels,
          .out = g.maps,
          .weight = weight,
          .weight_group = g.maps * g.channels * g.taps(),
          .weight_out = g.channels * g.taps(),
          .weight_in = g.taps(),
          .kernel_width = g.x.kernel};
}

// image = maps spread through the weight.
template <class T>
Correlation<T> spread(const ConvGeometry& g, Image<const T> maps, const T* weight, Image<T> image) {
  Correlation<T> c = gather(g, maps, weight, image);
  std::swap(c.in, c.out);
  std::swap(c.weight_in, c.weight_out);
  return c;
}

// Sum of each channel over samples and pixels, in double.
template <class T>
void channel_sums(const Image<const T>& image, std::int64_t batch, std::int64_t channels,
                  std::int64_t height, std::int64_t width, T* result) {
  const auto& kernels = conv_kernels<T>();
  const bool gapless = image.row == width * image.column || height == 1;
  const std::int64_t rows = gapless ? 1 : height, cols = gapless ? height * width : width;
  parallel_for(channels, grain_for(batch * height * width / 4 + 1),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t c = begin; c < end; ++c) {
                   double total = 0;
                   for (std::int64_t n = 0; n < batch; ++n)
                     for (std::int64_t y = 0; y < rows; ++y)
                       total += kernels.sum(&image.at(n, c, y, 0), cols, image.column);
                   result[c] = static_cast<T>(total);
                 }
               });
}

template <class T>
void input_gradient(const ConvParams& params, const Image<const T>& grad, const TensorView& weight,
                    const TensorView& result) {
  const Contiguous<T> w(weight);
  const Image<T> to(result, params.spatial);
  if (params.transposed)
    correlate(gather(params.geometry, grad, w.data(), to));
  else
    scatter(params.geometry, spread(params.geometry, grad, w.data(), to));
}

// The same elements; packed, with rows and pixels without gaps, unless they are already.
template <class T>
class PackedImage {
 public:
  PackedImage(const TensorView& view, int spatial)
      : data_(view),
        image_(TensorView(const_cast<T*>(data_.data()), view.dtype, view.shape), spatial) {}
  const Image<const T>& image() const { return image_; }

 private:
  Contiguous<T> data_;
  Image<const T> image_;
};

// grad_weight may be null, grad_input undefined.
template <class T>
void depthwise_backward(const ConvParams& params, const TensorView& grad, const TensorView& input,
                        const TensorView& weight, const TensorView& grad_input, T* grad_weight) {
  const Image<const T> x(input, params.spatial), dy(grad, params.spatial);
  const bool apart = params.transposed && grad_input.defined;
  if (apart) input_gradient(params, dy, weight, grad_input);
  T* const pixels = apart ? nullptr : grad_input.as<T>();
  if (!pixels && !grad_weight) return;
  const Contiguous<T> w(weight);
  const PackedImage<T> maps(params.transposed ? input : grad, params.spatial);
  depthwise_gradients(params.geometry, params.transposed ? dy : x, maps.image(), w.data(), pixels,
                      grad_weight);
}

}  // namespace

void convolution_forward(const ConvParams& params, const TensorView& input,
                         const TensorView& weight, const TensorView& bias, const TensorView& output,
                         const TensorView& linear) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> w(weight), b(bias);
    const Image<const T> x(input, params.spatial);
    const Image<T> y(output, params.spatial);
    Correlation<T> c = params.transposed ? spread(params.geometry, x, w.data(), y)
                                         : gather(params.geometry, x, w.data(), y);
    c.bias = b.data();
    c.activation = params.activation;
    c.linear = linear.as<T>();
    params.transposed ? scatter(params.geometry, c) : correlate(c);
  });
}

PackedConvWeight::PackedConvWeight(const TensorView& weight, std::int64_t groups)
    : copy_(weight.contiguous() ? 0 : weight.numel() * item_size(weight.dtype)),
      weight_(weight),
      groups_(groups) {
  check_packed_weight(weight, groups);
  if (weight.dtype == DType::f64) panels_.emplace<ConvPanels<double>>();
  if (weight.contiguous()) return;
  copy_contiguous(copy_.data(), weight);
  weight_ = TensorView(copy_.data(), weight.dtype, weight.shape);
}

void convolution_packed(const ConvParams& params, const TensorView& input,
                        const PackedConvWeight& weight, const TensorView& bias,
                        const TensorView& residual, const TensorView& output) {
  visit(input.dtype, [&]<class T>() {
    const Contiguous<T> b(bias), r(residual);
    const Image<const T> x(input, params.spatial);
    Correlation<T> c =
        gather(params.geometry, x, weight.weight().as<T>(), Image<T>(output, params.spatial));
    c.bias = b.data();
    c.activation = params.activation;
    c.residual = r.data();
    c.panels = &weight.panels<T>();
    correlate(c);
  });
}

void convolution_backward(const ConvParams& params, const TensorView& incoming,
                          const TensorView& input, const TensorView& weight,
                          const TensorView& saved, const TensorView& grad_input,
                          const TensorView& grad_weight, const TensorView& grad_bias) {
  visit(input.dtype, [&]<class T>() {
    const ConvGeometry& g = params.geometry;
    const bool fused = params.activation != Activation::none;
    const Workspace<T> buffer(fused ? incoming.numel() : 0);
    const TensorView linear_grad(buffer.data(), incoming.dtype, incoming.shape);
    if (fused) activation_backward(params.activation, incoming, saved, linear_grad);
    const TensorView& grad = fused ? linear_grad : incoming;
    const Image<const T> dy(grad, params.spatial), x(input, params.spatial);
    if (is_depthwise(g)) {
      depthwise_backward(params, grad, input, weight, grad_input, grad_weight.as<T>());
    } else {
      if (grad_input.defined) input_gradient(params, dy, weight, grad_input);
      if (grad_weight.defined) {
        const PackedImage<T> maps(params.transposed ? input : grad, params.spatial);
        weight_gradient(g, params.transposed ? dy : x, maps.image(), grad_weight.as<T>());
      }
    }
    if (grad_bias.defined) {
      const std::int64_t height = params.transposed ? g.y.image : g.y.maps;
      const std::int64_t width = params.transposed ? g.x.image : g.x.maps;
      channel_sums(dy, g.batch, params.output_channels(), height, width, grad_bias.as<T>());
    }
  });
}

}  // namespace pyfast
