// One pass over parameter, gradient and state: every array is read and written once. Four or more
// streams at a time are too many for the processor to prefetch across pages by itself: asked for
// 3 KiB ahead, into the second-level cache, a step takes no longer than reading its arrays does
// (docs/performance.md, "Optimizer steps"). 1 to 4 KiB, and either cache, are within 3 %; huge
// pages, 10 %. Non-temporal stores take twice as long: the lines are in the cache already.
#include "ops/optimizer/kernel.h"

#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
PYFAST_INLINE vec<T> all(double x) {
  return vec<T>(static_cast<T>(x));
}

template <class T>
PYFAST_INLINE void prefetch(const T* p) {
  __builtin_prefetch(p + 3072 / sizeof(T), 0, 2);  // may lie beyond the array: it never faults
}

// p = rule(i, lanes, p, g) for every vector, p and g decayed as DecayConstants say.
template <class T, class Rule>
PYFAST_INLINE void update(const DecayConstants& c, OptimizerArrays<T> a, std::int64_t n,
                          Rule rule) {
  const vec<T> sign = all<T>(c.sign), coupled = all<T>(c.coupled), shrink = all<T>(c.shrink);
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    prefetch(a.parameter + i);
    prefetch(a.gradient + i);
    for (const T* state : a.state)
      if (state) prefetch(state + i);
    const vec<T> weight = load(a.parameter + i, lanes) * shrink;
    const vec<T> gradient = fma(weight, coupled, load(a.gradient + i, lanes) * sign);
    store(rule(i, lanes, weight, gradient), a.parameter + i, lanes);
  });
}

// x becomes (1 - share) x + share y.
template <class T>
PYFAST_INLINE vec<T> lerp(T* x, vec<T> y, vec<T> share, int lanes) {
  const vec<T> old = load(x, lanes), now = fma(y - old, share, old);
  store(now, x, lanes);
  return now;
}

// x becomes keep x + add.
template <class T>
PYFAST_INLINE vec<T> accumulate(T* x, vec<T> keep, vec<T> add, int lanes) {
  const vec<T> now = fma(load(x, lanes), keep, add);
  store(now, x, lanes);
  return now;
}

template <class T>
void sgd(const SgdConstants& c, OptimizerArrays<T> a, std::int64_t n) {
  const vec<T> lr = all<T>(-c.lr), mu = all<T>(c.momentum), keep = all<T>(c.keep);
  T* momentum = a.state[0];
  update<T>(c.decay, a, n, [&](std::int64_t i, int lanes, vec<T> p, vec<T> g) PYFAST_INLINED {
    if (!momentum) return fma(g, lr, p);
    const vec<T> v = c.first ? g : fma(load(momentum + i, lanes), mu, g * keep);
    store(v, momentum + i, lanes);
    return fma(c.nesterov ? fma(v, mu, g) : v, lr, p);
  });
}

template <class T>
void adagrad(const AdagradConstants& c, OptimizerArrays<T> a, std::int64_t n) {
  const vec<T> lr = all<T>(-c.lr), eps = all<T>(c.eps), one = all<T>(1);
  update<T>(c.decay, a, n, [&](std::int64_t i, int lanes, vec<T> p, vec<T> g) PYFAST_INLINED {
    const vec<T> sum = accumulate(a.state[0] + i, one, g * g, lanes);
    return fma(g / (sqrt(sum) + eps), lr, p);
  });
}

template <class T>
void rmsprop(const RmspropConstants& c, OptimizerArrays<T> a, std::int64_t n) {
  const vec<T> lr = all<T>(-c.lr), alpha = all<T>(c.alpha), rest = all<T>(1 - c.alpha);
  const vec<T> eps = all<T>(c.eps), mu = all<T>(c.momentum);
  update<T>(c.decay, a, n, [&](std::int64_t i, int lanes, vec<T> p, vec<T> g) PYFAST_INLINED {
    vec<T> v = accumulate(a.state[0] + i, alpha, g * g * rest, lanes);
    if (a.state[1]) {  // rounding must not make a variance negative
      const vec<T> mean = lerp(a.state[1] + i, g, rest, lanes);
      v = max(vec<T>(), fma(-mean, mean, v));
    }
    vec<T> move = g / (sqrt(v) + eps);
    if (a.state[2]) move = accumulate(a.state[2] + i, mu, move, lanes);
    return fma(move, lr, p);
  });
}

template <class T>
void adadelta(const AdadeltaConstants& c, OptimizerArrays<T> a, std::int64_t n) {
  const vec<T> lr = all<T>(-c.lr), rho = all<T>(c.rho), rest = all<T>(1 - c.rho);
  const vec<T> eps = all<T>(c.eps);
  update<T>(c.decay, a, n, [&](std::int64_t i, int lanes, vec<T> p, vec<T> g) PYFAST_INLINED {
    const vec<T> square = accumulate(a.state[0] + i, rho, g * g * rest, lanes);
    const vec<T> moved = load(a.state[1] + i, lanes);
    const vec<T> move = sqrt((moved + eps) / (square + eps)) * g;
    store(fma(moved, rho, move * move * rest), a.state[1] + i, lanes);
    return fma(move, lr, p);
  });
}

template <class T>
void adam(const AdamConstants& c, OptimizerArrays<T> a, std::int64_t n) {
  const vec<T> rest1 = all<T>(1 - c.beta1), beta2 = all<T>(c.beta2), rest2 = all<T>(1 - c.beta2);
  const vec<T> step = all<T>(-c.step_size), root = all<T>(c.root_scale), eps = all<T>(c.eps);
  T* largest = a.state[2];
  update<T>(c.decay, a, n, [&](std::int64_t i, int lanes, vec<T> p, vec<T> g) PYFAST_INLINED {
    const vec<T> m = lerp(a.state[0] + i, g, rest1, lanes);
    vec<T> v = accumulate(a.state[1] + i, beta2, g * g * rest2, lanes);
    if (largest) {
      v = max_nan(load(largest + i, lanes), v);
      store(v, largest + i, lanes);
    }
    return fma(m / fma(sqrt(v), root, eps), step, p);
  });
}

template <class T>
void adamax(const AdamaxConstants& c, OptimizerArrays<T> a, std::int64_t n) {
  const vec<T> rest1 = all<T>(1 - c.beta1), beta2 = all<T>(c.beta2);
  const vec<T> step = all<T>(-c.step_size), eps = all<T>(c.eps);
  update<T>(c.decay, a, n, [&](std::int64_t i, int lanes, vec<T> p, vec<T> g) PYFAST_INLINED {
    const vec<T> m = lerp(a.state[0] + i, g, rest1, lanes);
    const vec<T> u = max_nan(load(a.state[1] + i, lanes) * beta2, abs(g) + eps);
    store(u, a.state[1] + i, lanes);
    return fma(m / u, step, p);
  });
}

template <class T>
void nadam(const NadamConstants& c, OptimizerArrays<T> a, std::int64_t n) {
  const vec<T> rest1 = all<T>(1 - c.beta1), beta2 = all<T>(c.beta2), rest2 = all<T>(1 - c.beta2);
  const vec<T> by_g = all<T>(c.from_gradient), by_m = all<T>(c.from_mean);
  const vec<T> root = all<T>(c.root_scale), eps = all<T>(c.eps);
  update<T>(c.decay, a, n, [&](std::int64_t i, int lanes, vec<T> p, vec<T> g) PYFAST_INLINED {
    const vec<T> m = lerp(a.state[0] + i, g, rest1, lanes);
    const vec<T> v = accumulate(a.state[1] + i, beta2, g * g * rest2, lanes);
    return p - fma(g, by_g, m * by_m) / fma(sqrt(v), root, eps);
  });
}

template <class T>
void radam(const RadamConstants& c, OptimizerArrays<T> a, std::int64_t n) {
  const vec<T> rest1 = all<T>(1 - c.beta1), beta2 = all<T>(c.beta2), rest2 = all<T>(1 - c.beta2);
  const vec<T> step = all<T>(-c.step_size), eps = all<T>(c.eps);
  update<T>(c.decay, a, n, [&](std::int64_t i, int lanes, vec<T> p, vec<T> g) PYFAST_INLINED {
    const vec<T> m = lerp(a.state[0] + i, g, rest1, lanes);
    const vec<T> v = accumulate(a.state[1] + i, beta2, g * g * rest2, lanes);
    return fma(c.adaptive ? m / (sqrt(v) + eps) : m, step, p);
  });
}

}  // namespace

template <class T>
const OptimizerKernels<T>& optimizer_kernels() {
  static constexpr OptimizerKernels<T> table{&sgd<T>,  &adagrad<T>, &rmsprop<T>, &adadelta<T>,
                                             &adam<T>, &adamax<T>,  &nadam<T>,   &radam<T>};
  return table;
}

template const OptimizerKernels<float>& optimizer_kernels<float>();
template const OptimizerKernels<double>& optimizer_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
