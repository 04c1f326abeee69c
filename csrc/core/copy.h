// Views with any strides brought into C order, for kernels that want rows.
#pragma once

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
  explicit Contiguous(const TensorView& view)
      : copy_(!view.defined || view.contiguous() ? Workspace<T>() : Workspace<T>(view.numel())),
        data_(copy_.data() ? copy_.data() : view.as<T>()) {
    if (copy_.data()) copy_contiguous(copy_.data(), view);
  }
  const T* data() const { return data_; }

 private:
  Workspace<T> copy_;
  const T* data_;  // null when the optional argument was None
};

}  // namespace pyfast
