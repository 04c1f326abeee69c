// The GPU's extension module: one line per op family, as in csrc/module.cpp.
#include "core/arguments.h"

namespace pyfast::cuda {
void register_core(py::module_& m);
void register_host(py::module_& m);
void register_activation(py::module_& m);
void register_attention(py::module_& m);
void register_conv(py::module_& m);
void register_dropout(py::module_& m);
void register_embedding(py::module_& m);
void register_gated(py::module_& m);
void register_loss(py::module_& m);
void register_matmul(py::module_& m);
void register_norm(py::module_& m);
void register_optimizer(py::module_& m);
void register_pad(py::module_& m);
void register_pool(py::module_& m);
void register_softmax(py::module_& m);
void register_unfold(py::module_& m);
}  // namespace pyfast::cuda

PYBIND11_MODULE(_cuda, m, pybind11::mod_gil_not_used()) {
  using namespace pyfast;
  m.doc() = "pyfast's CUDA kernels; pyfast.ops calls them for arrays on a GPU.";
  translate<ValueError>(PyExc_ValueError);
  translate<TypeError>(PyExc_TypeError);
  translate<IndexError>(PyExc_IndexError);
  cuda::register_core(m);
  cuda::register_host(m);
  cuda::register_activation(m);
  cuda::register_attention(m);
  cuda::register_conv(m);
  cuda::register_dropout(m);
  cuda::register_embedding(m);
  cuda::register_gated(m);
  cuda::register_loss(m);
  cuda::register_matmul(m);
  cuda::register_norm(m);
  cuda::register_optimizer(m);
  cuda::register_pad(m);
  cuda::register_pool(m);
  cuda::register_softmax(m);
  cuda::register_unfold(m);
}
