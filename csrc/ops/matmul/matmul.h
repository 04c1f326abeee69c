// matmul: the matrix product with NumPy's rules for vectors and batches, forward and backward.
#pragma once

#include "core/tensor.h"

namespace pyfast {

// input (..., n, k) or (k,), other (..., k, m) or (k,), leading axes broadcast. The output's
// shape: (..., n, m) without the axis of an operand that is a vector.
Dims check_matmul(const TensorView& input, const TensorView& other);
void check_matmul_backward(const TensorView& grad, const TensorView& input,
                           const TensorView& other);

// output = input other. Writes output.
void matmul_forward(const TensorView& input, const TensorView& other, const TensorView& output);
// grad_input = grad other^T, grad_other = input^T grad, each summed over the batch axes along which
// its operand was broadcast. Writes those that are defined.
void matmul_backward(const TensorView& grad, const TensorView& input, const TensorView& other,
                     const TensorView& grad_input, const TensorView& grad_other);

namespace reference {
void matmul_forward(const TensorView& input, const TensorView& other, const TensorView& output);
void matmul_backward(const TensorView& grad, const TensorView& input, const TensorView& other,
                     const TensorView& grad_input, const TensorView& grad_other);
}  // namespace reference

}  // namespace pyfast
