#include "core/python.h"
#include "ops/optimizer/arguments.h"
#include "ops/optimizer/gradient.h"
#include "ops/optimizer/optimizer.h"

namespace pyfast {

namespace {

using Operands = OptimizerOperands<Input>;

// How a step of `op` reads its arrays.
auto reader(const char* op) {
  return [op](py::handle array, const char* argument, bool written) {
    Input input(array, {op, argument});
    if (written) input.require_writable({op, argument});
    return input;
  };
}

template <class Params>
void step(const char* op, const Operands& operands, const py::list& settings) {
  const std::vector<Params> groups = operands.check<Params>(op, settings);
  if (!operands.slots.empty())
    run(optimizer_step<Params>, reference::optimizer_step<Params>, groups, operands.slots);
}

// m.def(op, ...) for a rule whose state is arrays and a step count.
template <class Params>
void define(py::module_& m, const char* op) {
  using py::arg;
  m.def(
      op,
      [op](const py::list& params, const py::list& grads, const py::list& states,
           const py::list& steps, const py::list& groups, const py::list& settings) {
        step<Params>(op, Operands(op, params, grads, states, steps, groups, reader(op)), settings);
      },
      arg("params"), arg("grads"), arg("states"), arg("steps"), arg("groups"), arg("settings"));
}

void nadam(const py::list& params, const py::list& grads, const py::list& states,
           const py::list& steps, const py::list& groups, const py::list& settings,
           const py::list& mu_products) {
  const char* op = "nadam_step";
  Operands operands(op, params, grads, states, steps, groups, reader(op));
  operands.read_mu_products(op, mu_products);
  step<NadamParams>(op, operands, settings);
}

// Gradients in any number, written where `write` is set.
std::vector<Input> read_gradients(const char* op, const py::list& grads, bool write) {
  std::vector<Input> inputs;
  for (const py::handle& g : grads) {
    inputs.emplace_back(g, Where{op, "grads"});
    if (write) inputs.back().require_writable({op, "grads"});
  }
  return inputs;
}

double gradient_norm(const py::list& grads, double norm_type) {
  const std::vector<Input> inputs = read_gradients("gradient_norm", grads, false);
  const std::vector<TensorView> views(inputs.begin(), inputs.end());
  check_norm_type("gradient_norm", norm_type);
  double norm = 0;
  run(norm_of, reference::norm_of, views, norm_type, &norm);
  return norm;
}

void scale_gradients(const py::list& grads, double factor) {
  const std::vector<Input> inputs = read_gradients("scale_gradients", grads, true);
  const std::vector<TensorView> views(inputs.begin(), inputs.end());
  check_written_gradients("scale_gradients", views);
  run(scale, reference::scale, views, factor);
}

void clamp_gradients(const py::list& grads, double limit) {
  const std::vector<Input> inputs = read_gradients("clamp_gradients", grads, true);
  const std::vector<TensorView> views(inputs.begin(), inputs.end());
  check_written_gradients("clamp_gradients", views);
  run(clamp, reference::clamp, views, limit);
}

}  // namespace

void register_optimizer(py::module_& m) {
  using py::arg;
  define<SgdParams>(m, "sgd_step");
  define<AdagradParams>(m, "adagrad_step");
  define<RmspropParams>(m, "rmsprop_step");
  define<AdadeltaParams>(m, "adadelta_step");
  define<AdamParams>(m, "adam_step");
  define<AdamaxParams>(m, "adamax_step");
  define<RadamParams>(m, "radam_step");
  m.def("nadam_step", &nadam, arg("params"), arg("grads"), arg("states"), arg("steps"),
        arg("groups"), arg("settings"), arg("mu_products"));
  m.def("gradient_norm", &gradient_norm, arg("grads"), arg("norm_type"));
  m.def("scale_gradients", &scale_gradients, arg("grads"), arg("factor"));
  m.def("clamp_gradients", &clamp_gradients, arg("grads"), arg("limit"));
}

}  // namespace pyfast
