#include "core/shape.h"
#include "ops/matmul/matmul.h"

namespace pyfast {

namespace {

[[noreturn]] void misfit(const char* op, const TensorView& input, const TensorView& other) {
  throw ValueError(
      concat(op, ": other of shape ", other.shape, " does not fit input of shape ", input.shape));
}

// NumPy's broadcasting of the axes before the matrices'.
Dims broadcast_batch(const char* op, const TensorView& a, const TensorView& b) {
  const int of_a = a.rank() > 2 ? a.rank() - 2 : 0, of_b = b.rank() > 2 ? b.rank() - 2 : 0;
  const int rank = of_a > of_b ? of_a : of_b;
  Dims batch;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - rank + of_a, ib = i - rank + of_b;
    const std::int64_t x = ia < 0 ? 1 : a.shape[ia], y = ib < 0 ? 1 : b.shape[ib];
    if (x != y && x != 1 && y != 1) misfit(op, a, b);
    batch.push_back(x == 1 ? y : x);
  }
  return batch;
}

Dims output_shape(const char* op, const TensorView& input, const TensorView& other) {
  require_floating({op, "input"}, input);
  require_same_dtype({op, "other"}, other, "input", input);
  require_min_rank({op, "input"}, input, 1);
  require_min_rank({op, "other"}, other, 1);
  const std::int64_t depth = other.shape[other.rank() == 1 ? 0 : other.rank() - 2];
  if (input.shape.back() != depth) misfit(op, input, other);
  Dims shape = broadcast_batch(op, input, other);
  if (input.rank() > 1) shape.push_back(input.shape[input.rank() - 2]);
  if (other.rank() > 1) shape.push_back(other.shape.back());
  checked_numel(op, shape);
  return shape;
}

}  // namespace

Dims check_matmul(const TensorView& input, const TensorView& other) {
  return output_shape("matmul", input, other);
}

void check_matmul_backward(const TensorView& grad, const TensorView& input,
                           const TensorView& other) {
  const char* op = "matmul_backward";
  const Dims shape = output_shape(op, input, other);
  require_same_dtype({op, "grad"}, grad, "input", input);
  require_shape({op, "grad"}, grad, shape);
}

}  // namespace pyfast
