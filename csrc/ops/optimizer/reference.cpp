// One element at a time, in double.
#include <algorithm>
#include <cmath>

#include "core/copy.h"
#include "ops/optimizer/constants.h"

namespace pyfast::reference {

namespace {

struct Element {
  double p, g, state[3];
  bool kept[3];  // which states the rule keeps
};

double lerp(double& x, double y, double share) { return x += share * (y - x); }

// NaN where either is NaN.
double max_nan(double a, double b) { return a > b || std::isnan(a) ? a : b; }

void update(const SgdConstants& c, Element& e) {
  double move = e.g;
  if (e.kept[0]) {
    e.state[0] = c.first ? e.g : c.momentum * e.state[0] + c.keep * e.g;
    move = c.nesterov ? e.g + c.momentum * e.state[0] : e.state[0];
  }
  e.p -= c.lr * move;
}

void update(const AdagradConstants& c, Element& e) {
  e.state[0] += e.g * e.g;
  e.p -= c.lr * e.g / (std::sqrt(e.state[0]) + c.eps);
}

void update(const RmspropConstants& c, Element& e) {
  double v = e.state[0] = c.alpha * e.state[0] + (1 - c.alpha) * e.g * e.g;
  if (e.kept[1]) {
    const double mean = lerp(e.state[1], e.g, 1 - c.alpha);
    v = max_nan(v - mean * mean, 0);
  }
  double move = e.g / (std::sqrt(v) + c.eps);
  if (e.kept[2]) move = e.state[2] = c.momentum * e.state[2] + move;
  e.p -= c.lr * move;
}

void update(const AdadeltaConstants& c, Element& e) {
  e.state[0] = c.rho * e.state[0] + (1 - c.rho) * e.g * e.g;
  const double move = std::sqrt(e.state[1] + c.eps) / std::sqrt(e.state[0] + c.eps) * e.g;
  e.state[1] = c.rho * e.state[1] + (1 - c.rho) * move * move;
  e.p -= c.lr * move;
}

void update(const AdamConstants& c, Element& e) {
  const double m = lerp(e.state[0], e.g, 1 - c.beta1);
  double v = e.state[1] = c.beta2 * e.state[1] + (1 - c.beta2) * e.g * e.g;
  if (e.kept[2]) v = e.state[2] = max_nan(v, e.state[2]);
  e.p -= c.step_size * m / (c.root_scale * std::sqrt(v) + c.eps);
}

void update(const AdamaxConstants& c, Element& e) {
  const double m = lerp(e.state[0], e.g, 1 - c.beta1);
  e.state[1] = max_nan(c.beta2 * e.state[1], std::abs(e.g) + c.eps);
  e.p -= c.step_size * m / e.state[1];
}

void update(const NadamConstants& c, Element& e) {
  const double m = lerp(e.state[0], e.g, 1 - c.beta1);
  const double v = e.state[1] = c.beta2 * e.state[1] + (1 - c.beta2) * e.g * e.g;
  e.p -= (c.from_gradient * e.g + c.from_mean * m) / (c.root_scale * std::sqrt(v) + c.eps);
}

void update(const RadamConstants& c, Element& e) {
  const double m = lerp(e.state[0], e.g, 1 - c.beta1);
  const double v = e.state[1] = c.beta2 * e.state[1] + (1 - c.beta2) * e.g * e.g;
  e.p -= c.step_size * (c.adaptive ? m / (std::sqrt(v) + c.eps) : m);
}

template <class T, class Constants>
void step_one(const Constants& c, const OptimizerSlot& slot, unsigned states) {
  const Contiguous<T> gradient(*slot.gradient);
  T* p = slot.parameter->as<T>();
  for (std::int64_t i = 0; i < slot.parameter->numel(); ++i) {
    Element e{p[i] * c.decay.shrink, 0, {}, {}};
    e.g = c.decay.sign * gradient.data()[i] + c.decay.coupled * e.p;
    for (unsigned s = 0; s < 3; ++s) {
      e.kept[s] = states >> s & 1u;
      if (e.kept[s]) e.state[s] = slot.state[s]->as<T>()[i];
    }
    update(c, e);
    p[i] = static_cast<T>(e.p);
    for (unsigned s = 0; s < 3; ++s)
      if (e.kept[s]) slot.state[s]->as<T>()[i] = static_cast<T>(e.state[s]);
  }
}

}  // namespace

template <class Params>
void optimizer_step(const std::vector<Params>& groups, const OptimizerSlots& slots) {
  for (const OptimizerSlot& slot : slots) {
    const Params& params = groups[slot.group];
    visit(slot.parameter->dtype,
          [&]<class T>() { step_one<T>(constants(params, slot), slot, params.states()); });
  }
}

template void optimizer_step(const std::vector<SgdParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<AdagradParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<RmspropParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<AdadeltaParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<AdamParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<AdamaxParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<NadamParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<RadamParams>&, const OptimizerSlots&);

}  // namespace pyfast::reference
