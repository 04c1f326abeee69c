// dx = g * a'(saved), a vector at a time; memory-bound but for the exponentials.
#include "core/kernel_activation.h"

#include "simd/activate.h"
#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
void backward(Activation a, T* dx, const T* g, const T* saved, std::int64_t n) {
  constexpr int w = vec<T>::size;
  with_activation(a, [=](auto f) {
    std::int64_t i = 0;
    for (; i + w <= n; i += w)
      f.backward(vec<T>::load(g + i), vec<T>::load(saved + i)).store(dx + i);
    const int rest = static_cast<int>(n - i);
    if (rest > 0)
      f.backward(vec<T>::load(g + i, rest), vec<T>::load(saved + i, rest)).store(dx + i, rest);
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
