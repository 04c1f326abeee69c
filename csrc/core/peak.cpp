#include "core/peak.h"

#include <chrono>

#include "core/kernel_peak.h"

namespace pyfast {

namespace {

template <class T>
double rate() {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kRounds = 1 << 18;  // about a millisecond
  alignas(64) T sink[64 / sizeof(T)];
  const auto begin = Clock::now();
  const double flops = peak_kernels<T>().multiply_add(sink, kRounds);
  return flops / std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

double fma_rate(DType dtype) {
  return visit(dtype, []<class T>() { return rate<T>(); });
}

}  // namespace pyfast
