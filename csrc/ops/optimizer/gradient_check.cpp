#include <cmath>

#include "core/shape.h"
#include "ops/optimizer/gradient.h"

namespace pyfast {

void check_norm_type(const char* op, double norm_type) {
  if (norm_type != 1 && norm_type != 2 && !(std::isinf(norm_type) && norm_type > 0))
    throw ValueError(concat(op, ": norm_type must be 1, 2 or infinity, got ", norm_type));
}

void check_written_gradients(const char* op, const std::vector<TensorView>& gradients) {
  for (const TensorView& g : gradients) {
    require_floating({op, "grads"}, g);
    if (!g.contiguous())
      throw ValueError(concat(op, ": grads must be C-contiguous, got strides ", g.strides,
                              " for shape ", g.shape));
  }
}

}  // namespace pyfast
