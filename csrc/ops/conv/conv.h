// conv1d, conv2d, conv_transpose1d and conv_transpose2d, forward and backward.
//
// All four are one correlation between an image (N, C, H, W) and its maps (N, M, OH, OW):
//
//   maps[n, m, y, x] = sum over c, ky, kx of
//       image[n, c, y stride + ky dilation - padding, x stride + ...] weight[m, c, ky, kx]
//
// with c running over the channels of m's group. A convolution reads the image and writes the maps;
// a transposed one reads the maps and writes the image. One-dimensional ops have height 1.
#pragma once

#include <string>

#include "core/activation.h"
#include "core/tensor.h"
#include "ops/conv/packed.h"

namespace pyfast {

struct ConvAxis {
  std::int64_t image, maps;  // extents
  std::int64_t kernel, stride, dilation;
  std::int64_t padding;  // zeros before the image; those behind it follow from `maps`

  // Kernels multiply steps by strides in memory: one that leads out of the padded image at once
  // (which then has a single map, or a single tap) may be any other that does.
  void shorten_steps(std::int64_t padded) {
    if (stride > padded) stride = padded;
    if (kernel == 1) dilation = 1;
  }
};

// Positions in a padded image must stay far from the end of int64, whatever they are multiplied by.
inline constexpr std::int64_t kLongestAxis = std::int64_t{1} << 40;

struct ConvGeometry {
  std::int64_t batch, groups;
  std::int64_t channels, maps;  // of one group
  ConvAxis y, x;

  std::int64_t taps() const { return y.kernel * x.kernel; }
  std::int64_t pixels() const { return y.maps * x.maps; }  // of one map
};

// What the caller asks for, not yet validated.
struct ConvOptions {
  const char* op;
  int spatial;  // 1 or 2
  bool transposed;
  Dims stride, dilation, padding;
  std::string padding_mode;  // "same", "valid"; empty: the numbers in `padding`
  Dims output_padding;
  std::int64_t groups;
  Activation activation = Activation::none;
};

struct ConvParams {
  bool transposed;
  int spatial;
  ConvGeometry geometry;
  Activation activation;
  Dims output_shape;
  std::int64_t output_channels() const {
    return geometry.groups * (transposed ? geometry.channels : geometry.maps);
  }
};

// Validates forward's operands; bias may be undefined.
ConvParams check_convolution(const ConvOptions& options, const TensorView& input,
                             const TensorView& weight, const TensorView& bias);
// Validates backward's: grad and, with an activation, saved have forward's output's shape and
// dtype.
ConvParams check_convolution_backward(const ConvOptions& options, const TensorView& grad,
                                      const TensorView& input, const TensorView& weight,
                                      const TensorView& saved);

// linear = conv(input, weight) + bias, output = activation(linear). Writes output, and linear when
// it is defined.
void convolution_forward(const ConvParams& params, const TensorView& input,
                         const TensorView& weight, const TensorView& bias, const TensorView& output,
                         const TensorView& linear);
void check_packed_weight(const TensorView& weight, std::int64_t groups);
// output = activation(conv(input, weight) + bias + residual), forward's bits. bias may be
// undefined, and so may residual, which has output's shape and dtype.
ConvParams check_convolution_packed(const ConvOptions& options, const TensorView& input,
                                    const PackedConvWeight& weight, const TensorView& bias,
                                    const TensorView& residual);
void convolution_packed(const ConvParams& params, const TensorView& input,
                        const PackedConvWeight& weight, const TensorView& bias,
                        const TensorView& residual, const TensorView& output);

// Writes the gradients that are defined. `saved` is what activation_backward wants: linear or
// output; not looked at without an activation.
void convolution_backward(const ConvParams& params, const TensorView& grad, const TensorView& input,
                          const TensorView& weight, const TensorView& saved,
                          const TensorView& grad_input, const TensorView& grad_weight,
                          const TensorView& grad_bias);

namespace reference {
void convolution_packed(const ConvParams& params, const TensorView& input,
                        const PackedConvWeight& weight, const TensorView& bias,
                        const TensorView& residual, const TensorView& output);
void convolution_forward(const ConvParams& params, const TensorView& input,
                         const TensorView& weight, const TensorView& bias, const TensorView& output,
                         const TensorView& linear);
void convolution_backward(const ConvParams& params, const TensorView& grad, const TensorView& input,
                          const TensorView& weight, const TensorView& saved,
                          const TensorView& grad_input, const TensorView& grad_weight,
                          const TensorView& grad_bias);
}  // namespace reference

}  // namespace pyfast
