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

// y = act((x - origin) scale + shift), one entry per plane or column. The origin is the mean,
// rounded to T, or 0 (origin.h); what of the mean it leaves is part of shift. scale_rest is what
// rounding took from the scale, which all values of an entry share. `centre` is the rounded mean.
template <class T>
struct Affine {
  const T *origin, *scale, *scale_rest, *shift, *centre;
};

// dx = unit ((a + a_rest) dz + b (x - origin) + c), one entry per plane or column.
template <class T>
struct AffineGradient {
  const T *unit, *a, *a_rest, *b, *c;
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
  // sums[0] = sum of dz = g act'(z), sums[1] = sum of dz (x - centre) over `segments` runs of one
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
  // per column, written: sum of dz, then sum of dz (x - centre)
  void (*sums)(const T* g, const T* x, std::int64_t rows, std::int64_t cols, Affine<T> affine,
               Activation activation, double* sum, double* weighted);
  void (*backward)(T* dx, const T* g, const T* x, std::int64_t rows, std::int64_t cols,
                   Affine<T> affine, AffineGradient<T> gradient, Activation activation);
};

// One row's statistics: xhat = (x - origin) invstd + shift, where invstd is 1 / sqrt(var + eps) and
// shift what the origin leaves of the mean, times -invstd.
template <class T>
struct RowStatistics {
  T origin, invstd, shift;
};

// A row's dx = invstd (g w - (x - origin) slope - offset), where slope and offset are those of xhat
// times the mean of g w xhat, and the mean of g w (0 for rms_norm). In a row of one value the
// offset is g w, and dx exactly 0.
template <class T>
struct RowGradient {
  RowStatistics<T> statistics;
  T slope, offset;
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
  // dx as RowGradient has it
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
  // `rows` rows of n <= short_row values, one after the other, at most kShortRows of them: their
  // statistics (about zero where rms: the mean is 0), var infinite or NaN where squares leave T's
  // range; mean and var have room for kShortRows.
  int short_row;
  void (*short_moments)(const T* x, std::int64_t rows, std::int64_t n, bool rms, double* mean,
                        double* var);
  // forward with these statistics
  void (*short_forward)(T* y, const T* x, std::int64_t rows, std::int64_t n, const T* w, const T* b,
                        const double* mean, const double* var, double eps);
};
inline constexpr int kShortRows = 64;

PYFAST_KERNEL_TABLE(MomentKernels, norm_moment_kernels)
PYFAST_KERNEL_TABLE(PlaneKernels, norm_plane_kernels)
PYFAST_KERNEL_TABLE(ColumnKernels, norm_column_kernels)
PYFAST_KERNEL_TABLE(RowKernels, norm_row_kernels)

}  // namespace pyfast
