// Forward: a row's statistics and its output while it is in cache; rows longer than the cache in
// two passes. Backward: a few rows at a time, small enough for L1, so that the pass that writes
// grad_input and adds up the weights' gradient finds there what the sums have just read.
#include "ops/norm/rows.h"

#include <algorithm>
#include <cmath>

#include "ops/norm/origin.h"
#include "ops/norm/planes.h"

namespace pyfast {

namespace {

constexpr std::int64_t kWholeRow = 65536;    // elements; longer rows are cut
constexpr std::int64_t kSharedWidth = 8192;  // wider samples have no partial sums of their weights

template <class T>
RowStatistics<T> statistics_of(double mean, double var, double eps) {
  const T origin = origin_of<T>(mean, var);
  const double rest = std::isfinite(mean) ? mean - double{origin} : 0;
  const double invstd = 1 / std::sqrt(var + eps);
  // zero where there is nothing to shift, also by an infinite invstd
  return {origin, static_cast<T>(invstd), static_cast<T>(rest == 0 ? 0 : -rest * invstd)};
}

template <class T>
const T* offset(const T* p, std::int64_t n) {
  return p ? p + n : nullptr;
}

template <class T>
MomentsOf<T> moments_of(const Rows& rows) {
  return rows.rms ? norm_moment_kernels<T>().square_moments : norm_moment_kernels<T>().moments;
}

// Rows of a few vectors, kShortRows at a time.
template <class T>
void narrow_rows_forward(const Rows& rows, double eps, T* y, const T* x, const T* w, const T* b,
                         double* mean, double* var) {
  const std::int64_t n = rows.length;
  const auto moments = moments_of<T>(rows);
  const auto& kernels = norm_row_kernels<T>();
  parallel_for(rows.count(), grain_for(3 * n + 8), [&](std::int64_t begin, std::int64_t end) {
    double own_mean[kShortRows], own_var[kShortRows];
    for (std::int64_t r = begin; r < end; r += kShortRows) {
      const std::int64_t count = std::min<std::int64_t>(kShortRows, end - r);
      kernels.short_moments(x + r * n, count, n, rows.rms, own_mean, own_var);
      for (std::int64_t i = 0; i < count; ++i) {
        if (std::isfinite(own_var[i])) continue;
        const Moments m = moments(x + (r + i) * n, 1, 0, n);
        own_mean[i] = m.mean;
        own_var[i] = m.m2 / m.count;
      }
      if (mean) {
        std::copy_n(own_mean, count, mean + r);
        std::copy_n(own_var, count, var + r);
      }
      kernels.short_forward(y + r * n, x + r * n, count, n, w, b, own_mean, own_var, eps);
    }
  });
}

template <class T>
void short_rows_forward(const Rows& rows, double eps, T* y, const T* x, const T* w, const T* b,
                        double* mean, double* var) {
  const std::int64_t n = rows.length;
  const auto moments = moments_of<T>(rows);
  const auto forward = norm_row_kernels<T>().forward;
  parallel_for(rows.count(), grain_for(3 * n + 32), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const Moments m = moments(x + r * n, 1, 0, n);
      const double v = m.m2 / m.count;
      if (mean) {
        mean[r] = m.mean;
        var[r] = v;
      }
      const std::int64_t at = r % rows.groups * n;
      forward(y + r * n, x + r * n, n, offset(w, at), offset(b, at),
              statistics_of<T>(m.mean, v, eps));
    }
  });
}

template <class T>
void long_rows_forward(const Rows& rows, double eps, T* y, const T* x, const T* w, const T* b,
                       double* mean, double* var) {
  const Workspace<double> own(mean ? 0 : 2 * rows.count());
  if (!mean) {
    mean = own.data();
    var = mean + rows.count();
  }
  plane_statistics(moments_of<T>(rows), x, 1, rows.count(), rows.length, mean, var);
  const auto forward = norm_row_kernels<T>().forward;
  for_each_plane(rows.count(), rows.length, 1, 2,
                 [&](std::int64_t r, std::int64_t at, std::int64_t, std::int64_t n) {
                   const std::int64_t column = at - r / rows.groups * rows.width();
                   forward(y + at, x + at, n, offset(w, column), offset(b, column),
                           statistics_of<T>(mean[r], var[r], eps));
                 });
}

// What the parts of rows_backward share.
template <class T>
struct Backward {
  const Rows& rows;
  double eps;
  T* dx;
  const T *g, *x, *w;
  const double *mean, *var;
  const Workspace<RowStatistics<T>>& statistics;
  const RowKernels<T>& kernels = norm_row_kernels<T>();

  // What grad_input of one row needs (Ba, Kiros and Hinton 2016, section 3, differentiated).
  RowGradient<T> gradient(std::int64_t r) const {
    const std::int64_t at = r * rows.length;
    const RowStatistics<T> s = statistics_of<T>(mean[r], var[r], eps);
    double sums[2];
    kernels.sums(g + at, x + at, rows.length, offset(w, r % rows.groups * rows.length), s, dx + at,
                 sums);
    const double n = static_cast<double>(rows.length), invstd = 1 / std::sqrt(var[r] + eps);
    // the kernel's xhat have the rounding of invstd in common
    const double mean_gx = sums[1] / n * (invstd / double{s.invstd});
    const double rest = rows.rms ? 0 : (double{s.origin} - mean[r]) * invstd;
    const double constant = rows.rms ? 0 : sums[0] / n + rest * mean_gx;
    return {s, static_cast<T>(invstd * mean_gx), static_cast<T>(constant)};
  }
  void input(std::int64_t first_sample, std::int64_t samples) const {
    const std::int64_t n = rows.length;
    for (std::int64_t r = first_sample * rows.groups; r < (first_sample + samples) * rows.groups;
         ++r) {
      const RowGradient<T> to = gradient(r);
      statistics[r] = to.statistics;
      kernels.backward(dx + r * n, g + r * n, x + r * n, n, offset(w, r % rows.groups * n), to);
    }
  }
  // The same for at most kRowsTogether samples, whose rows are still in L1 when the gradient of
  // the weights takes its part: dw and db += theirs.
  void together(std::int64_t first_sample, std::int64_t samples, T* dw, T* db) const {
    const std::int64_t n = rows.length;
    RowGradient<T> to[kRowsTogether];
    for (std::int64_t group = 0; group < rows.groups; ++group) {
      for (std::int64_t i = 0; i < samples; ++i)
        to[i] = gradient((first_sample + i) * rows.groups + group);
      const std::int64_t at = first_sample * rows.width() + group * n;
      kernels.backward_together(dx + at, g + at, x + at, samples, rows.width(), n,
                                offset(w, group * n), to, dw + group * n, db + group * n);
    }
  }
  // dw += and db += over these samples, of columns [begin, begin + n) of one group.
  void weights(std::int64_t first_sample, std::int64_t samples, std::int64_t group,
               std::int64_t begin, std::int64_t n, double* dw, double* db) const {
    const std::int64_t at = first_sample * rows.width() + group * rows.length + begin;
    kernels.affine_gradient(g + at, x + at, samples, rows.width(), n,
                            statistics.data() + first_sample * rows.groups + group, rows.groups, dw,
                            db);
  }
};

template <class T>
void input_alone(const Backward<T>& b) {
  const std::int64_t cost = 4 * b.rows.width() + 32 * b.rows.groups;
  parallel_for(b.rows.samples, grain_for(cost),
               [&](std::int64_t begin, std::int64_t end) { b.input(begin, end - begin); });
}

template <class T>
void narrow_to(T* to, const double* from, std::int64_t n) {
  if (!to) return;
  for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i]);
}

// Narrow samples: partial sums per block of samples, added in order; in T over kSteps samples.
template <class T>
void input_and_weights(const Backward<T>& b, T* dw, T* db) {
  constexpr std::int64_t kSteps = 64;
  const Rows& rows = b.rows;
  const std::int64_t width = rows.width();
  const RowBlocks blocks(rows.samples, kRowsTogether);
  const Workspace<double> partial(blocks.count() * 2 * width);
  blocks.for_each(6 * width, [&](std::int64_t item, std::int64_t first, std::int64_t count) {
    const Workspace<T> sums(2 * width);
    double* totals = partial.data() + item * 2 * width;
    std::fill(totals, totals + 2 * width, 0.0);
    for (std::int64_t start = first; start < first + count; start += kSteps) {
      const std::int64_t end = std::min(start + kSteps, first + count);
      std::fill(sums.data(), sums.data() + 2 * width, T{0});
      for (std::int64_t i = start; i < end; i += kRowsTogether)
        b.together(i, std::min<std::int64_t>(end - i, kRowsTogether), sums.data(),
                   sums.data() + width);
      b.kernels.widen_add(totals, sums.data(), 2 * width);
    }
  });
  parallel_for(2 * width, grain_for(blocks.count()), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = 1; item < blocks.count(); ++item)
      for (std::int64_t c = begin; c < end; ++c) partial[c] += partial[item * 2 * width + c];
  });
  narrow_to(dw, partial.data(), width);
  narrow_to(db, partial.data() + width, width);
}

// Wide samples: every tile of columns walks over all samples.
template <class T>
void weights_alone(const Backward<T>& b, T* dw, T* db) {
  constexpr std::int64_t kTile = 256;  // columns
  constexpr std::int64_t kSteps = 64;  // samples summed in T
  const Rows& rows = b.rows;
  const std::int64_t tiles = ceil_div(rows.length, kTile);
  parallel_for(rows.groups * tiles, grain_for(kTile * rows.samples * 2),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   double sums[2 * kTile] = {};
                   const std::int64_t group = i / tiles, column = i % tiles * kTile;
                   const std::int64_t left = rows.length - column, n = left < kTile ? left : kTile;
                   for (std::int64_t s = 0; s < rows.samples; s += kSteps)
                     b.weights(s, rows.samples - s < kSteps ? rows.samples - s : kSteps, group,
                               column, n, sums, sums + kTile);
                   const std::int64_t at = group * rows.length + column;
                   narrow_to(dw ? dw + at : nullptr, sums, n);
                   narrow_to(db ? db + at : nullptr, sums + kTile, n);
                 }
               });
}

}  // namespace

template <class T>
void rows_forward(const Rows& rows, double eps, T* y, const T* x, const T* w, const T* b,
                  double* mean, double* var) {
  if (rows.groups == 1 && rows.length <= norm_row_kernels<T>().short_row)
    narrow_rows_forward(rows, eps, y, x, w, b, mean, var);
  else if (rows.length <= kWholeRow)
    short_rows_forward(rows, eps, y, x, w, b, mean, var);
  else
    long_rows_forward(rows, eps, y, x, w, b, mean, var);
}

template <class T>
void rows_backward(const Rows& rows, double eps, T* dx, const T* g, const T* x, const T* w,
                   const double* mean, const double* var, T* dw, T* db) {
  const bool weights = dw || db, narrow = rows.width() <= kSharedWidth;
  const Workspace<RowStatistics<T>> statistics(weights && narrow ? 0 : rows.count());
  const Backward<T> b{rows, eps, dx, g, x, w, mean, var, statistics};
  if (weights && narrow) return input_and_weights(b, dw, db);
  input_alone(b);
  if (weights) weights_alone(b, dw, db);
}

template void rows_forward(const Rows&, double, float*, const float*, const float*, const float*,
                           double*, double*);
template void rows_forward(const Rows&, double, double*, const double*, const double*,
                           const double*, double*, double*);
template void rows_backward(const Rows&, double, float*, const float*, const float*, const float*,
                            const double*, const double*, float*, float*);
template void rows_backward(const Rows&, double, double*, const double*, const double*,
                            const double*, const double*, const double*, double*, double*);

}  // namespace pyfast
