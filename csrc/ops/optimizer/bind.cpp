#include "core/python.h"
#include "ops/optimizer/gradient.h"
#include "ops/optimizer/optimizer.h"
#include "ops/optimizer/settings.h"

namespace pyfast {

namespace {

// The arrays of a step, kept alive together with the slots that view them.
class Operands {
 public:
  Operands(const char* op, const py::list& params, const py::list& grads, const py::list& states,
           const py::list& steps, const py::list& groups)
      : op_(op) {
    require_length(grads, params.size(), "grads");
    require_length(states, params.size(), "states");
    require_length(steps, params.size(), "steps");
    require_length(groups, params.size(), "groups");
    inputs_.reserve(5 * params.size());  // parameter, gradient, three states: views stay in place
    slots.reserve(params.size());
    for (std::size_t i = 0; i < params.size(); ++i) {
      OptimizerSlot& slot = slots.emplace_back();
      slot.parameter = written(params[i], "params");
      slot.gradient = &inputs_.emplace_back(grads[i], Where{op, "grads"}).view();
      slot.step = to_double(steps[i], {op, "steps"});
      slot.group = static_cast<std::size_t>(to_int(groups[i], {op, "groups"}));
      read_states(states[i], slot);
    }
  }
  Operands(const Operands&) = delete;  // slots point into inputs_
  Operands& operator=(const Operands&) = delete;
  void require_length(const py::list& list, std::size_t n, const char* argument) const {
    if (list.size() != n)
      throw ValueError(concat(op_, ": ", argument, " must have one entry per parameter (", n,
                              "), got ", list.size()));
  }
  OptimizerSlots slots;

 private:
  void read_states(py::handle states, OptimizerSlot& slot) {
    if (!py::isinstance<py::tuple>(states) || py::len(states) > 3)
      throw TypeError(concat(op_, ": states must be tuples of at most 3 arrays"));
    int s = 0;
    for (const py::handle& state : py::reinterpret_borrow<py::tuple>(states)) {
      if (!state.is_none()) slot.state[s] = written(state, "states");
      ++s;
    }
  }
  const TensorView* written(py::handle array, const char* argument) {
    const Input& input = inputs_.emplace_back(array, Where{op_, argument});
    input.require_writable({op_, argument});
    return &input.view();
  }

  const char* op_;
  std::vector<Input> inputs_;
};

template <class Params>
void step(const char* op, const Operands& operands, const py::list& settings) {
  const std::vector<Params> groups = read_groups<Params>(op, settings);
  std::vector<unsigned> masks;
  for (const Params& p : groups) {
    check_learning_rate(op, p.lr);
    masks.push_back(p.states());
  }
  check_optimizer_slots(op, operands.slots, masks);
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
        step<Params>(op, Operands(op, params, grads, states, steps, groups), settings);
      },
      arg("params"), arg("grads"), arg("states"), arg("steps"), arg("groups"), arg("settings"));
}

void nadam(const py::list& params, const py::list& grads, const py::list& states,
           const py::list& steps, const py::list& groups, const py::list& settings,
           const py::list& mu_products) {
  Operands operands("nadam_step", params, grads, states, steps, groups);
  operands.require_length(mu_products, params.size(), "mu_products");
  for (std::size_t i = 0; i < operands.slots.size(); ++i)
    operands.slots[i].mu_product = to_double(mu_products[i], {"nadam_step", "mu_products"});
  step<NadamParams>("nadam_step", operands, settings);
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
