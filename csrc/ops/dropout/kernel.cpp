#include "ops/dropout/kernel.h"

#include "core/philox_lanes.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
void elements(T* y, const T* x, std::int64_t n, std::uint64_t seed, std::uint64_t offset,
              std::uint64_t first, std::uint64_t threshold, T scale, T shift, T fill) {
  std::uint32_t words[kPhiloxWords];
  for (std::int64_t i = 0; i < n; i += kPhiloxWords) {
    draw(words, seed, offset, (first + static_cast<std::uint64_t>(i)) / 4);
    const std::int64_t m = n - i < kPhiloxWords ? n - i : kPhiloxWords;
    for (std::int64_t j = 0; j < m; ++j)
      y[i + j] = words[j] >= threshold ? scale * x[i + j] + shift : fill;
  }
}

template <class T>
void affine(T* y, const T* x, std::int64_t n, T scale, T shift) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = scale * x[i] + shift;
}

}  // namespace

template <class T>
const DropoutKernels<T>& dropout_kernels() {
  static constexpr DropoutKernels<T> table{&elements<T>, &affine<T>};
  return table;
}

template const DropoutKernels<float>& dropout_kernels<float>();
template const DropoutKernels<double>& dropout_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
