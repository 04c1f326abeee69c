// What Python hands to an optimizer step, for the bindings of _core and _cuda.
#pragma once

#include <vector>

#include "core/arguments.h"
#include "ops/optimizer/optimizer.h"

namespace pyfast {

// A group of an optimizer, as Python keeps it, read by name.
class Settings {
 public:
  Settings(const char* op, const py::handle& group) : op_(op) {
    if (!py::isinstance<py::dict>(group))
      throw TypeError(concat(op, ": settings must be a list of dicts"));
    group_ = py::reinterpret_borrow<py::dict>(group);
  }
  double number(const char* name) const { return to_double(item(name), {op_, name}); }
  bool flag(const char* name) const { return py::cast<bool>(py::bool_(item(name))); }
  double beta(std::size_t i) const {
    const py::object betas = item("betas");
    if (!py::isinstance<py::sequence>(betas) || py::len(betas) != 2)
      throw ValueError(concat(op_, ": betas must be two numbers"));
    return to_double(betas[py::int_(i)], {op_, "betas"});
  }

 private:
  py::object item(const char* name) const {
    if (!group_.contains(name)) throw ValueError(concat(op_, ": settings lack ", name));
    return group_[name];
  }
  const char* op_;
  py::dict group_;
};

inline void read(const Settings& s, SgdParams& p) {
  p = {s.number("lr"),           s.number("momentum"), s.number("dampening"),
       s.number("weight_decay"), s.flag("nesterov"),   s.flag("maximize")};
}
inline void read(const Settings& s, AdagradParams& p) {
  p = {s.number("lr"), s.number("lr_decay"), s.number("weight_decay"), s.number("eps"),
       s.flag("maximize")};
}
inline void read(const Settings& s, RmspropParams& p) {
  p = {s.number("lr"),       s.number("alpha"),  s.number("eps"),   s.number("weight_decay"),
       s.number("momentum"), s.flag("centered"), s.flag("maximize")};
}
inline void read(const Settings& s, AdadeltaParams& p) {
  p = {s.number("lr"), s.number("rho"), s.number("eps"), s.number("weight_decay"),
       s.flag("maximize")};
}
inline void read(const Settings& s, AdamParams& p) {
  p = {s.number("lr"),
       s.beta(0),
       s.beta(1),
       s.number("eps"),
       s.number("weight_decay"),
       s.flag("amsgrad"),
       s.flag("maximize"),
       s.flag("decoupled_weight_decay")};
}
inline void read(const Settings& s, AdamaxParams& p) {
  p = {s.number("lr"),           s.beta(0),         s.beta(1), s.number("eps"),
       s.number("weight_decay"), s.flag("maximize")};
}
inline void read(const Settings& s, NadamParams& p) {
  p = {s.number("lr"),
       s.beta(0),
       s.beta(1),
       s.number("eps"),
       s.number("weight_decay"),
       s.number("momentum_decay"),
       s.flag("maximize"),
       s.flag("decoupled_weight_decay")};
}
inline void read(const Settings& s, RadamParams& p) {
  p = {s.number("lr"),
       s.beta(0),
       s.beta(1),
       s.number("eps"),
       s.number("weight_decay"),
       s.flag("maximize"),
       s.flag("decoupled_weight_decay")};
}

template <class Params>
std::vector<Params> read_groups(const char* op, const py::list& settings) {
  std::vector<Params> groups;
  for (const py::handle& group : settings) read(Settings(op, group), groups.emplace_back());
  return groups;
}

inline void require_length(const char* op, const py::list& list, std::size_t n,
                           const char* argument) {
  if (list.size() != n)
    throw ValueError(concat(op, ": ", argument, " must have one entry per parameter (", n,
                            "), got ", list.size()));
}

// The arrays of a step, kept alive together with the slots that view them. `read(array, argument,
// written)` makes an Input of an array.
template <class Input>
class OptimizerOperands {
 public:
  template <class Read>
  OptimizerOperands(const char* op, const py::list& params, const py::list& grads,
                    const py::list& states, const py::list& steps, const py::list& groups,
                    Read read) {
    const std::size_t n = params.size();
    require_length(op, grads, n, "grads");
    require_length(op, states, n, "states");
    require_length(op, steps, n, "steps");
    require_length(op, groups, n, "groups");
    inputs_.reserve(5 * n);  // parameter, gradient, three states: views stay in place
    slots.reserve(n);
    const auto keep = [&](py::handle array, const char* argument, bool written) {
      return &inputs_.emplace_back(read(array, argument, written)).view();
    };
    for (std::size_t i = 0; i < n; ++i) {
      OptimizerSlot& slot = slots.emplace_back();
      slot.parameter = keep(params[i], "params", true);
      slot.gradient = keep(grads[i], "grads", false);
      slot.step = to_double(steps[i], {op, "steps"});
      slot.group = static_cast<std::size_t>(to_int(groups[i], {op, "groups"}));
      const py::handle state = states[i];
      if (!py::isinstance<py::tuple>(state) || py::len(state) > 3)
        throw TypeError(concat(op, ": states must be tuples of at most 3 arrays"));
      int s = 0;
      for (const py::handle& array : py::reinterpret_borrow<py::tuple>(state)) {
        if (!array.is_none()) slot.state[s] = keep(array, "states", true);
        ++s;
      }
    }
  }
  OptimizerOperands(const OptimizerOperands&) = delete;  // slots point into inputs_
  OptimizerOperands& operator=(const OptimizerOperands&) = delete;

  void read_mu_products(const char* op, const py::list& mu_products) {
    require_length(op, mu_products, slots.size(), "mu_products");
    for (std::size_t i = 0; i < slots.size(); ++i)
      slots[i].mu_product = to_double(mu_products[i], {op, "mu_products"});
  }
  // The groups' settings; everything is checked.
  template <class Params>
  std::vector<Params> check(const char* op, const py::list& settings) const {
    std::vector<Params> groups = read_groups<Params>(op, settings);
    std::vector<unsigned> masks;
    for (const Params& p : groups) {
      check_learning_rate(op, p.lr);
      masks.push_back(p.states());
    }
    check_optimizer_slots(op, slots, masks);
    return groups;
  }

  OptimizerSlots slots;

 private:
  std::vector<Input> inputs_;
};

}  // namespace pyfast
