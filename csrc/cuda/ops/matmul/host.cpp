// The kernels' own tiles and index maps walked on the CPU, for tests/test_cuda_contraction.py.
#include "core/arguments.h"
#include "cuda/core/host_array.h"
#include "cuda/ops/matmul/cublaslt.h"
#include "ops/matmul/matmul.h"

namespace pyfast::cuda {

namespace {

HostArray multiply(const Product& p, const HostArray& a, const HostArray& b, const Dims& shape) {
  HostArray out = new_array(shape);
  if (shape.numel() == 0) return out;
  float* to = out.mutable_data();
  const Contraction& c = p.size;
  contract_on_host(c, a.data(), p.a, b.data(), p.b,
                   [&](std::int64_t n, std::int64_t i, std::int64_t j, float v) {
                     to[(n * c.rows + i) * c.columns + j] = v;
                   });
  return out;
}

HostArray matmul(const HostArray& a, const HostArray& b) {
  const TensorView x = view_of(a), y = view_of(b);
  const Dims shape = check_matmul(x, y);
  const MatmulLayout layout(x, y, TensorView(nullptr, DType::f32, shape));
  return multiply(matmul_product(layout), a, b, shape);
}

py::tuple matmul_backward(const HostArray& grad, const HostArray& a, const HostArray& b) {
  const TensorView g = view_of(grad), x = view_of(a), y = view_of(b);
  check_matmul_backward(g, x, y);
  const MatmulLayout layout(x, y, g), packed = packed_layout(x, y, g);
  return py::make_tuple(multiply(matmul_input_gradient(layout, packed), grad, b, x.shape),
                        multiply(matmul_other_gradient(layout, packed), a, grad, y.shape));
}

// (output, grad_input, grad_weight) of C-ordered matrices
py::tuple linear(const HostArray& input, const HostArray& weight, const HostArray& grad) {
  const std::int64_t rows = input.shape(0), in = input.shape(1), out = weight.shape(0);
  return py::make_tuple(multiply(linear_product(rows, in, out), input, weight, {rows, out}),
                        multiply(linear_input_gradient(rows, in, out), grad, weight, {rows, in}),
                        multiply(linear_weight_gradient(rows, in, out), grad, input, {out, in}));
}

// What cuBLASLt would be told: for left, right and output (rows, columns, leading, batch_stride,
// transposed), then the batch. None where the kernels' own tiles are used.
py::object as_tuple(const std::optional<LtProduct>& p) {
  if (!p) return py::none();
  const auto matrix = [](const LtMatrix& m) {
    return py::make_tuple(m.rows, m.columns, m.leading, m.batch_stride, m.transposed);
  };
  return py::make_tuple(matrix(p->left), matrix(p->right), matrix(p->output), p->batch);
}

py::tuple lt_matmul(const HostArray& a, const HostArray& b, const HostArray& grad) {
  const TensorView x = view_of(a), y = view_of(b), g = view_of(grad);
  check_matmul_backward(g, x, y);
  const MatmulLayout layout(x, y, g), packed = packed_layout(x, y, g);
  return py::make_tuple(as_tuple(lt_product(matmul_product(layout))),
                        as_tuple(lt_product(matmul_input_gradient(layout, packed))),
                        as_tuple(lt_product(matmul_other_gradient(layout, packed))));
}

py::tuple lt_linear(std::int64_t rows, std::int64_t in, std::int64_t out) {
  return py::make_tuple(as_tuple(lt_product(linear_product(rows, in, out))),
                        as_tuple(lt_product(linear_input_gradient(rows, in, out))),
                        as_tuple(lt_product(linear_weight_gradient(rows, in, out))));
}

}  // namespace

void register_matmul_host(py::module_& host) {
  host.def("matmul", &matmul);
  host.def("matmul_backward", &matmul_backward);
  host.def("linear", &linear);
  host.def("lt_matmul", &lt_matmul);
  host.def("lt_linear", &lt_linear);
}

}  // namespace pyfast::cuda
