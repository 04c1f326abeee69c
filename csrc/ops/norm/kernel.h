// Inner loops of the normalisations, by how the normalised values lie in memory:
//   moments  mean and variance of anything
//   planes   a channel's values are contiguous: NCHW images
//   columns  neighbouring channels are contiguous: (N, C) matrices and channels-last images
//   rows     statistics per contiguous row, weights along it: layer_norm and rms_norm
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/isa.h"

namespace pyfast {

// y = act((x - mean) scale + shift), one entry per plane or column. `mean` is the mean rounded to
// T; what the rounding left is part of shift.
template <class T>
struct Affine {
  const T *mean, *scale, *shift;
};

// dx = a dz + b (x - mean) + c, one entry per plane or column.
template <class T>
struct AffineGradient {
  const T *a, *b, *c;
};

// The mean and the summed squared deviations of some values.
struct Moments {
  double count, mean, m2;
};

// Moments of `segments` runs of `length` > 0 contiguous values, `stride` apart.
template <class T>
using MomentsOf = Moments (*)(const T* x, std::int64_t segments, std::int64_t stride,
                              std::int64_t length);

template <class T>
struct MomentKernels {
  MomentsOf<T> moments;
  MomentsOf<T> square_moments;  // about zero: mean is 0 and m2 the sum of squares
  // of every column of a matrix; writes mean and m2
  void (*column_moments)(const T* x, std::int64_t rows, std::int64_t row_stride, std::int64_t cols,
                         double* mean, double* m2);
};

template <class T>
struct PlaneKernels {
  // `segments` runs of `length` values, `stride` apart, of one channel: affine's first entry
  void (*forward_runs)(T* y, const T* x, std::int64_t segments, std::int64_t stride,
                       std::int64_t length, Affine<T> affine, Activation activation);
  void (*backward_runs)(T* dx, const T* g, const T* x, std::int64_t segments, std::int64_t stride,
                        std::int64_t length, Affine<T> affine, AffineGradient<T> gradient,
                        Activation activation);
  void (*forward)(T* y, const T* x, std::int64_t planes, std::int64_t length, Affine<T> affine,
                  Activation activation);
  // sums[0] = sum of dz = g act'(z), sums[1] = sum of dz (x - mean) over `segments` runs of one
  // channel, whose entry of affine comes first
  void (*sums)(const T* g, const T* x, std::int64_t segments, std::int64_t stride,
               std::int64_t length, Affine<T> affine, Activation activation, double* sums);
  void (*backward)(T* dx, const T* g, const T* x, std::int64_t planes, std::int64_t length,
                   Affine<T> affine, AffineGradient<T> gradient, Activation activation);
};

template <class T>
struct ColumnKernels {
  void (*forward)(T* y, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
                  Activation activation);
  // y[c][r] = act(...x[r][c]...): channels-last in, channels first out
  void (*forward_transposed)(T* y, std::int64_t y_stride, const T* x, std::int64_t x_stride,
                             std::int64_t rows, std::int64_t cols, Affine<T> affine,
                             Activation activation);
  // per column, written: sum of dz, then sum of dz (x - mean)
  void (*sums)(const T* g, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
               Activation activation, double* sum, double* weighted);
  void (*backward)(T* dx, const T* g, const T* x, std::int64_t rows, std::int64_t cols,
                   Affine<T> affine, AffineGradient<T> gradient, Activation activation);
};

// One row's statistics: xhat = (x - mean) invstd + shift. The mean is rounded to T, invstd is
// 1 / sqrt(var + eps), and shift what the rounding took from the mean, times -invstd.
template <class T>
struct RowStatistics {
  T mean, invstd, shift;
};

// What the gradient of a row needs to know of it: its statistics, and invstd times the means of g w
// and of g w xhat (the first is 0 for rms_norm).
template <class T>
struct RowGradient {
  RowStatistics<T> statistics;
  T mean_g, mean_gx;
};
inline constexpr int kRowsTogether = 4;

template <class T>
struct RowKernels {
  // y = xhat w + b; w and b may be null
  void (*forward)(T* y, const T* x, std::int64_t n, const T* w, const T* b, RowStatistics<T> s);
  // sums[0] = sum of g w, sums[1] = sum of g w xhat; dx, which will be written next, is only
  // fetched
  void (*sums)(const T* g, const T* x, std::int64_t n, const T* w, RowStatistics<T> s, const T* dx,
               double* sums);
  // dx = invstd g w - mean_g - xhat mean_gx
  void (*backward)(T* dx, const T* g, const T* x, std::int64_t n, const T* w, RowGradient<T> s);
  // The same for `rows` rows, at most kRowsTogether, stride apart, which also adds their part of
  // the weights' gradient: dw += g xhat, db += g.
  void (*backward_together)(T* dx, const T* g, const T* x, std::int64_t rows, std::int64_t stride,
                            std::int64_t n, const T* w, const RowGradient<T>* s, T* dw, T* db);
  void (*widen_add)(double* totals, const T* sums, std::int64_t n);  // totals += sums
  // dw += sum over rows of g xhat, db += sum over rows of g; s of row i is s[i s_stride]
  void (*affine_gradient)(const T* g, const T* x, std::int64_t rows, std::int64_t row_stride,
                          std::int64_t cols, const RowStatistics<T>* s, std::int64_t s_stride,
                          double* dw, double* db);
};

PYFAST_KERNEL_TABLE(MomentKernels, norm_moment_kernels)
PYFAST_KERNEL_TABLE(PlaneKernels, norm_plane_kernels)
PYFAST_KERNEL_TABLE(ColumnKernels, norm_column_kernels)
PYFAST_KERNEL_TABLE(RowKernels, norm_row_kernels)

}  // namespace pyfast
