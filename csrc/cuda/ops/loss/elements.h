// One element's loss and slopes in float32, for GPU and host: csrc/ops/loss/pointwise.h's losses.
#pragma once

#include "cuda/ops/activation/functions.h"
#include "ops/loss/pointwise.h"

namespace pyfast::cuda {

struct LossElement {
  float value, of_input, of_target;
};

PYFAST_HOST_DEVICE float sign_of(float d) { return d > 0 ? 1.0f : d < 0 ? -1.0f : d; }

// fmaxf drops NaN, which must stay.
PYFAST_HOST_DEVICE float at_least(float x, float least) { return x < least ? least : x; }

PYFAST_HOST_DEVICE LossElement distance_loss(float d, float value, float slope) {
  const float way = slope * sign_of(d);
  return {value, way, -way};
}

// `height` is the slope beyond the knee.
PYFAST_HOST_DEVICE LossElement knee_loss(float d, float knee, float height) {
  const float a = fabsf(d);
  if (a < knee) return distance_loss(d, 0.5f * height * a * a / knee, height * a / knee);
  return distance_loss(d, height * (a - 0.5f * knee), height);
}

PYFAST_HOST_DEVICE LossElement bce_loss(float x, float t) {
  const float one = at_least(logf(x), -100.0f), zero = at_least(log1pf(-x), -100.0f);
  return {-(t * one + (1 - t) * zero), (x - t) / at_least(x * (1 - x), 1e-12f), zero - one};
}

PYFAST_HOST_DEVICE LossElement bce_logits_loss(float x, float t, float pos_weight) {
  const float more = (pos_weight - 1) * t, tail = softplus(-x);
  return {(1 - t) * x + (1 + more) * tail, (1 - t) - (1 + more) / (1 + expf(x)),
          (pos_weight - 1) * tail - x};
}

PYFAST_HOST_DEVICE LossElement kl_loss(float x, float t) {
  const float log_t = logf(t);
  return {(t == 0 ? 0.0f : t * log_t) - t * x, -t, log_t + 1 - x};
}

PYFAST_HOST_DEVICE LossElement loss_element(Loss loss, float scale, float x, float t,
                                            float pos_weight) {
  const float d = x - t;
  switch (loss) {
    case Loss::mse: return {d * d, 2 * d, -2 * d};
    case Loss::l1: return distance_loss(d, fabsf(d), 1);
    case Loss::smooth_l1: return knee_loss(d, scale, 1);
    case Loss::huber: return knee_loss(d, scale, scale);
    case Loss::bce: return bce_loss(x, t);
    case Loss::bce_logits: return bce_logits_loss(x, t, pos_weight);
    case Loss::kl: return kl_loss(x, t);
    case Loss::kl_log: return {expf(t) * -d, -expf(t), expf(t) * (1 - d)};
  }
  return {};
}

}  // namespace pyfast::cuda
