#include "cuda/core/launch.cuh"
#include "cuda/ops/conv/conv_sm90a.h"
#include "cuda/ops/conv/correlate_sm90a.cuh"

namespace pyfast::cuda {

void conv_image_sm90a(const DeviceCorrelations& parts, const ConvEpilogue& epilogue,
                      const TensorView& image, cudaStream_t stream) {
  correlate_sm90a_into<true>(parts, epilogue, image, Launch{stream});
}

}  // namespace pyfast::cuda
