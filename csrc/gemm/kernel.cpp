// The engine's table of inner loops; each kernel_*.h holds one of them.
//
// Reached by the register tile on panels in L1, one thread, AVX-512 float32: see kernel_micro.h.
#include "gemm/kernel.h"

#include "gemm/kernel_micro.h"
#include "gemm/kernel_pack.h"
#include "gemm/kernel_store.h"
#include "gemm/kernel_vector.h"

namespace pyfast::PYFAST_ISA {

template <class T>
const GemmKernels<T>& gemm_kernels() {
  static constexpr GemmKernels<T> table{
      kRows,    kVectors,  vec<T>::size, kDepth,       micro_table<T>(),
      &pack<T>, &store<T>, &add<T>,      &dot_rows<T>, &combine_rows<T>,
  };
  return table;
}

template const GemmKernels<float>& gemm_kernels<float>();
template const GemmKernels<double>& gemm_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
