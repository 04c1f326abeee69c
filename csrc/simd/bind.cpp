#include <iterator>

#include "core/copy.h"
#include "core/python.h"
#include "simd/kernel.h"

namespace pyfast {

namespace {

constexpr const char* kNames[] = {"exp", "exp2", "expm1", "log", "log1p", "tanh", "sigmoid", "erf"};

SimdFunction function_from(const std::string& name) {
  for (std::size_t i = 0; i < std::size(kNames); ++i)
    if (name == kNames[i]) return static_cast<SimdFunction>(i);
  throw ValueError(concat("simd_evaluate: name must be one of exp, exp2, expm1, log, log1p, ",
                          "tanh, sigmoid, erf, got ", name));
}

py::object evaluate(const std::string& name, py::handle input) {
  const SimdFunction function = function_from(name);
  const Input x(input, {"simd_evaluate", "x"});
  require_floating({"simd_evaluate", "x"}, x);
  const Output y("simd_evaluate", x->dtype, x->shape);
  visit(x->dtype, [&]<class T>() {
    const Contiguous<T> packed(x);
    const Unlocked unlocked;
    simd_kernels<T>().evaluate(function, y.view().as<T>(), packed.data(), x->numel());
  });
  return y.object();
}

py::object selftest(bool float64) {
  const char* failure =
      float64 ? simd_kernels<double>().selftest() : simd_kernels<float>().selftest();
  return failure ? py::object(py::str(failure)) : py::none();
}

}  // namespace

void register_simd(py::module_& m) {
  m.def("simd_evaluate", &evaluate, py::arg("name"), py::arg("x"));
  m.def("simd_selftest", &selftest, py::arg("float64"));
}

}  // namespace pyfast
