#include "core/shape.h"
#include "ops/softmax/softmax.h"

namespace pyfast {

SoftmaxParams check_softmax(bool log, const TensorView& input, std::int64_t dim) {
  SoftmaxParams params{log, 0};
  require_floating({params.op(), "input"}, input);
  params.axis = checked_axis({params.op(), "dim"}, dim, input.rank());
  return params;
}

SoftmaxParams check_softmax_backward(bool log, const TensorView& grad, const TensorView& output,
                                     std::int64_t dim) {
  SoftmaxParams params{log, 0};
  const char* op = log ? "log_softmax_backward" : "softmax_backward";
  require_floating({op, "output"}, output);
  require_same_dtype({op, "grad"}, grad, "output", output);
  require_shape({op, "grad"}, grad, output.shape);
  params.axis = checked_axis({op, "dim"}, dim, output.rank());
  return params;
}

}  // namespace pyfast
