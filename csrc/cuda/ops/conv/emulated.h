// Convolution's kernels on the CPU, for host.cpp; a file of their own, because they take long to
// compile. Arrays are copied first where write.cpp would.
#pragma once

#include <optional>

#include "cuda/ops/conv/weight_plan_sm90a.h"

namespace pyfast::cuda {

// The maps, or the image, from the other. Those of sm_90a run on so many blocks of threads, in the
// best tiles for that or those named; ValueError where portable kernels would run.
struct EmulatedConv {
  bool of_image = false;
  int blocks = 1;
  std::optional<ConvTile> tile;
};
void emulate_sm90a(const ConvIndices& n, const EmulatedConv& how, const TensorView& read,
                   const TensorView& weight, const ConvEpilogue& epilogue,
                   const TensorView& written);
void emulate_weight_sm90a(const ConvIndices& n, const TensorView& maps, const TensorView& image,
                          const TensorView& grad_weight, int blocks,
                          std::optional<WeightTile> tile);
// By portable tiles.
void emulate_tiles(const ConvIndices& n, bool of_image, const TensorView& read,
                   const TensorView& weight, const ConvEpilogue& epilogue,
                   const TensorView& written);
// The portable kernel of the maps' bias.
void emulate_bias(const ConvIndices& n, const TensorView& maps, const TensorView& grad_bias);

}  // namespace pyfast::cuda
