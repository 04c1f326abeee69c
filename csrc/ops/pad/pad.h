// Padding (and, with negative amounts, cropping) any axes of an array.
#pragma once

#include <string_view>

#include "core/shape.h"
#include "core/tensor.h"

namespace pyfast {

enum class PadMode : std::uint8_t { constant, reflect, replicate, circular };

// Amounts before and after, and the input's size, along one axis.
struct PadAxis {
  std::int64_t in, before, after;
  std::int64_t out() const { return in + before + after; }
  // The part of the input that is kept: [kept_begin, kept_begin + kept), and where it goes.
  std::int64_t kept_begin() const { return before < 0 ? -before : 0; }
  std::int64_t kept() const { return in + (before < 0 ? before : 0) + (after < 0 ? after : 0); }
  std::int64_t kept_at() const { return before > 0 ? before : 0; }
};

struct PadParams {
  PadMode mode;
  double value;
  Dims input_shape, output_shape;
  Dims before, after;  // one entry per axis
  PadAxis axis(int i) const { return {input_shape[i], before[i], after[i]}; }
};

// pad: (before, after) of the last axis, then of the one before it, ... as in PyTorch.
// Checks everything about the call but the input's dtype.
PadParams check_pad(const char* op, const Dims& shape, const Dims& pad, std::string_view mode,
                    double value);
void check_pad_backward(const char* op, const PadParams& params, const TensorView& grad);

// output = input surrounded by what `mode` says. Writes output.
void pad_forward(const PadParams& params, const TensorView& input, const TensorView& output);
// grad_input = sum of grad over the places an element was copied to. Writes grad_input.
void pad_backward(const PadParams& params, const TensorView& grad, const TensorView& grad_input);

namespace reference {
void pad_forward(const PadParams& params, const TensorView& input, const TensorView& output);
void pad_backward(const PadParams& params, const TensorView& grad, const TensorView& grad_input);
}  // namespace reference

}  // namespace pyfast
