#include <cmath>

#include "core/shape.h"
#include "ops/optimizer/optimizer.h"

namespace pyfast {

namespace {

void require_writable_layout(Where where, const TensorView& x) {
  if (!x.contiguous())
    throw ValueError(
        concat(where, " must be C-contiguous, got strides ", x.strides, " for shape ", x.shape));
}

void check_state(const char* op, const TensorView* state, const TensorView& parameter) {
  if (!state) throw ValueError(concat(op, ": states must be given for every parameter, got None"));
  require_same_dtype({op, "states"}, *state, "params", parameter);
  require_shape({op, "states"}, *state, parameter.shape);
  require_writable_layout({op, "states"}, *state);
}

}  // namespace

void check_learning_rate(const char* op, double lr) {
  if (!(lr >= 0) || !std::isfinite(lr))
    throw ValueError(concat(op, ": lr must be finite and not negative, got ", lr));
}

void check_optimizer_slots(const char* op, const OptimizerSlots& slots,
                           const std::vector<unsigned>& masks) {
  for (const OptimizerSlot& slot : slots) {
    const TensorView &parameter = *slot.parameter, &gradient = *slot.gradient;
    require_floating({op, "params"}, parameter);
    require_writable_layout({op, "params"}, parameter);
    require_same_dtype({op, "grads"}, gradient, "params", parameter);
    require_shape({op, "grads"}, gradient, parameter.shape);
    if (slot.group >= masks.size())
      throw IndexError(concat(op, ": groups must be in [0, ", masks.size(), "), got ", slot.group));
    for (unsigned i = 0; i < 3; ++i)
      if (masks[slot.group] >> i & 1u) check_state(op, slot.state[i], parameter);
    if (!(slot.step >= 1))
      throw ValueError(concat(op, ": steps must be at least 1, got ", slot.step));
  }
}

}  // namespace pyfast
