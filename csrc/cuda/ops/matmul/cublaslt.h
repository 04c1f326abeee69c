// cuBLASLt for plain matrix products, where the machine has it: found at run time, never linked.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <optional>

#include "cuda/ops/matmul/product.h"

namespace pyfast::cuda {

// A batch of matrices in column-major order, as cuBLASLt wants them.
struct LtMatrix {
  std::int64_t rows, columns, leading, batch_stride;
  bool transposed;  // what is stored is the transpose of the operand
};

// The transpose of a product's output is left times right: left is the product's b, right its a.
// None where an operand has other strides than cuBLASLt knows.
struct LtProduct {
  LtMatrix left, right, output;
  std::int64_t batch;
};
std::optional<LtProduct> lt_product(const Product& product);

inline constexpr std::int64_t kLtWorkspace = std::int64_t{32} << 20;  // NVIDIA's advice for sm_90

bool has_cublaslt();
// output = a b, and bias (columns) added where defined. False, with nothing done, where cuBLASLt
// cannot: the caller then launches its own kernel.
bool multiply_with_cublaslt(const Product& product, const TensorView& a, const TensorView& b,
                            const TensorView& bias, const TensorView& output,
                            const TensorView& workspace, cudaStream_t stream);

}  // namespace pyfast::cuda
