// One pass over parameter, gradient and state: every array is read and written once, so a step
// runs at memory speed.
#include "ops/optimizer/kernel.h"

#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
void sgd(const SgdConstants& c, T* p, const T* g, T* momentum, std::int64_t n) {
  const vec<T> lr(static_cast<T>(-c.lr)), mu(static_cast<T>(c.momentum));
  const vec<T> keep(static_cast<T>(c.keep)), decay(static_cast<T>(c.weight_decay));
  const vec<T> sign(static_cast<T>(c.sign));
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
    const vec<T> weight = load(p + i, lanes);
    vec<T> update = fma(weight, decay, load(g + i, lanes) * sign);
    if (momentum) {
      const vec<T> v = c.first ? update : fma(load(momentum + i, lanes), mu, update * keep);
      store(v, momentum + i, lanes);
      update = c.nesterov ? fma(v, mu, update) : v;
    }
    store(fma(update, lr, weight), p + i, lanes);
  });
}

template <class T>
void adam(const AdamConstants& c, T* p, const T* g, T* mean, T* square, T* largest,
          std::int64_t n) {
  const vec<T> decay(static_cast<T>(c.decay)), coupled(static_cast<T>(c.weight_decay));
  const vec<T> sign(static_cast<T>(c.sign)), beta2(static_cast<T>(c.beta2));
  const vec<T> rest1(static_cast<T>(1 - c.beta1)), rest2(static_cast<T>(1 - c.beta2));
  const vec<T> step(static_cast<T>(-c.step_size)), root(static_cast<T>(c.root_correction));
  const vec<T> eps(static_cast<T>(c.eps));
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
    const vec<T> weight = load(p + i, lanes) * decay;
    const vec<T> grad = fma(weight, coupled, load(g + i, lanes) * sign);
    const vec<T> old = load(mean + i, lanes);
    const vec<T> m = fma(grad - old, rest1, old);
    vec<T> v = fma(load(square + i, lanes), beta2, grad * grad * rest2);
    store(m, mean + i, lanes);
    store(v, square + i, lanes);
    if (largest) {
      v = max_nan(load(largest + i, lanes), v);
      store(v, largest + i, lanes);
    }
    store(fma(m / (sqrt(v) / root + eps), step, weight), p + i, lanes);
  });
}

}  // namespace

template <class T>
const OptimizerKernels<T>& optimizer_kernels() {
  static constexpr OptimizerKernels<T> table{&sgd<T>, &adam<T>};
  return table;
}

template const OptimizerKernels<float>& optimizer_kernels<float>();
template const OptimizerKernels<double>& optimizer_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
