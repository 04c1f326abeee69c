// The settings of an optimizer's groups as Python keeps them, for the bindings of _core and _cuda.
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

}  // namespace pyfast
