// One element at a time, in double.
#include <algorithm>
#include <cmath>

#include "core/copy.h"
#include "ops/optimizer/constants.h"

namespace pyfast::reference {

void sgd_step(const SgdParams& params, const OptimizerSlots& slots) {
  for (const OptimizerSlot& slot : slots) {
    const SgdConstants c = constants(params, slot);
    visit(slot.parameter.dtype, [&]<class T>() {
      const Contiguous<T> gradient(slot.gradient);
      T* p = slot.parameter.as<T>();
      T* momentum = slot.state[0].as<T>();
      for (std::int64_t i = 0; i < slot.parameter.numel(); ++i) {
        double update = c.sign * gradient.data()[i] + c.weight_decay * p[i];
        if (slot.state[0].defined) {
          const double v = c.first ? update : c.momentum * momentum[i] + c.keep * update;
          momentum[i] = static_cast<T>(v);
          update = c.nesterov ? update + c.momentum * v : v;
        }
        p[i] = static_cast<T>(p[i] - c.lr * update);
      }
    });
  }
}

void adam_step(const AdamParams& params, const OptimizerSlots& slots) {
  for (const OptimizerSlot& slot : slots) {
    const AdamConstants c = constants(params, slot);
    visit(slot.parameter.dtype, [&]<class T>() {
      const Contiguous<T> gradient(slot.gradient);
      T *p = slot.parameter.as<T>(), *mean = slot.state[0].as<T>();
      T *square = slot.state[1].as<T>(), *largest = slot.state[2].as<T>();
      for (std::int64_t i = 0; i < slot.parameter.numel(); ++i) {
        const double weight = p[i] * c.decay;
        const double g = c.sign * gradient.data()[i] + c.weight_decay * weight;
        const double m = c.beta1 * mean[i] + (1 - c.beta1) * g;
        double v = c.beta2 * square[i] + (1 - c.beta2) * g * g;
        mean[i] = static_cast<T>(m);
        square[i] = static_cast<T>(v);
        if (slot.state[2].defined) {
          v = std::max(v, static_cast<double>(largest[i]));
          largest[i] = static_cast<T>(v);
        }
        p[i] =
            static_cast<T>(weight - c.step_size * m / (std::sqrt(v) / c.root_correction + c.eps));
      }
    });
  }
}

}  // namespace pyfast::reference
