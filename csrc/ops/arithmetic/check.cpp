#include <string>

#include "ops/arithmetic/arithmetic.h"

namespace pyfast {

namespace {

Binary binary_from(std::string_view name) {
  if (name == "add") return Binary::add;
  if (name == "subtract") return Binary::subtract;
  if (name == "multiply") return Binary::multiply;
  if (name == "divide") return Binary::divide;
  throw ValueError(concat("binary: operation must be add, subtract, multiply or divide, got ",
                          std::string(name)));
}

// The length of axis i of the result, counted from the last; axes that are missing have length 1.
std::int64_t axis_from_end(const Dims& shape, int i) {
  return i < shape.rank() ? shape[shape.rank() - 1 - i] : 1;
}

}  // namespace

Elementary elementary_from(std::string_view name) {
  if (name == "negative") return Elementary::negative;
  if (name == "absolute") return Elementary::absolute;
  if (name == "exp") return Elementary::exp;
  if (name == "expm1") return Elementary::expm1;
  if (name == "log") return Elementary::log;
  if (name == "log1p") return Elementary::log1p;
  if (name == "sqrt") return Elementary::sqrt;
  throw ValueError(
      concat("elementary: function must be negative, absolute, exp, expm1, log, log1p ",
             "or sqrt, got ", std::string(name)));
}

BinaryParams check_binary(std::string_view operation, const TensorView& a, const TensorView& b) {
  BinaryParams params{binary_from(operation), {}};
  const std::string op(operation);
  if (a.dtype != b.dtype)
    throw TypeError(concat(op, ": operands must have one dtype, got ", std::string(name(a.dtype)),
                           " and ", std::string(name(b.dtype))));
  const int rank = a.rank() > b.rank() ? a.rank() : b.rank();
  for (int i = rank - 1; i >= 0; --i) {
    const std::int64_t m = axis_from_end(a.shape, i), n = axis_from_end(b.shape, i);
    if (m != n && m != 1 && n != 1)
      throw ValueError(
          concat(op, ": operands of shapes ", a.shape, " and ", b.shape, " do not broadcast"));
    params.shape.push_back(m == 1 ? n : m);
  }
  checked_numel(op.c_str(), params.shape);
  return params;
}

TensorView stretched(const TensorView& view, const Dims& shape) {
  Dims strides;
  const int added = shape.rank() - view.rank();
  for (int i = 0; i < shape.rank(); ++i)
    strides.push_back(i < added || view.shape[i - added] != shape[i] ? 0 : view.strides[i - added]);
  return {view.data, view.dtype, shape, strides};
}

}  // namespace pyfast
