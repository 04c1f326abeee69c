#include "cuda/core/call.h"
#include "cuda/ops/dropout/dropout.h"

namespace pyfast::cuda {

namespace {

template <class Launch>
py::object draw(Launch launch, const char* op, py::handle framework, py::handle array, double p,
                std::uint64_t seed, std::uint64_t offset, std::int64_t span, bool alpha) {
  Call call(op, framework);
  const Input x(call, array, "input");
  DropoutParams params = check_dropout(op, x, p, span, alpha);
  params.seed = seed;
  params.offset = offset;
  const Output y(call, x->dtype, x->shape);
  run(call, launch, params, x.view(), y.view());
  return y.object();
}

py::object forward(py::handle framework, const std::string& op, py::handle input, double p,
                   std::uint64_t seed, std::uint64_t offset, std::int64_t span, bool alpha) {
  return draw(dropout_forward, op.c_str(), framework, input, p, seed, offset, span, alpha);
}

py::object backward(py::handle framework, py::handle grad, double p, std::uint64_t seed,
                    std::uint64_t offset, std::int64_t span, bool alpha) {
  return draw(dropout_backward, "dropout_backward", framework, grad, p, seed, offset, span, alpha);
}

}  // namespace

void register_dropout(py::module_& m) {
  m.def("dropout", &forward);
  m.def("dropout_backward", &backward);
}

}  // namespace pyfast::cuda
