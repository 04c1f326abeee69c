// Fused optimizer steps over many tensors at once, in place.
//
// A rule is four pieces of the same name: its settings here, the constants of one tensor
// (constants.h), its arithmetic on vec<T> (kernel.cpp) and on double (reference.cpp). One call
// steps all groups: `groups[slot.group]` are a slot's settings.
#pragma once

#include <vector>

#include "core/tensor.h"

namespace pyfast {

// One parameter and its state, all of one shape and dtype: views that somebody else keeps, null
// where there is none. Which arrays a rule keeps is said by its settings' `states()`: bit i is set
// where state[i] must be there.
struct OptimizerSlot {
  const TensorView* parameter = nullptr;
  const TensorView* gradient = nullptr;
  const TensorView* state[3] = {};
  std::size_t group = 0;
  double step = 1;        // counted from 1, after this step
  double mu_product = 1;  // NAdam: of all momentum coefficients up to this step
};
using OptimizerSlots = std::vector<OptimizerSlot>;

// v = momentum v + (1 - dampening) g (v = g at the first step); p -= lr (g + momentum v if
// nesterov, else v). Sutskever et al., 2013, in PyTorch's form: lr multiplies the whole update.
struct SgdParams {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
  unsigned states() const { return momentum != 0 ? 1u : 0u; }  // momentum_buffer
};

// Duchi, Hazan and Singer, 2011: s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).
struct AdagradParams {
  double lr, lr_decay, weight_decay, eps;
  bool maximize;
  unsigned states() const { return 1; }  // sum
};

// Hinton, 2012, lecture 6e: v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + eps). `centered`
// takes the mean's square away from v (Graves, 2013); with momentum the quotient is accumulated.
struct RmspropParams {
  double lr, alpha, eps, weight_decay, momentum;
  bool centered, maximize;
  unsigned states() const {  // square_avg, grad_avg, momentum_buffer
    return 1u | (centered ? 2u : 0u) | (momentum > 0 ? 4u : 0u);
  }
};

// Zeiler, 2012, algorithm 1: steps in units of the parameter.
struct AdadeltaParams {
  double lr, rho, eps, weight_decay;
  bool maximize;
  unsigned states() const { return 3; }  // square_avg, acc_delta
};

// Kingma and Ba, 2015, algorithm 1; `amsgrad` Reddi et al., 2018; `decoupled` weight decay
// Loshchilov and Hutter, 2019.
struct AdamParams {
  double lr, beta1, beta2, eps, weight_decay;
  bool amsgrad, maximize, decoupled;
  unsigned states() const { return amsgrad ? 7 : 3; }  // exp_avg, exp_avg_sq, max_exp_avg_sq
};

// Kingma and Ba, 2015, algorithm 2: the infinity norm in place of the second moment.
struct AdamaxParams {
  double lr, beta1, beta2, eps, weight_decay;
  bool maximize;
  unsigned states() const { return 3; }  // exp_avg, exp_inf
};

// Dozat, 2016: Adam with Nesterov's momentum, whose coefficient grows by momentum_decay.
struct NadamParams {
  double lr, beta1, beta2, eps, weight_decay, momentum_decay;
  bool maximize, decoupled;
  unsigned states() const { return 3; }  // exp_avg, exp_avg_sq
};

// Liu et al., 2020: Adam's scale is rectified by its variance, and left out while that is unknown.
struct RadamParams {
  double lr, beta1, beta2, eps, weight_decay;
  bool maximize, decoupled;
  unsigned states() const { return 3; }  // exp_avg, exp_avg_sq
};

// Schedules may set a rate of zero; a negative one would climb.
void check_learning_rate(const char* op, double lr);

// Every slot is checked before any array is touched: shapes and dtypes agree, arrays that are
// written are C-contiguous, and the states of `masks[slot.group]` are there.
void check_optimizer_slots(const char* op, const OptimizerSlots& slots,
                           const std::vector<unsigned>& masks);

// Write parameter and state of every slot; gradients may have any strides.
template <class Params>
void optimizer_step(const std::vector<Params>& groups, const OptimizerSlots& slots);

namespace reference {
template <class Params>
void optimizer_step(const std::vector<Params>& groups, const OptimizerSlots& slots);
}  // namespace reference

}  // namespace pyfast
