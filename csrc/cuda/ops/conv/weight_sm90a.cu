#include "cuda/ops/conv/conv_sm90a.h"
#include "cuda/ops/conv/weight_sm90a.cuh"

namespace pyfast::cuda {

void conv_weight_sm90a(const HopperWeightGradient<CUtensorMap>& how, const WeightCopy& to,
                       const TensorView& parts, const TensorView& grad_weight,
                       cudaStream_t stream) {
  weight_sm90a_into(how, to, parts, grad_weight, Launch{stream});
}

}  // namespace pyfast::cuda
