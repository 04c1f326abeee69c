// An array of shape (..., n) seen as one matrix with n columns.
#pragma once

#include <cstdint>
#include <optional>

#include "core/copy.h"
#include "core/tensor.h"
#include "gemm/gemm.h"

namespace pyfast::gemm {

// The distance between rows of axes [0, last) of `view`, when they are evenly spaced.
inline std::optional<std::int64_t> even_row_stride(const TensorView& view, int last) {
  std::int64_t stride = 0, next = 0;  // of a row; at which the axis to the left must step
  bool found = false;
  for (int i = last - 1; i >= 0; --i) {
    if (view.shape[i] == 1) continue;
    if (found && view.strides[i] != next) return std::nullopt;
    if (!found) stride = view.strides[i];
    found = true;
    next = view.strides[i] * view.shape[i];
  }
  return stride;
}

// In place when its rows are evenly spaced, else through a packed copy that lives as long as this.
template <class T>
class Rows {
 public:
  explicit Rows(const TensorView& view) : Rows(view, even_row_stride(view, view.rank() - 1)) {}
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  const Matrix<T>& matrix() const { return matrix_; }
  Matrix<T> transposed() const { return {matrix_.data, matrix_.col_stride, matrix_.row_stride}; }

 private:
  Rows(const TensorView& view, std::optional<std::int64_t> stride)
      : rows_(1), cols_(view.shape.back()), copy_(stride ? 0 : view.numel()) {
    const int last = view.rank() - 1;
    for (int i = 0; i < last; ++i) rows_ *= view.shape[i];
    if (stride) {
      matrix_ = {view.as<T>(), *stride, view.strides[last]};
      return;
    }
    copy_contiguous(copy_.data(), view);
    matrix_ = {copy_.data(), cols_, 1};
  }

  std::int64_t rows_, cols_;
  Matrix<T> matrix_;
  Workspace<T> copy_;
};

}  // namespace pyfast::gemm
