// Philox4x32-10, a counter-based generator: word i is a function of (seed, offset, i) alone, so any
// thread, and the GPU, can draw any part of the stream and backward can draw it again.
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <cstdint>

// Force-inlined, because per-ISA kernels and baseline code both use it (see core/isa.h).
#if defined(__CUDACC__)
#define PYFAST_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define PYFAST_HOST_DEVICE __attribute__((always_inline)) inline
#endif

namespace pyfast {

struct PhiloxWords {
  std::uint32_t word[4];
};

// Ten rounds on one 128-bit counter under a 64-bit key.
PYFAST_HOST_DEVICE PhiloxWords philox4x32(PhiloxWords counter, std::uint32_t key0,
                                          std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter.word[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<std::uint32_t>(b >> 32) ^ counter.word[1] ^ key0,
                static_cast<std::uint32_t>(b),
                static_cast<std::uint32_t>(a >> 32) ^ counter.word[3] ^ key1,
                static_cast<std::uint32_t>(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// Words 4 * block ... 4 * block + 3 of the stream (seed, offset).
PYFAST_HOST_DEVICE PhiloxWords philox_block(std::uint64_t seed, std::uint64_t offset,
                                            std::uint64_t block) {
  return philox4x32(
      {{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
        static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(offset >> 32)}},
      static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

PYFAST_HOST_DEVICE std::uint32_t philox_word(std::uint64_t seed, std::uint64_t offset,
                                             std::uint64_t index) {
  return philox_block(seed, offset, index / 4).word[index % 4];
}

// A word below this drops the element: P(word < threshold) = p to within 2^-32.
PYFAST_HOST_DEVICE std::uint64_t drop_threshold(double p) {
  return static_cast<std::uint64_t>(p * 4294967296.0 + 0.5);
}

}  // namespace pyfast
