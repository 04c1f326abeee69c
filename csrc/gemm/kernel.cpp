// The engine's table of inner loops; each kernel_*.h holds one of them.
//
// Reached with AVX-512 in float32, one thread of a Xeon whose FMAs peak at 243 GFLOP/s: 227 in the
// register tile on panels from L2, 205 in a product of 2048 x 2048 matrices on a quiet machine, 174
// to 186 on a busy one (python -m bench --filter matmul).
#include "gemm/kernel.h"

#include "gemm/kernel_low.h"
#include "gemm/kernel_micro.h"
#include "gemm/kernel_pack.h"
#include "gemm/kernel_store.h"
#include "gemm/kernel_vector.h"

namespace pyfast::PYFAST_ISA {

template <class T>
const GemmKernels<T>& gemm_kernels() {
  static constexpr GemmKernels<T> table{
      kRows,    kVectors,  vec<T>::size, kDepth,       micro_table<T>(),     low_table<T>(),
      &pack<T>, &store<T>, &add<T>,      &dot_rows<T>, DotTable<T>::entries, &combine_rows<T>,
  };
  return table;
}

template const GemmKernels<float>& gemm_kernels<float>();
template const GemmKernels<double>& gemm_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
