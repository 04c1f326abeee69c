// The kernel that scales rows run on the CPU, for tests/test_cuda_host.py.
#include "cuda/core/host_array.h"
#include "cuda/ops/embedding/renorm.cuh"

namespace pyfast::cuda {

namespace {

namespace py = pybind11;
using Indices = py::array_t<std::int64_t, py::array::c_style>;

// In place.
void renorm(const HostArray& weight, const Indices& indices, const Indices& order, double norm_type,
            double max_norm) {
  const auto flat = [](const Indices& x) {
    return TensorView(const_cast<std::int64_t*>(x.data()), DType::i64, {x.size()});
  };
  renorm_on(view_of(weight), flat(indices), flat(order), norm_type, max_norm, EmulatedLaunch{});
}

}  // namespace

void register_embedding_host(py::module_& host) { host.def("embedding_renorm", &renorm); }

}  // namespace pyfast::cuda
