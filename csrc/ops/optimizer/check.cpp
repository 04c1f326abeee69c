#include "core/shape.h"
#include "ops/optimizer/optimizer.h"

namespace pyfast {

namespace {

void require_writable_layout(Where where, const TensorView& x) {
  if (!x.contiguous())
    throw ValueError(
        concat(where, " must be C-contiguous, got strides ", x.strides, " for shape ", x.shape));
}

}  // namespace

void check_optimizer_slots(const char* op, const OptimizerSlots& slots, int states) {
  for (const OptimizerSlot& slot : slots) {
    require_floating({op, "params"}, slot.parameter);
    require_writable_layout({op, "params"}, slot.parameter);
    require_same_dtype({op, "grads"}, slot.gradient, "params", slot.parameter);
    require_shape({op, "grads"}, slot.gradient, slot.parameter.shape);
    for (int i = 0; i < 3; ++i) {
      if (!slot.state[i].defined && i < states)
        throw ValueError(concat(op, ": state must be given for every parameter"));
      if (!slot.state[i].defined) continue;
      require_same_dtype({op, "state"}, slot.state[i], "params", slot.parameter);
      require_shape({op, "state"}, slot.state[i], slot.parameter.shape);
      require_writable_layout({op, "state"}, slot.state[i]);
    }
    if (!(slot.step >= 1))
      throw ValueError(concat(op, ": step must be at least 1, got ", slot.step));
  }
}

}  // namespace pyfast
