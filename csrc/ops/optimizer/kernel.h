// Inner loops of the optimizers over n contiguous elements.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyfast {

// Everything that is constant over one tensor, computed once in double.
struct SgdConstants {
  double lr, momentum, keep, weight_decay, sign;  // keep = 1 - dampening; sign = -1 maximizes
  bool first, nesterov;
};
struct AdamConstants {
  double decay;         // p *= decay (decoupled)
  double weight_decay;  // g += weight_decay p (coupled)
  double sign, beta1, beta2, step_size, root_correction, eps;
};

template <class T>
struct OptimizerKernels {
  // momentum may be null
  void (*sgd)(const SgdConstants& c, T* p, const T* g, T* momentum, std::int64_t n);
  // largest (AMSGrad) may be null
  void (*adam)(const AdamConstants& c, T* p, const T* g, T* mean, T* square, T* largest,
               std::int64_t n);
};

PYFAST_KERNEL_TABLE(OptimizerKernels, optimizer_kernels)

}  // namespace pyfast
