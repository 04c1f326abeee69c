#include "ops/pad/pad.h"

namespace pyfast {

namespace {

PadMode to_mode(const char* op, std::string_view mode) {
  if (mode == "constant") return PadMode::constant;
  if (mode == "reflect") return PadMode::reflect;
  if (mode == "replicate") return PadMode::replicate;
  if (mode == "circular") return PadMode::circular;
  throw ValueError(concat(
      op, ": mode must be 'constant', 'reflect', 'replicate' or 'circular', got '", mode, "'"));
}

void require_length(const char* op, const Dims& shape, const Dims& pad, PadMode mode) {
  if (pad.rank() % 2 != 0)
    throw ValueError(concat(op, ": pad must have an even number of entries, got ", pad));
  const int padded = pad.rank() / 2;
  if (padded > shape.rank())
    throw ValueError(concat(op,
                            ": pad must have at most two entries per axis of an input of shape ",
                            shape, ", got ", pad));
  const bool spatial =
      padded >= 1 && padded <= 3 && (shape.rank() == padded + 1 || shape.rank() == padded + 2);
  if (mode != PadMode::constant && !spatial)
    throw ValueError(concat(op, ": pad must cover the last 1, 2 or 3 axes and leave one or two of ",
                            "an input of shape ", shape, " in this mode, got ", pad));
}

[[noreturn]] void fail(const char* op, const char* what, const PadAxis& axis) {
  throw ValueError(concat(op, ": pad ", what, ", got (", axis.before, ", ", axis.after,
                          ") for an axis of size ", axis.in));
}

void require_axis(const char* op, const PadAxis& axis, PadMode mode) {
  const std::int64_t widest = axis.before > axis.after ? axis.before : axis.after;
  checked_add(op, checked_add(op, axis.in, axis.before), axis.after);
  if (checked_add(op, axis.in, axis.before) < 0 || axis.in + axis.after < 0 || axis.kept() < 0)
    fail(op, "must not crop more than there is", axis);
  if (mode == PadMode::constant || (axis.before == 0 && axis.after == 0)) return;
  if (axis.kept() == 0) fail(op, "must leave an element to repeat", axis);
  if (mode == PadMode::reflect && widest >= axis.in)
    fail(op, "must be smaller than the axis in mode 'reflect'", axis);
  if (mode == PadMode::circular && widest > axis.kept())
    fail(op, "must not wrap around more than once in mode 'circular'", axis);
}

}  // namespace

PadParams check_pad(const char* op, const Dims& shape, const Dims& pad, std::string_view mode,
                    double value) {
  PadParams params{to_mode(op, mode), value, shape, shape, shape, shape};
  checked_numel(op, shape);
  require_length(op, shape, pad, params.mode);
  if (params.mode != PadMode::constant && params.value != 0)
    throw ValueError(concat(op, ": value is for mode 'constant' only, got ", params.value));
  for (int i = 0; i < shape.rank(); ++i) {
    const int from_last = 2 * (shape.rank() - 1 - i);
    params.before[i] = from_last < pad.rank() ? pad[from_last] : 0;
    params.after[i] = from_last < pad.rank() ? pad[from_last + 1] : 0;
    require_axis(op, params.axis(i), params.mode);
    params.output_shape[i] = params.axis(i).out();
  }
  checked_numel(op, params.output_shape);
  return params;
}

void check_pad_backward(const char* op, const PadParams& params, const TensorView& grad) {
  require_floating({op, "grad"}, grad);
  require_shape({op, "grad"}, grad, params.output_shape);
}

}  // namespace pyfast
