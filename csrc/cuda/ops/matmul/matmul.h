// matmul and linear on the GPU: what csrc/ops/matmul/matmul.h and csrc/ops/linear/linear.h promise.
// `parts` is workspace for sums over splits of the depth: Contraction says how many.
#pragma once

#include <cuda_runtime_api.h>

#include "core/activation.h"
#include "cuda/ops/matmul/product.h"

namespace pyfast::cuda {

// output = a b for any of product.h's products.
void multiply_matrices(const Product& product, const TensorView& a, const TensorView& b,
                       const TensorView& output, const TensorView& parts, cudaStream_t stream);
// The same with linear's bias and activation; `saved`, where defined, gets what it is applied to.
void multiply_linear(const Product& product, Activation activation, const TensorView& input,
                     const TensorView& weight, const TensorView& bias, const TensorView& output,
                     const TensorView& saved, const TensorView& parts, cudaStream_t stream);
// dz = grad activation'(saved)
void linear_gate(Activation activation, const TensorView& grad, const TensorView& saved,
                 const TensorView& dz, cudaStream_t stream);
// grad_bias = sum of dz over its rows
void linear_bias_gradient(const TensorView& dz, const TensorView& grad_bias, cudaStream_t stream);

}  // namespace pyfast::cuda
