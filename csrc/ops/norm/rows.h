// Normalisation of contiguous rows with weights along them: layer_norm, rms_norm, and group_norm of
// (samples, channels). Instantiated for float and double in rows.cpp.
#pragma once

#include <cstdint>

namespace pyfast {

// samples x groups rows of `length` values; the weights of group i begin at i * length.
struct Rows {
  std::int64_t samples, groups, length;
  bool rms;
  std::int64_t count() const { return samples * groups; }
  std::int64_t width() const { return groups * length; }  // of a sample
};

// w and b may be null; mean and var (one per row) too, where nobody asks for them. No empty rows.
template <class T>
void rows_forward(const Rows& rows, double eps, T* y, const T* x, const T* w, const T* b,
                  double* mean, double* var);
// Writes dx, and dw and db (`width` values) where they are not null.
template <class T>
void rows_backward(const Rows& rows, double eps, T* dx, const T* g, const T* x, const T* w,
                   const double* mean, const double* var, T* dw, T* db);

}  // namespace pyfast
