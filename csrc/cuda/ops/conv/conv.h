// Convolution and transposed convolution on the GPU: what csrc/ops/conv/conv.h promises, as
// implicit matrix products. `parts` is workspace for sums over splits of the depth.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/ops/conv/correlate.h"
#include "cuda/ops/conv/pixel_sum.h"
#include "cuda/ops/conv/stage.h"

namespace pyfast::cuda {

// activation(scale sum + bias + residual), in float32; what is not defined is left out.
struct ConvEpilogue {
  TensorView bias;  // of the written array's channels; so is scale
  Activation activation = Activation::none;
  TensorView linear;  // in the order of the written array: before the activation
  TensorView scale;
  TensorView residual;  // of the written array's shape and strides

  // Of so many columns, those that bias and scale are for: a copy may have more (stage.h).
  int terms(int columns) const {
    if (bias.defined) return static_cast<int>(bias.numel());
    return scale.defined ? static_cast<int>(scale.numel()) : columns;
  }
};

void conv_maps(const ConvIndices& indices, const TensorView& image, const TensorView& weight,
               const ConvEpilogue& epilogue, const TensorView& maps, const TensorView& parts,
               cudaStream_t stream);
void conv_image(const ConvIndices& indices, const TensorView& maps, const TensorView& weight,
                const ConvEpilogue& epilogue, const TensorView& image, const TensorView& parts,
                cudaStream_t stream);
void conv_weight(const ConvIndices& indices, const TensorView& maps, const TensorView& image,
                 const TensorView& grad_weight, const TensorView& parts, cudaStream_t stream);
// The same by larger tiles, of operands as correlate.h wants them; `epilogue` is for the array that
// is written.
void conv_correlate(const std::vector<TileCorrelation>& parts, const TensorView& read,
                    const TensorView& weight, const ConvEpilogue& epilogue,
                    const TensorView& written, cudaStream_t stream);
// See stage.h: an array, or a weight, to its copy; and a copy to its array.
void conv_pack_pixels(const PixelCopy& how, const TensorView& array, const TensorView& copy,
                      cudaStream_t stream);
void conv_unpack_pixels(const PixelCopy& how, const TensorView& copy, const TensorView& array,
                        cudaStream_t stream);
void conv_pack_weight(const WeightCopy& how, const TensorView& weight, const TensorView& copy,
                      cudaStream_t stream);
// output = activation(linear), both of one order
void conv_activate(Activation activation, const TensorView& linear, const TensorView& output,
                   cudaStream_t stream);
// dz = grad activation'(saved), all of one order
void conv_gate(Activation activation, const TensorView& grad, const TensorView& saved,
               const TensorView& dz, cudaStream_t stream);
// `parts`: room for sum.chunks times sum.channels floats.
void conv_bias(const PixelSum& sum, const TensorView& dz, const TensorView& grad_bias,
               const TensorView& parts, cudaStream_t stream);

}  // namespace pyfast::cuda
