// Which instruction set runs, chosen once, and how per-ISA kernel tables are found.
//
// A family declares a table of function pointers in its kernel.h:
//
//   template <class T> struct SoftmaxKernels { void (*forward)(...); ... };
//   PYFAST_KERNEL_TABLE(SoftmaxKernels, softmax_kernels)
//
// and defines it in kernel.cpp, which CMake compiles once per ISA with PYFAST_ISA set to
// scalar / avx2 / avx512 / neon (also the namespace everything in that file lives in):
//
//   namespace pyfast::PYFAST_ISA {
//   namespace { ...loops on vec<T>... }
//   template <class T> const SoftmaxKernels<T>& softmax_kernels() {
//     static constexpr SoftmaxKernels<T> table{&forward<T>, ...};
//     return table;
//   }
//   template const SoftmaxKernels<float>& softmax_kernels<float>();
//   template const SoftmaxKernels<double>& softmax_kernels<double>();
//   }
//
// Callers write softmax_kernels<T>() once, above their loops.
#pragma once

#include <cstdint>

namespace pyfast {

// amx: avx512 whose matrix products use the tiles (gemm/amx.h); all other kernels are avx512's.
enum class Isa : std::uint8_t { scalar, neon, avx2, avx512, amx };

Isa active_isa();               // min(what the CPU has, PYFAST_ISA)
const char* isa_name(Isa isa);  // "avx512"

#if defined(__x86_64__) || defined(_M_X64)
#define PYFAST_KERNEL_TABLE(Table, function)          \
  namespace scalar {                                  \
  template <class T>                                  \
  const Table<T>& function();                         \
  }                                                   \
  namespace avx2 {                                    \
  template <class T>                                  \
  const Table<T>& function();                         \
  }                                                   \
  namespace avx512 {                                  \
  template <class T>                                  \
  const Table<T>& function();                         \
  }                                                   \
  template <class T>                                  \
  const Table<T>& function() {                        \
    switch (::pyfast::active_isa()) {                 \
      case Isa::amx:                                  \
      case Isa::avx512: return avx512::function<T>(); \
      case Isa::avx2: return avx2::function<T>();     \
      default: return scalar::function<T>();          \
    }                                                 \
  }
#elif defined(__aarch64__) || defined(_M_ARM64)
#define PYFAST_KERNEL_TABLE(Table, function)                                                  \
  namespace scalar {                                                                          \
  template <class T>                                                                          \
  const Table<T>& function();                                                                 \
  }                                                                                           \
  namespace neon {                                                                            \
  template <class T>                                                                          \
  const Table<T>& function();                                                                 \
  }                                                                                           \
  template <class T>                                                                          \
  const Table<T>& function() {                                                                \
    return ::pyfast::active_isa() == Isa::neon ? neon::function<T>() : scalar::function<T>(); \
  }
#else
#define PYFAST_KERNEL_TABLE(Table, function) \
  namespace scalar {                         \
  template <class T>                         \
  const Table<T>& function();                \
  }                                          \
  template <class T>                         \
  const Table<T>& function() {               \
    return scalar::function<T>();            \
  }
#endif

}  // namespace pyfast
