// Fused optimizer steps over many tensors at once, in place.
#pragma once

#include <vector>

#include "core/tensor.h"

namespace pyfast {

// One parameter and its state, all of one shape and dtype. `state` is momentum for SGD,
// (exp_avg, exp_avg_sq[, max_exp_avg_sq]) for Adam.
struct OptimizerSlot {
  TensorView parameter;
  TensorView gradient;
  TensorView state[3];
  double step = 1;  // counted from 1, after this step
};

// v = momentum v + (1 - dampening) g (v = g at the first step); p -= lr (g + momentum v if
// nesterov, else v). Sutskever et al., 2013, in PyTorch's form: lr multiplies the whole update.
struct SgdParams {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
};

// Kingma and Ba, 2015, algorithm 1; `amsgrad` Reddi et al., 2018; `decoupled` weight decay
// Loshchilov and Hutter, 2019.
struct AdamParams {
  double lr, beta1, beta2, eps, weight_decay;
  bool amsgrad, maximize, decoupled;
};

using OptimizerSlots = std::vector<OptimizerSlot>;

// Every slot is checked before any array is touched: shapes and dtypes agree, arrays that are
// written are C-contiguous, and the first `states` states are there.
void check_optimizer_slots(const char* op, const OptimizerSlots& slots, int states);

// Write parameter and state of every slot; gradients may have any strides.
void sgd_step(const SgdParams& params, const OptimizerSlots& slots);
void adam_step(const AdamParams& params, const OptimizerSlots& slots);

namespace reference {
void sgd_step(const SgdParams& params, const OptimizerSlots& slots);
void adam_step(const AdamParams& params, const OptimizerSlots& slots);
}  // namespace reference

}  // namespace pyfast
