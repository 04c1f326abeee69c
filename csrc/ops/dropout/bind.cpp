#include "core/philox.h"
#include "core/python.h"
#include "ops/dropout/dropout.h"

namespace pyfast {

namespace {

struct Call {
  Input input;
  DropoutParams params;
};

Call parse(const char* op, py::handle input, double p, std::uint64_t seed, std::uint64_t offset,
           std::int64_t span, bool alpha) {
  Input x(input, {op, "input"});
  DropoutParams params = check_dropout(op, x, p, span, alpha);
  params.seed = seed;
  params.offset = offset;
  return {std::move(x), params};
}

py::object forward(const std::string& name, py::handle input, double p, std::uint64_t seed,
                   std::uint64_t offset, std::int64_t span, bool alpha) {
  const char* op = name.c_str();
  const Call call = parse(op, input, p, seed, offset, span, alpha);
  const Output y(op, call.input->dtype, call.input->shape);
  run(dropout_forward, reference::dropout_forward, call.params, call.input.view(), y.view());
  return y.object();
}

py::object backward(py::handle grad, double p, std::uint64_t seed, std::uint64_t offset,
                    std::int64_t span, bool alpha) {
  const char* op = "dropout_backward";
  const Call call = parse(op, grad, p, seed, offset, span, alpha);
  const Output dx(op, call.input->dtype, call.input->shape);
  run(dropout_backward, reference::dropout_backward, call.params, call.input.view(), dx.view());
  return dx.object();
}

// Known answers of the generator are tested through this.
py::tuple philox(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                 std::uint32_t k0, std::uint32_t k1) {
  const PhiloxWords r = philox4x32({{c0, c1, c2, c3}}, k0, k1);
  return py::make_tuple(r.word[0], r.word[1], r.word[2], r.word[3]);
}

}  // namespace

void register_dropout(py::module_& m) {
  using py::arg;
  m.def("dropout", &forward, arg("op"), arg("input"), arg("p"), arg("seed"), arg("offset"),
        arg("span"), arg("alpha"));
  m.def("dropout_backward", &backward, arg("grad"), arg("p"), arg("seed"), arg("offset"),
        arg("span"), arg("alpha"));
  m.def("philox4x32", &philox);
}

}  // namespace pyfast
