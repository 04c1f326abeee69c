// Losses of single elements on the CPU, for tests/test_cuda_host.py.
#include "core/arguments.h"
#include "cuda/core/host_array.h"
#include "cuda/ops/loss/elements.h"

namespace pyfast::cuda {

namespace {

// (values, slopes of the input, slopes of the target) of C-ordered arrays
py::tuple pointwise(std::string_view loss, double scale, const HostArray& input,
                    const HostArray& target, const HostArray& pos_weight) {
  const TensorView x = view_of(input), t = view_of(target), pos = view_of(pos_weight);
  const PointwiseParams p = check_pointwise(loss, scale, "none", x, t, TensorView(), pos);
  HostArray value = new_array(x.shape), of_input = new_array(x.shape),
            of_target = new_array(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const LossElement e = loss_element(p.loss, static_cast<float>(p.scale), x.as<float>()[i],
                                       t.as<float>()[i], pos.as<float>()[i]);
    value.mutable_data()[i] = e.value;
    of_input.mutable_data()[i] = e.of_input;
    of_target.mutable_data()[i] = e.of_target;
  }
  return py::make_tuple(value, of_input, of_target);
}

}  // namespace

void register_loss_host(py::module_& host) { host.def("pointwise", &pointwise); }

}  // namespace pyfast::cuda
