#include "cuda/core/call.h"
#include "cuda/ops/optimizer/gradient.h"
#include "cuda/ops/optimizer/optimizer.h"
#include "ops/optimizer/arguments.h"

namespace pyfast::cuda {

namespace {

using Operands = OptimizerOperands<Input>;

// What is written must lie in C order itself: a copy would be lost.
auto reader(Call& call) {
  return [&call](py::handle array, const char* argument, bool written) {
    return Input(call, array, argument, Kind::floating, !written);
  };
}

template <class Params>
void step(const Call& call, const Operands& operands, const py::list& settings) {
  const std::vector<Params> groups = operands.check<Params>(call.op(), settings);
  if (!operands.slots.empty()) run(call, optimizer_step<Params>, groups, operands.slots);
}

template <class Params>
void define(py::module_& m, const char* op) {
  m.def(op, [op](py::handle framework, const py::list& params, const py::list& grads,
                 const py::list& states, const py::list& steps, const py::list& groups,
                 const py::list& settings) {
    Call call(op, framework);
    step<Params>(call, Operands(op, params, grads, states, steps, groups, reader(call)), settings);
  });
}

void nadam(py::handle framework, const py::list& params, const py::list& grads,
           const py::list& states, const py::list& steps, const py::list& groups,
           const py::list& settings, const py::list& mu_products) {
  Call call("nadam_step", framework);
  Operands operands(call.op(), params, grads, states, steps, groups, reader(call));
  operands.read_mu_products(call.op(), mu_products);
  step<NadamParams>(call, operands, settings);
}

// Gradients in any number, at least one: they say on which device.
std::vector<Input> read_gradients(Call& call, const py::list& grads, bool write) {
  if (grads.empty()) throw ValueError(concat(call.op(), ": grads must not be empty"));
  std::vector<Input> inputs;
  for (const py::handle& g : grads) inputs.emplace_back(call, g, "grads", Kind::floating, !write);
  return inputs;
}

// A float64 scalar on the device: reading it is the caller's.
py::object gradient_norm(py::handle framework, const py::list& grads, double norm_type) {
  Call call("gradient_norm", framework);
  const std::vector<Input> inputs = read_gradients(call, grads, false);
  const std::vector<TensorView> views(inputs.begin(), inputs.end());
  check_norm_type(call.op(), norm_type);
  const Output norm(call, DType::f64, Dims());
  const Output workspace(call, DType::f64, {norm_workspace(views)});
  run(call, norm_of, views, norm_type, norm.view(), workspace.view());
  return norm.object();
}

template <class Launch>
void change_gradients(Launch launch, const char* op, py::handle framework, const py::list& grads,
                      double value) {
  Call call(op, framework);
  const std::vector<Input> inputs = read_gradients(call, grads, true);
  const std::vector<TensorView> views(inputs.begin(), inputs.end());
  check_written_gradients(call.op(), views);
  run(call, launch, views, value);
}

void scale_gradients(py::handle framework, const py::list& grads, double factor) {
  change_gradients(scale, "scale_gradients", framework, grads, factor);
}

void clamp_gradients(py::handle framework, const py::list& grads, double limit) {
  change_gradients(clamp, "clamp_gradients", framework, grads, limit);
}

}  // namespace

void register_optimizer(py::module_& m) {
  define<SgdParams>(m, "sgd_step");
  define<AdagradParams>(m, "adagrad_step");
  define<RmspropParams>(m, "rmsprop_step");
  define<AdadeltaParams>(m, "adadelta_step");
  define<AdamParams>(m, "adam_step");
  define<AdamaxParams>(m, "adamax_step");
  define<RadamParams>(m, "radam_step");
  m.def("nadam_step", &nadam);
  m.def("gradient_norm", &gradient_norm);
  m.def("scale_gradients", &scale_gradients);
  m.def("clamp_gradients", &clamp_gradients);
}

}  // namespace pyfast::cuda
