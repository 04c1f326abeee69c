// Twelve chains: more than latency times throughput of every core so far (8 to 10), and twelve
// accumulators with two operands still fit sixteen registers.
#include "core/kernel_peak.h"

#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr int kChains = 12;

template <class T>
double multiply_add(T* sink, std::int64_t rounds) {
  vec<T> chain[kChains];
  const vec<T> shrink(T{0.5}), shift(T{0.25});  // the chains converge to 0.5: never denormal
  for (std::int64_t round = 0; round < rounds; ++round)
    for (int c = 0; c < kChains; ++c) chain[c] = fma(chain[c], shrink, shift);
  vec<T> sum(T{0});
  for (int c = 0; c < kChains; ++c) sum += chain[c];
  sum.store(sink);
  return 2.0 * kChains * vec<T>::size * static_cast<double>(rounds);
}

}  // namespace

template <class T>
const PeakKernels<T>& peak_kernels() {
  static constexpr PeakKernels<T> table{&multiply_add<T>};
  return table;
}

template const PeakKernels<float>& peak_kernels<float>();
template const PeakKernels<double>& peak_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
