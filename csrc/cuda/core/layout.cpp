#include "cuda/core/layout.h"

namespace pyfast::cuda {

bool channels_last(const TensorView& x) {
  if (x.rank() == 2) return true;
  std::int64_t step = x.shape[1];
  if (x.strides[1] != 1 && x.shape[1] != 1) return false;
  for (int i = x.rank() - 1; i >= 2; --i) {
    if (x.shape[i] != 1 && x.strides[i] != step) return false;
    step *= x.shape[i];
  }
  return (x.shape[0] == 1 || x.strides[0] == step) && !x.contiguous();
}

}  // namespace pyfast::cuda
