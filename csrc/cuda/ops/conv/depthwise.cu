#include "cuda/ops/conv/depthwise.cuh"

namespace pyfast::cuda {

void conv_depthwise(const Depthwise& shape, bool of_image, const TensorView& read,
                    const TensorView& weight, const ConvEpilogue& epilogue,
                    const TensorView& written, cudaStream_t stream) {
  depthwise_into(shape, of_image, read, weight, epilogue, written, Launch{stream});
}

void conv_depthwise_weight(const Depthwise& shape, const WeightCopy& to, const TensorView& maps,
                           const TensorView& image, const TensorView& parts,
                           const TensorView& grad_weight, cudaStream_t stream) {
  depthwise_weight_into(shape, to, maps, image, parts, grad_weight, Launch{stream});
}

}  // namespace pyfast::cuda
