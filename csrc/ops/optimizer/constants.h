// The per-tensor constants, shared by the fast path and the reference.
#pragma once

#include <cmath>

#include "ops/optimizer/kernel.h"
#include "ops/optimizer/optimizer.h"

namespace pyfast {

inline SgdConstants constants(const SgdParams& s, const OptimizerSlot& slot) {
  return {s.lr,           s.momentum, 1 - s.dampening, s.weight_decay, s.maximize ? -1.0 : 1.0,
          slot.step <= 1, s.nesterov};
}

inline AdamConstants constants(const AdamParams& a, const OptimizerSlot& slot) {
  return {a.decoupled ? 1 - a.lr * a.weight_decay : 1.0,
          a.decoupled ? 0.0 : a.weight_decay,
          a.maximize ? -1.0 : 1.0,
          a.beta1,
          a.beta2,
          a.lr / (1 - std::pow(a.beta1, slot.step)),
          std::sqrt(1 - std::pow(a.beta2, slot.step)),
          a.eps};
}

}  // namespace pyfast
