// Inner loops of the losses.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/loss/pointwise.h"

namespace pyfast {

// Operands of n contiguous elements; weight and pos may be null (all ones).
template <class T>
struct PointwiseOperands {
  const T *x, *t, *weight, *pos;
};

template <class T>
struct LossKernels {
  // out[i] = loss (out may be null); returns the sum of them
  double (*pointwise)(Loss loss, double scale, PointwiseOperands<T> in, T* out, std::int64_t n);
  // dx[i] = g s' and dt[i] likewise (dt may be null); g = grad[i], or grad[0] when `one`
  void (*pointwise_backward)(Loss loss, double scale, PointwiseOperands<T> in, const T* grad,
                             bool one, T* dx, T* dt, std::int64_t n);

  // tops[r] = the largest score of row r of n, r < rows, logs[r] = log sum_c exp(x_c - tops[r]).
  // One number, their sum, would lose to a large score the bits that tell it from the others.
  void (*log_sum_exp)(const T* x, std::int64_t rows, std::int64_t n, T* tops, double* logs);
  // In the following, with the row's top and log: lse = top + log.
  // sum_c weight_c (lse - x_c); weight may be null (all ones)
  T (*smoothing)(const T* x, const T* weight, T top, T log, std::int64_t n);
  // sum_c weight_c (a t_c + b) (lse - x_c)
  T (*soft_target)(const T* x, const T* t, const T* weight, T top, T log, T a, T b, std::int64_t n);
  // dx_c = p exp(x_c - lse) - b weight_c
  void (*backward)(T* dx, const T* x, const T* weight, T log, T p, T b, std::int64_t n);
  // q_c = weight_c (a t_c + b): dx_c = g (Q exp(x_c - lse) - q_c) with Q = sum q;
  // dt_c = g a weight_c (lse - x_c) where dt is not null
  void (*soft_backward)(T* dx, T* dt, const T* x, const T* t, const T* weight, T log, T g, T a, T b,
                        std::int64_t n);
};

PYFAST_KERNEL_TABLE(LossKernels, loss_kernels)

}  // namespace pyfast
