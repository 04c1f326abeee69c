// Views with any strides brought into C order, for kernels that want rows.
#pragma once

#include <optional>

#include "core/memory.h"
#include "core/tensor.h"

namespace pyfast {

// dst[i...] = src[i...] in C order; dst holds src.numel() elements of src.dtype.
void copy_contiguous(void* dst, const TensorView& src);

// The data of `view` in C order: the view's own memory when it is contiguous already, else a
// packed copy that lives as long as this object.
template <class T>
class Contiguous {
 public:
  explicit Contiguous(const TensorView& view) : data_(view.as<T>()) {
    if (!view.defined || view.contiguous()) return;
    copy_.emplace(view.numel());
    copy_contiguous(copy_->data(), view);
    data_ = copy_->data();
  }
  const T* data() const { return data_; }

 private:
  const T* data_;  // null when the optional argument was None
  std::optional<Workspace<T>> copy_;
};

}  // namespace pyfast
