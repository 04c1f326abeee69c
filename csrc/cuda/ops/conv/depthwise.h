// Depthwise convolution: as many groups as channels, one map each. It does 18 operations on a 3 x 3
// kernel's element of 16 bits read and one written: memory bounds it, and multiply-adds are enough.
// Arrays have their channels side by side, by eights (stage.h copies others); weights are copied as
// (tap, channel).
#pragma once

#include "cuda/ops/conv/stage.h"

namespace pyfast::cuda {

struct Depthwise {
  ConvAxis y, x;
  std::int64_t batch = 0, channels = 0;  // of the copies, if there are any
  ConvStrides image, maps;

  PYFAST_HOST_DEVICE std::int64_t taps() const { return y.kernel * x.kernel; }
  std::int64_t map_pixels() const { return batch * y.maps * x.maps; }
  std::int64_t image_pixels() const { return batch * y.image * x.image; }
  // Of the sum over the maps' pixels behind the weight's gradient: by shape alone.
  std::int64_t chunks() const;
  std::int64_t chunk() const { return (map_pixels() + chunks() - 1) / chunks(); }
};

// What is copied, and what kernels are told.
struct DepthwiseStage {
  ConvStage stage;
  WeightCopy weight;
  Depthwise shape;

  // `n` must be one that is_depthwise() takes.
  DepthwiseStage(const ConvIndices& n, const TensorView& image, const TensorView& w,
                 const TensorView& maps);
};

bool is_depthwise(const ConvIndices& n);

}  // namespace pyfast::cuda
