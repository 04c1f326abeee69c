// Dropout in all its forms: elementwise, whole channels, and the self-normalising variant.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace pyfast {

// Element i is dropped when word i / span of the Philox stream (seed, offset) falls below p.
// Kept elements become scale * x + shift, dropped ones `fill`; the mask is never stored.
struct DropoutParams {
  double p;
  std::uint64_t seed, offset;
  std::int64_t span;  // neighbours that share a draw: 1, or the pixels of a channel
  double scale, shift, fill;
};

DropoutParams check_dropout(const char* op, const TensorView& input, double p, std::int64_t span,
                            bool alpha);

void dropout_forward(const DropoutParams& params, const TensorView& input,
                     const TensorView& output);
// grad_input = scale * grad where forward kept, 0 elsewhere. Writes grad_input.
void dropout_backward(const DropoutParams& params, const TensorView& grad,
                      const TensorView& grad_input);

namespace reference {
void dropout_forward(const DropoutParams& params, const TensorView& input,
                     const TensorView& output);
void dropout_backward(const DropoutParams& params, const TensorView& grad,
                      const TensorView& grad_input);
}  // namespace reference

}  // namespace pyfast
