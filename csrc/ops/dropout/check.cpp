#include <cmath>

#include "core/shape.h"
#include "ops/dropout/dropout.h"

namespace pyfast {

DropoutParams check_dropout(const char* op, const TensorView& input, double p, std::int64_t span,
                            bool alpha) {
  require_floating({op, "input"}, input);
  if (!(p >= 0 && p <= 1)) throw ValueError(concat(op, ": p must be in [0, 1], got ", p));
  if (span < 1 || (input.numel() != 0 && input.numel() % span != 0))
    throw ValueError(
        concat(op, ": span must divide the input's ", input.numel(), " elements, got ", span));
  DropoutParams params{p, 0, 0, span, p < 1 ? 1 / (1 - p) : 0.0, 0.0, 0.0};
  if (alpha && p > 0 && p < 1) {
    // Klambauer et al., 2017, section "New dropout technique": dropped units take the value
    // -lambda alpha, and an affine map restores zero mean and unit variance.
    const double dropped = -1.7580993408473766;
    const double a = 1 / std::sqrt((1 - p) * (1 + p * dropped * dropped));
    params.scale = a;
    params.shift = -a * p * dropped;
    params.fill = a * dropped + params.shift;
  }
  return params;
}

}  // namespace pyfast
