// launch(kernel, blocks, threads, bytes of shared memory, arguments...): on a GPU, or for tests on
// the fibres of core/emulator.h.
#pragma once

#include "cuda/core/grid.h"
#include "cuda/core/machine.cuh"

namespace pyfast::cuda {

#if defined(__CUDACC__)

struct Launch {
  cudaStream_t stream;

  template <class... Parameters, class... Args>
  void operator()(void (*kernel)(Parameters...), std::int64_t blocks, int threads,
                  std::size_t bytes, const Args&... args) const {
    constexpr std::size_t kAlwaysAllowed = 48 << 10;
    if (blocks == 0) return;
    if (bytes > kAlwaysAllowed &&
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)) != cudaSuccess)
      return;  // run() raises what cudaGetLastError says
    kernel<<<grid_size(blocks), static_cast<unsigned>(threads), bytes, stream>>>(args...);
  }
};

#else

struct EmulatedLaunch {
  template <class... Parameters, class... Args>
  void operator()(void (*kernel)(Parameters...), std::int64_t blocks, int threads,
                  std::size_t bytes, const Args&... args) const {
    Emulator::self().run(static_cast<unsigned>(blocks), threads, bytes, [&] { kernel(args...); });
  }
};

#endif

}  // namespace pyfast::cuda
