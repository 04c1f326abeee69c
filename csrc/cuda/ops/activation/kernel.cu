// One pass over memory. The function is chosen at run time by a switch that all threads take alike:
// memory is what these wait for.
#include "cuda/core/elementwise.cuh"
#include "cuda/ops/activation/activation.h"
#include "cuda/ops/activation/functions.h"

namespace pyfast::cuda {

namespace {

struct Value {
  UnaryFunction function;
  __device__ float operator()(std::int64_t, float x) const { return unary_value(function, x); }
};

struct Gradient {
  UnaryFunction function;
  __device__ float operator()(std::int64_t, float grad, float saved) const {
    return unary_gradient(function, grad, saved);
  }
};

}  // namespace

void unary_forward(const UnaryParams& params, const TensorView& input, const TensorView& output,
                   cudaStream_t stream) {
  visit_gpu(input.dtype,
            [&]<class T>() { map<T>(output, Value{device_function(params)}, stream, input); });
}

void unary_backward(const UnaryParams& params, const TensorView& grad, const TensorView& saved,
                    const TensorView& grad_input, cudaStream_t stream) {
  visit_gpu(saved.dtype, [&]<class T>() {
    map<T>(grad_input, Gradient{device_function(params)}, stream, grad, saved);
  });
}

}  // namespace pyfast::cuda
