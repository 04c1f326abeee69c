#include "core/python.h"
#include "ops/optimizer/optimizer.h"

namespace pyfast {

namespace {

// The arrays of a step, kept alive together with the slots that view them.
class Operands {
 public:
  Operands(const char* op, const py::list& params, const py::list& grads,
           std::initializer_list<py::list> states, int needed, const py::list& steps)
      : op_(op) {
    require_length(grads, params.size(), "grads");
    require_length(steps, params.size(), "steps");
    for (std::size_t i = 0; i < params.size(); ++i) {
      OptimizerSlot slot;
      slot.parameter = written(params[i], "params");
      slot.gradient = keep(Input(grads[i], {op, "grads"}));
      slot.step = to_double(steps[i], {op, "steps"});
      int s = 0;
      for (const py::list& state : states) {
        if (!state.empty()) require_length(state, params.size(), "state");
        if (!state.empty()) slot.state[s] = written(state[i], "state");
        ++s;
      }
      slots.push_back(slot);
    }
    check_optimizer_slots(op, slots, needed);
  }
  OptimizerSlots slots;

 private:
  void require_length(const py::list& list, std::size_t n, const char* argument) {
    if (list.size() != n)
      throw ValueError(concat(op_, ": ", argument, " must have one entry per parameter (", n,
                              "), got ", list.size()));
  }
  TensorView keep(Input input) {
    inputs_.push_back(std::move(input));
    return inputs_.back().view();
  }
  TensorView written(py::handle array, const char* argument) {
    Input input(array, {op_, argument});
    input.require_writable({op_, argument});
    return keep(std::move(input));
  }

  const char* op_;
  std::vector<Input> inputs_;
};

void sgd(const py::list& params, const py::list& grads, const py::list& momentum,
         const py::list& steps, double lr, double momentum_factor, double dampening,
         double weight_decay, bool nesterov, bool maximize) {
  const int needed = momentum_factor != 0 ? 1 : 0;
  const Operands operands("sgd_step", params, grads, {momentum}, needed, steps);
  const SgdParams p{lr, momentum_factor, dampening, weight_decay, nesterov, maximize};
  run(sgd_step, reference::sgd_step, p, operands.slots);
}

void adam(const py::list& params, const py::list& grads, const py::list& exp_avg,
          const py::list& exp_avg_sq, const py::list& max_exp_avg_sq, const py::list& steps,
          double lr, double beta1, double beta2, double eps, double weight_decay, bool maximize,
          bool decoupled) {
  const bool amsgrad = !max_exp_avg_sq.empty();
  const Operands operands("adam_step", params, grads, {exp_avg, exp_avg_sq, max_exp_avg_sq},
                          amsgrad ? 3 : 2, steps);
  const AdamParams p{lr, beta1, beta2, eps, weight_decay, amsgrad, maximize, decoupled};
  run(adam_step, reference::adam_step, p, operands.slots);
}

}  // namespace

void register_optimizer(py::module_& m) {
  using py::arg;
  m.def("sgd_step", &sgd, arg("params"), arg("grads"), arg("momentum_buffers"), arg("steps"),
        arg("lr"), arg("momentum"), arg("dampening"), arg("weight_decay"), arg("nesterov"),
        arg("maximize"));
  m.def("adam_step", &adam, arg("params"), arg("grads"), arg("exp_avg"), arg("exp_avg_sq"),
        arg("max_exp_avg_sq"), arg("steps"), arg("lr"), arg("beta1"), arg("beta2"), arg("eps"),
        arg("weight_decay"), arg("maximize"), arg("decoupled"));
}

}  // namespace pyfast
