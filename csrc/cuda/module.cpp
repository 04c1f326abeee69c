// The GPU's extension module: one line per op family, as in csrc/module.cpp.
#include "core/arguments.h"

namespace pyfast::cuda {
void register_core(py::module_& m);
void register_softmax(py::module_& m);
}  // namespace pyfast::cuda

PYBIND11_MODULE(_cuda, m, pybind11::mod_gil_not_used()) {
  using namespace pyfast;
  m.doc() = "pyfast's CUDA kernels; pyfast.ops calls them for arrays on a GPU.";
  translate<ValueError>(PyExc_ValueError);
  translate<TypeError>(PyExc_TypeError);
  translate<IndexError>(PyExc_IndexError);
  cuda::register_core(m);
  cuda::register_softmax(m);
}
