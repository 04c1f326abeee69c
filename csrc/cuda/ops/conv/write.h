// Which kernels write a convolution's arrays: those of sm_90a where they run and take it, else the
// portable ones.
#pragma once

#include "cuda/core/call.h"
#include "cuda/ops/conv/conv.h"

namespace pyfast::cuda {

// The sum that convolution's forward and transposed convolution's input gradient are.
void write_maps(const Call& call, const ConvParams& params, const TensorView& image,
                const TensorView& weight, const ConvEpilogue& epilogue, const TensorView& maps);
// The one that convolution's input gradient and transposed convolution's forward are.
void write_image(const Call& call, const ConvParams& params, const TensorView& maps,
                 const TensorView& weight, const ConvEpilogue& epilogue, const TensorView& image);
void write_weight(const Call& call, const ConvParams& params, const TensorView& maps,
                  const TensorView& image, const TensorView& grad_weight);

}  // namespace pyfast::cuda
