// unfold (im2col) and fold (col2im): each is the other's gradient.
//
//   columns[n, (c, ky, kx), (y, x)] = image[n, c, y stride + ky dilation - padding, ...]
//
// unfold reads the image; fold adds every column entry to the pixel it came from.
#pragma once

#include "ops/conv/conv.h"

namespace pyfast {

struct UnfoldOptions {
  const char* op;
  Dims kernel_size, dilation, padding, stride;  // (y, x) each
};

struct UnfoldParams {
  std::int64_t batch, channels;
  ConvAxis y, x;  // its maps are the blocks
  Dims output_shape;
  std::int64_t taps() const { return y.kernel * x.kernel; }
  std::int64_t blocks() const { return y.maps * x.maps; }
};

UnfoldParams check_unfold(const UnfoldOptions& options, const TensorView& input);
UnfoldParams check_fold(const UnfoldOptions& options, const TensorView& input,
                        const Dims& output_size);

// Writes columns, C-contiguous. Its gradient is fold.
void unfold_forward(const UnfoldParams& params, const TensorView& image, const TensorView& columns);
// Writes image, C-contiguous. Its gradient is unfold.
void fold_forward(const UnfoldParams& params, const TensorView& columns, const TensorView& image);

namespace reference {
void unfold_forward(const UnfoldParams& params, const TensorView& image, const TensorView& columns);
void fold_forward(const UnfoldParams& params, const TensorView& columns, const TensorView& image);
}  // namespace reference

}  // namespace pyfast
