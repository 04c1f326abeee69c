#include "cuda/core/call.h"
#include "cuda/ops/optimizer/optimizer.h"
#include "ops/optimizer/settings.h"

namespace pyfast::cuda {

namespace {

// The arrays of a step, kept alive together with the slots that view them.
class Operands {
 public:
  Operands(Call& call, const py::list& params, const py::list& grads, const py::list& states,
           const py::list& steps, const py::list& groups)
      : call_(call) {
    require_length(grads, params.size(), "grads");
    require_length(states, params.size(), "states");
    require_length(steps, params.size(), "steps");
    require_length(groups, params.size(), "groups");
    inputs_.reserve(5 * params.size());  // parameter, gradient, three states: views stay in place
    slots.reserve(params.size());
    for (std::size_t i = 0; i < params.size(); ++i) {
      OptimizerSlot& slot = slots.emplace_back();
      slot.parameter = keep(params[i], "params", false);
      slot.gradient = keep(grads[i], "grads", true);
      slot.step = to_double(steps[i], {call.op(), "steps"});
      slot.group = static_cast<std::size_t>(to_int(groups[i], {call.op(), "groups"}));
      read_states(states[i], slot);
    }
  }
  Operands(const Operands&) = delete;  // slots point into inputs_
  Operands& operator=(const Operands&) = delete;
  void require_length(const py::list& list, std::size_t n, const char* argument) const {
    if (list.size() != n)
      throw ValueError(concat(call_.op(), ": ", argument, " must have one entry per parameter (", n,
                              "), got ", list.size()));
  }
  OptimizerSlots slots;

 private:
  void read_states(py::handle states, OptimizerSlot& slot) {
    if (!py::isinstance<py::tuple>(states) || py::len(states) > 3)
      throw TypeError(concat(call_.op(), ": states must be tuples of at most 3 arrays"));
    int s = 0;
    for (const py::handle& state : py::reinterpret_borrow<py::tuple>(states)) {
      if (!state.is_none()) slot.state[s] = keep(state, "states", false);
      ++s;
    }
  }
  const TensorView* keep(py::handle array, const char* argument, bool contiguous) {
    return &inputs_.emplace_back(call_, array, argument, Kind::floating, contiguous).view();
  }

  Call& call_;
  std::vector<Input> inputs_;
};

template <class Params>
void step(const Call& call, const Operands& operands, const py::list& settings) {
  const std::vector<Params> groups = read_groups<Params>(call.op(), settings);
  std::vector<unsigned> masks;
  for (const Params& p : groups) {
    check_learning_rate(call.op(), p.lr);
    masks.push_back(p.states());
  }
  check_optimizer_slots(call.op(), operands.slots, masks);
  if (!operands.slots.empty()) run(call, optimizer_step<Params>, groups, operands.slots);
}

template <class Params>
void define(py::module_& m, const char* op) {
  m.def(op, [op](py::handle framework, const py::list& params, const py::list& grads,
                 const py::list& states, const py::list& steps, const py::list& groups,
                 const py::list& settings) {
    Call call(op, framework);
    step<Params>(call, Operands(call, params, grads, states, steps, groups), settings);
  });
}

void nadam(py::handle framework, const py::list& params, const py::list& grads,
           const py::list& states, const py::list& steps, const py::list& groups,
           const py::list& settings, const py::list& mu_products) {
  Call call("nadam_step", framework);
  Operands operands(call, params, grads, states, steps, groups);
  operands.require_length(mu_products, params.size(), "mu_products");
  for (std::size_t i = 0; i < operands.slots.size(); ++i)
    operands.slots[i].mu_product = to_double(mu_products[i], {call.op(), "mu_products"});
  step<NadamParams>(call, operands, settings);
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
}

}  // namespace pyfast::cuda
