// The constants of one tensor's step, shared by the fast path and the reference.
#pragma once

#include <cmath>

#include "ops/optimizer/kernel.h"
#include "ops/optimizer/optimizer.h"

namespace pyfast {

// PyTorch's rules add the decay to the gradient, unless decoupled.
template <class Params>
DecayConstants decay_constants(const Params& p, bool decoupled = false) {
  return {p.maximize ? -1.0 : 1.0, decoupled ? 0.0 : p.weight_decay,
          decoupled ? 1 - p.lr * p.weight_decay : 1.0};
}

inline SgdConstants constants(const SgdParams& p, const OptimizerSlot& slot) {
  return {decay_constants(p), p.lr, p.momentum, 1 - p.dampening, slot.step <= 1, p.nesterov};
}

inline AdagradConstants constants(const AdagradParams& p, const OptimizerSlot& slot) {
  return {decay_constants(p), p.lr / (1 + (slot.step - 1) * p.lr_decay), p.eps};
}

inline RmspropConstants constants(const RmspropParams& p, const OptimizerSlot&) {
  return {decay_constants(p), p.lr, p.alpha, p.eps, p.momentum};
}

inline AdadeltaConstants constants(const AdadeltaParams& p, const OptimizerSlot&) {
  return {decay_constants(p), p.lr, p.rho, p.eps};
}

inline AdamConstants constants(const AdamParams& p, const OptimizerSlot& slot) {
  return {decay_constants(p, p.decoupled),
          p.beta1,
          p.beta2,
          p.lr / (1 - std::pow(p.beta1, slot.step)),
          1 / std::sqrt(1 - std::pow(p.beta2, slot.step)),
          p.eps};
}

inline AdamaxConstants constants(const AdamaxParams& p, const OptimizerSlot& slot) {
  return {decay_constants(p), p.beta1, p.beta2, p.lr / (1 - std::pow(p.beta1, slot.step)), p.eps};
}

inline NadamConstants constants(const NadamParams& p, const OptimizerSlot& slot) {
  const auto mu = [&](double t) {
    return p.beta1 * (1 - 0.5 * std::pow(0.96, t * p.momentum_decay));
  };
  const double next = mu(slot.step + 1);
  return {decay_constants(p, p.decoupled),
          p.beta1,
          p.beta2,
          p.lr * (1 - mu(slot.step)) / (1 - slot.mu_product),
          p.lr * next / (1 - slot.mu_product * next),
          1 / std::sqrt(1 - std::pow(p.beta2, slot.step)),
          p.eps};
}

inline RadamConstants constants(const RadamParams& p, const OptimizerSlot& slot) {
  const double power = std::pow(p.beta2, slot.step), left = 1 - power;
  const double longest = 2 / (1 - p.beta2) - 1;  // the paper's rho
  const double length = longest - 2 * slot.step * power / left;
  const bool adaptive = length > 5;
  const double rectifier =
      (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length);
  const double step_size = p.lr / (1 - std::pow(p.beta1, slot.step));
  return {decay_constants(p, p.decoupled),
          p.beta1,
          p.beta2,
          adaptive ? step_size * std::sqrt(rectifier * left) : step_size,
          p.eps,
          adaptive};
}

}  // namespace pyfast
