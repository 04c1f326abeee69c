// The extension module: one line per op family, nothing else.
#include "core/python.h"

namespace pyfast {
void register_core(py::module_& m);
void register_simd(py::module_& m);
void register_attention(py::module_& m);
void register_activation(py::module_& m);
void register_arithmetic(py::module_& m);
void register_conv(py::module_& m);
void register_dropout(py::module_& m);
void register_embedding(py::module_& m);
void register_gemm(py::module_& m);
void register_linear(py::module_& m);
void register_loss(py::module_& m);
void register_matmul(py::module_& m);
void register_norm(py::module_& m);
void register_optimizer(py::module_& m);
void register_pad(py::module_& m);
void register_pool(py::module_& m);
void register_softmax(py::module_& m);
void register_unfold(py::module_& m);
}  // namespace pyfast

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  using namespace pyfast;
  m.doc() = "pyfast's compiled kernels; use them through pyfast.ops.";
  translate<ValueError>(PyExc_ValueError);
  translate<TypeError>(PyExc_TypeError);
  translate<IndexError>(PyExc_IndexError);
  install_interrupt_poll();
  register_core(m);
  register_simd(m);
  register_attention(m);
  register_activation(m);
  register_arithmetic(m);
  register_conv(m);
  register_dropout(m);
  register_embedding(m);
  register_gemm(m);
  register_linear(m);
  register_loss(m);
  register_matmul(m);
  register_norm(m);
  register_optimizer(m);
  register_pad(m);
  register_pool(m);
  register_softmax(m);
  register_unfold(m);
}
