// Inner loops of the optimizers over n contiguous elements.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyfast {

// Everything that is constant over one tensor, computed once in double. Every rule begins with
// p *= shrink (decoupled weight decay) and g = sign g + coupled p (sign = -1 maximizes).
struct DecayConstants {
  double sign, coupled, shrink;
};
struct SgdConstants {
  DecayConstants decay;
  double lr, momentum, keep;  // keep = 1 - dampening
  bool first, nesterov;
};
struct AdagradConstants {
  DecayConstants decay;
  double lr, eps;
};
struct RmspropConstants {
  DecayConstants decay;
  double lr, alpha, eps, momentum;
};
struct AdadeltaConstants {
  DecayConstants decay;
  double lr, rho, eps;
};
struct AdamConstants {
  DecayConstants decay;
  double beta1, beta2, step_size, root_scale, eps;  // p -= step_size m / (root_scale sqrt(v) + eps)
};
struct AdamaxConstants {
  DecayConstants decay;
  double beta1, beta2, step_size, eps;
};
struct NadamConstants {
  DecayConstants decay;
  double beta1, beta2, from_gradient, from_mean, root_scale, eps;
};
struct RadamConstants {
  DecayConstants decay;
  double beta1, beta2, step_size, eps;
  bool adaptive;  // divide by sqrt(v) + eps
};

template <class T>
struct OptimizerArrays {
  T* parameter;
  const T* gradient;
  T* state[3];  // null where the rule keeps none
};

template <class T>
struct OptimizerKernels {
  using Arrays = OptimizerArrays<T>;
  void (*sgd)(const SgdConstants& c, Arrays a, std::int64_t n);
  void (*adagrad)(const AdagradConstants& c, Arrays a, std::int64_t n);
  void (*rmsprop)(const RmspropConstants& c, Arrays a, std::int64_t n);
  void (*adadelta)(const AdadeltaConstants& c, Arrays a, std::int64_t n);
  void (*adam)(const AdamConstants& c, Arrays a, std::int64_t n);
  void (*adamax)(const AdamaxConstants& c, Arrays a, std::int64_t n);
  void (*nadam)(const NadamConstants& c, Arrays a, std::int64_t n);
  void (*radam)(const RadamConstants& c, Arrays a, std::int64_t n);
};

PYFAST_KERNEL_TABLE(OptimizerKernels, optimizer_kernels)

}  // namespace pyfast
