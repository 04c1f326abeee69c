// dx = g * a'(saved), a vector at a time; memory-bound but for the exponentials.
#include "core/kernel_activation.h"

#include "simd/activate.h"
#include "simd/loop.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
void backward(Activation a, T* dx, const T* g, const T* saved, std::int64_t n) {
  with_activation(a, [=](auto f) {
    map(dx, g, saved, n, [&](vec<T> grad, vec<T> x) PYFAST_INLINED { return f.backward(grad, x); });
  });
}

}  // namespace

template <class T>
const ActivationKernels<T>& activation_kernels() {
  static constexpr ActivationKernels<T> table{&backward<T>};
  return table;
}

template const ActivationKernels<float>& activation_kernels<float>();
template const ActivationKernels<double>& activation_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
