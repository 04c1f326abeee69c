#include "cuda/ops/conv/correlate.cuh"
#include "cuda/ops/conv/stage.cuh"

namespace pyfast::cuda {

void conv_correlate(const std::vector<TileCorrelation>& parts, const TensorView& read,
                    const TensorView& weight, const ConvEpilogue& epilogue,
                    const TensorView& written, cudaStream_t stream) {
  correlate_into(parts, read, weight, epilogue, written, Launch{stream});
}

void conv_pack_pixels(const PixelCopy& how, const TensorView& array, const TensorView& copy,
                      cudaStream_t stream) {
  pack_pixels_into(how, array, copy, Launch{stream});
}

void conv_unpack_pixels(const PixelCopy& how, const TensorView& copy, const TensorView& array,
                        cudaStream_t stream) {
  unpack_pixels_into(how, copy, array, Launch{stream});
}

void conv_pack_weight(const WeightCopy& how, const TensorView& weight, const TensorView& copy,
                      cudaStream_t stream) {
  pack_weight_into(how, weight, copy, Launch{stream});
}

}  // namespace pyfast::cuda
