// Convolution by the kernels of sm_90a; what plan_sm90a.h takes.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/ops/conv/weight_plan_sm90a.h"

namespace pyfast::cuda {

using DeviceCorrelations = HopperCorrelations<CUtensorMap, CUtensorMap>;

void conv_maps_sm90a(const DeviceCorrelations& parts, const ConvEpilogue& epilogue,
                     const TensorView& maps, cudaStream_t stream);
void conv_image_sm90a(const DeviceCorrelations& parts, const ConvEpilogue& epilogue,
                      const TensorView& image, cudaStream_t stream);
// `parts`: room for how.sum.splits times how.sum.size() in float32; `to`: where those belong.
void conv_weight_sm90a(const HopperWeightGradient<CUtensorMap>& how, const WeightCopy& to,
                       const TensorView& parts, const TensorView& grad_weight, cudaStream_t stream);

}  // namespace pyfast::cuda
