// The kernels of sm_90a, and sums of pixels, on the CPU, for host.cpp; a file of their own, because
// they take long to compile.
#pragma once

#include <optional>

#include "cuda/ops/conv/weight_plan_sm90a.h"

namespace pyfast::cuda {

// On so many blocks of threads, in the best tiles for that or those named; ValueError where the
// portable kernel would run.
void emulate_maps_sm90a(const ConvIndices& n, const TensorView& image, const TensorView& weight,
                        const ConvEpilogue& epilogue, const TensorView& maps, int blocks,
                        std::optional<ConvTile> tile);
void emulate_image_sm90a(const ConvIndices& n, const TensorView& maps, const TensorView& weight,
                         const ConvEpilogue& epilogue, const TensorView& image, int blocks,
                         std::optional<ConvTile> tile);
void emulate_weight_sm90a(const ConvIndices& n, const TensorView& maps, const TensorView& image,
                          const TensorView& grad_weight, int blocks,
                          std::optional<WeightTile> tile);
// The portable kernel of the maps' bias.
void emulate_bias(const ConvIndices& n, const TensorView& maps, const TensorView& grad_bias);

}  // namespace pyfast::cuda
