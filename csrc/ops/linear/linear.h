// linear: input weight^T + bias and an optional activation, forward and backward.
#pragma once

#include <memory>
#include <variant>

#include "core/activation.h"
#include "core/tensor.h"
#include "gemm/packed.h"

namespace pyfast {

// input (..., in), weight (out, in) or (in,), bias (out,), () or not defined. The output's shape:
// (..., out), or (...) for a weight that is a vector.
Dims check_linear(const TensorView& input, const TensorView& weight, const TensorView& bias);
// grad and, where there is an activation, `saved` have the output's shape.
void check_linear_backward(Activation activation, const TensorView& grad, const TensorView& input,
                           const TensorView& weight, const TensorView& saved);

// output = activation(input weight^T + bias). Writes output, and to `saved`, where defined and the
// activation's backward needs it, what the activation was applied to.
void linear_forward(Activation activation, const TensorView& input, const TensorView& weight,
                    const TensorView& bias, const TensorView& output, const TensorView& saved);

// A weight (out, in) packed for the engine once, for inference; it keeps nothing of the array.
class PackedWeight {
 public:
  explicit PackedWeight(const TensorView& weight);

  DType dtype;
  std::int64_t out, in;
  template <class T>
  const gemm::PackedMatrix<T>& panels() const {
    return *std::get<std::unique_ptr<gemm::PackedMatrix<T>>>(panels_);
  }

 private:
  std::variant<std::unique_ptr<gemm::PackedMatrix<float>>,
               std::unique_ptr<gemm::PackedMatrix<double>>>
      panels_;
};

void check_packed_weight(const TensorView& weight);
Dims check_linear_packed(const TensorView& input, const PackedWeight& weight,
                         const TensorView& bias);
// linear_forward with a packed weight: nothing of it is packed in the call.
void linear_packed_forward(Activation activation, const TensorView& input,
                           const PackedWeight& weight, const TensorView& bias,
                           const TensorView& output);

// With dz = grad activation'(saved), rows taken together:
//   grad_input = dz weight,  grad_weight = dz^T input,  grad_bias = sum of dz over its rows.
// `saved` is activation_backward's: what forward saved, or its output. Writes those of the three
// that are defined.
void linear_backward(Activation activation, const TensorView& grad, const TensorView& input,
                     const TensorView& weight, const TensorView& saved,
                     const TensorView& grad_input, const TensorView& grad_weight,
                     const TensorView& grad_bias);

namespace reference {
void linear_forward(Activation activation, const TensorView& input, const TensorView& weight,
                    const TensorView& bias, const TensorView& output, const TensorView& saved);
void linear_backward(Activation activation, const TensorView& grad, const TensorView& input,
                     const TensorView& weight, const TensorView& saved,
                     const TensorView& grad_input, const TensorView& grad_weight,
                     const TensorView& grad_bias);
}  // namespace reference

}  // namespace pyfast
