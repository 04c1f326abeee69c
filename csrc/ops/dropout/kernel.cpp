// Sixteen Philox counters at a time, written so that the compiler keeps one counter per lane.
#include "ops/dropout/kernel.h"

#include "core/philox.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr int kLanes = 16;  // counters drawn together: 64 words

// words[4 * lane + k] of blocks block ... block + 15.
__attribute__((always_inline)) inline void draw(std::uint32_t* words, std::uint64_t seed,
                                                std::uint64_t offset, std::uint64_t block) {
  std::uint32_t transposed[4][kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const PhiloxWords r = philox_block(seed, offset, block + static_cast<std::uint64_t>(lane));
    for (int k = 0; k < 4; ++k) transposed[k][lane] = r.word[k];
  }
  for (int lane = 0; lane < kLanes; ++lane)
    for (int k = 0; k < 4; ++k) words[4 * lane + k] = transposed[k][lane];
}

template <class T>
void elements(T* y, const T* x, std::int64_t n, std::uint64_t seed, std::uint64_t offset,
              std::uint64_t first, std::uint64_t threshold, T scale, T shift, T fill) {
  std::uint32_t words[4 * kLanes];
  for (std::int64_t i = 0; i < n; i += 4 * kLanes) {
    draw(words, seed, offset, (first + static_cast<std::uint64_t>(i)) / 4);
    const std::int64_t m = n - i < 4 * kLanes ? n - i : 4 * kLanes;
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
