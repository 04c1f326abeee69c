// Convolution and transposed convolution on the GPU: what csrc/ops/conv/conv.h promises, as
// implicit matrix products. `parts` is workspace for sums over splits of the depth.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/ops/conv/indices.h"

namespace pyfast::cuda {

struct ConvEpilogue {
  TensorView bias;  // of the written array's channels
  Activation activation = Activation::none;
  TensorView linear;  // where defined, in the order of the written array: before the activation
};

void conv_maps(const ConvIndices& indices, const TensorView& image, const TensorView& weight,
               const ConvEpilogue& epilogue, const TensorView& maps, const TensorView& parts,
               cudaStream_t stream);
void conv_image(const ConvIndices& indices, const TensorView& maps, const TensorView& weight,
                const ConvEpilogue& epilogue, const TensorView& image, const TensorView& parts,
                cudaStream_t stream);
void conv_weight(const ConvIndices& indices, const TensorView& maps, const TensorView& image,
                 const TensorView& grad_weight, const TensorView& parts, cudaStream_t stream);
// dz = grad activation'(saved), all of one order
void conv_gate(Activation activation, const TensorView& grad, const TensorView& saved,
               const TensorView& dz, cudaStream_t stream);
// The sum of each channel's pixels; `of_maps`: the channels are the maps, not the image's.
void conv_bias(const ConvIndices& indices, bool of_maps, const TensorView& dz,
               const TensorView& grad_bias, cudaStream_t stream);

}  // namespace pyfast::cuda
