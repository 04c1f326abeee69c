#include "cuda/core/launch.cuh"
#include "cuda/ops/conv/conv_sm90a.h"
#include "cuda/ops/conv/correlate_sm90a.cuh"

namespace pyfast::cuda {

void conv_maps_sm90a(const DeviceCorrelations& parts, const ConvEpilogue& epilogue,
                     const TensorView& maps, cudaStream_t stream) {
  correlate_sm90a_into<false>(parts, epilogue, maps, Launch{stream});
}

}  // namespace pyfast::cuda
