// One element's step of every rule in float32, for GPU and host; the formulas' sources are in
// csrc/ops/optimizer/optimizer.h.
#pragma once

#include "cuda/core/host_device.h"
#include "ops/optimizer/kernel.h"

namespace pyfast::cuda {

struct Element {
  float p, g, state[3];
};

PYFAST_HOST_DEVICE float narrow(double x) { return static_cast<float>(x); }

PYFAST_HOST_DEVICE float max_nan(float a, float b) { return a > b || a != a ? a : b; }

PYFAST_HOST_DEVICE void decay(const DecayConstants& c, Element& e) {
  e.p *= narrow(c.shrink);
  e.g = narrow(c.sign) * e.g + narrow(c.coupled) * e.p;
}

PYFAST_HOST_DEVICE void update(const SgdConstants& c, unsigned kept, Element& e) {
  float move = e.g;
  if (kept & 1u) {
    e.state[0] = c.first ? e.g : narrow(c.momentum) * e.state[0] + narrow(c.keep) * e.g;
    move = c.nesterov ? e.g + narrow(c.momentum) * e.state[0] : e.state[0];
  }
  e.p -= narrow(c.lr) * move;
}

PYFAST_HOST_DEVICE void update(const AdagradConstants& c, unsigned, Element& e) {
  e.state[0] += e.g * e.g;
  e.p -= narrow(c.lr) * e.g / (sqrtf(e.state[0]) + narrow(c.eps));
}

PYFAST_HOST_DEVICE void update(const RmspropConstants& c, unsigned kept, Element& e) {
  float v = e.state[0] = narrow(c.alpha) * e.state[0] + narrow(1 - c.alpha) * e.g * e.g;
  if (kept & 2u) {
    const float mean = e.state[1] += narrow(1 - c.alpha) * (e.g - e.state[1]);
    v = max_nan(v - mean * mean, 0);
  }
  float move = e.g / (sqrtf(v) + narrow(c.eps));
  if (kept & 4u) move = e.state[2] = narrow(c.momentum) * e.state[2] + move;
  e.p -= narrow(c.lr) * move;
}

PYFAST_HOST_DEVICE void update(const AdadeltaConstants& c, unsigned, Element& e) {
  const float eps = narrow(c.eps), rho = narrow(c.rho), rest = narrow(1 - c.rho);
  e.state[0] = rho * e.state[0] + rest * e.g * e.g;
  const float move = sqrtf(e.state[1] + eps) / sqrtf(e.state[0] + eps) * e.g;
  e.state[1] = rho * e.state[1] + rest * move * move;
  e.p -= narrow(c.lr) * move;
}

// The two moments of Adam's family.
template <class Constants>
PYFAST_HOST_DEVICE void moments(const Constants& c, Element& e) {
  e.state[0] += narrow(1 - c.beta1) * (e.g - e.state[0]);
  e.state[1] = narrow(c.beta2) * e.state[1] + narrow(1 - c.beta2) * e.g * e.g;
}

PYFAST_HOST_DEVICE void update(const AdamConstants& c, unsigned kept, Element& e) {
  moments(c, e);
  float v = e.state[1];
  if (kept & 4u) v = e.state[2] = max_nan(v, e.state[2]);
  e.p -= narrow(c.step_size) * e.state[0] / (narrow(c.root_scale) * sqrtf(v) + narrow(c.eps));
}

PYFAST_HOST_DEVICE void update(const AdamaxConstants& c, unsigned, Element& e) {
  e.state[0] += narrow(1 - c.beta1) * (e.g - e.state[0]);
  e.state[1] = max_nan(narrow(c.beta2) * e.state[1], fabsf(e.g) + narrow(c.eps));
  e.p -= narrow(c.step_size) * e.state[0] / e.state[1];
}

PYFAST_HOST_DEVICE void update(const NadamConstants& c, unsigned, Element& e) {
  moments(c, e);
  e.p -= (narrow(c.from_gradient) * e.g + narrow(c.from_mean) * e.state[0]) /
         (narrow(c.root_scale) * sqrtf(e.state[1]) + narrow(c.eps));
}

PYFAST_HOST_DEVICE void update(const RadamConstants& c, unsigned, Element& e) {
  moments(c, e);
  const float root = sqrtf(e.state[1]) + narrow(c.eps);
  e.p -= narrow(c.step_size) * (c.adaptive ? e.state[0] / root : e.state[0]);
}

}  // namespace pyfast::cuda
