// Max and average pooling in one and two dimensions, fixed or adaptive windows.
//
// One-dimensional pooling is two-dimensional pooling of images with one row.
#pragma once

#include <array>
#include <vector>

#include "core/shape.h"
#include "core/tensor.h"
#include "ops/pool/axis.h"

namespace pyfast {

// What the caller asked for; entries are (height, width), or (length) in one dimension.
struct PoolWindowSizes {
  Dims kernel, stride, padding, dilation;
  bool ceil_mode = false;
};

struct PoolParams {
  const char* op;
  int spatial;                    // 1 or 2
  std::int64_t images, channels;  // images = 1 for an unbatched input
  PoolAxis rows, cols;
  Dims output_shape;
  // averages only
  bool count_include_pad = false;
  std::int64_t divisor_override = 0;  // 0: none

  std::int64_t planes() const { return images * channels; }
  std::int64_t input_plane() const { return rows.in * cols.in; }
  std::int64_t output_plane() const { return rows.out * cols.out; }
};

// Strides of an input seen as [images, channels, rows, cols].
struct ImageStrides {
  std::int64_t image, channel, row, col;
};
ImageStrides image_strides(const PoolParams& params, const TensorView& input);

// Validates an input shape and its windows; spatial is 1 or 2. Max pooling has spatial + 1
// dimensions unbatched, spatial + 2 batched; so have the others.
PoolParams check_max_pool(const char* op, int spatial, const Dims& shape,
                          const PoolWindowSizes& sizes);
PoolParams check_avg_pool(const char* op, int spatial, const Dims& shape,
                          const PoolWindowSizes& sizes, bool count_include_pad,
                          const std::int64_t* divisor_override);
// output_size: spatial entries; kAsInput keeps the input's size along that axis.
inline constexpr std::int64_t kAsInput = INT64_MIN;
PoolParams check_adaptive_pool(const char* op, int spatial, const Dims& shape,
                               const Dims& output_size);
void check_pool_backward(const PoolParams& params, const TensorView& grad);
// For indices that name an element of their plane: grad and indices agree with each other and,
// in their leading axes, with the input.
PoolParams check_max_pool_backward(const char* op, int spatial, const TensorView& grad,
                                   const TensorView& indices, const Dims& input_shape);
// IndexError unless all n indices lie in [0, plane).
void check_pool_indices(const char* op, const std::int64_t* indices, std::int64_t n,
                        std::int64_t plane);

// Most taps of a window that a byte can number, as max_pool_forward's uint8 indices do.
inline constexpr std::int64_t kMostTaps = 255;
bool has_taps(const PoolParams& params);  // whether it does
// As check_max_pool_backward, for uint8 indices and the windows of the forward call.
void check_max_pool_taps(const PoolParams& params, const TensorView& grad, const TensorView& taps);
// PoolTapCheck(params)(taps): IndexError unless all taps of a plane belong to their window and lie
// in the image.
class PoolTapCheck {
 public:
  explicit PoolTapCheck(const PoolParams& params);
  void operator()(const std::uint8_t* taps) const;

 private:
  struct Range {  // of the window's taps along one axis, those inside the image
    std::int64_t output, first, last;
    bool holds(std::int64_t tap) const { return tap >= first && tap <= last; }
  };
  static std::vector<Range> border(const PoolAxis& axis);  // windows that are not wholly inside

  const PoolParams& params_;
  std::vector<Range> rows_, cols_;
  std::array<std::uint8_t, 256> column_;  // by tap
};
// The flat input position of a tap of output (row, col); IndexError where it is in the padding.
std::int64_t position_of_tap(const PoolParams& params, std::int64_t row, std::int64_t col,
                             std::int64_t tap);

// output = maximum over each window; NaN wins. indices (may be undefined) say where it is, the
// first of equal ones, the last NaN: int64, the flat position in its input plane; uint8, the tap
// r * kernel width + c of the window, padding counted (a backward pass needs no more than that, at
// an eighth of the memory). Writes both.
void max_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output,
                      const TensorView& indices);
// grad_input = sum of grad over the outputs whose index leads there, in a fixed order.
void max_pool_backward(const PoolParams& params, const TensorView& grad, const TensorView& indices,
                       const TensorView& grad_input);

// output = sum over each window / (divisor_override, or the elements counted).
void avg_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output);
// grad_input = sum over the windows an element lies in of grad / divisor. Writes grad_input.
void avg_pool_backward(const PoolParams& params, const TensorView& grad,
                       const TensorView& grad_input);

namespace reference {
void max_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output,
                      const TensorView& indices);
void max_pool_backward(const PoolParams& params, const TensorView& grad, const TensorView& indices,
                       const TensorView& grad_input);
void avg_pool_forward(const PoolParams& params, const TensorView& input, const TensorView& output);
void avg_pool_backward(const PoolParams& params, const TensorView& grad,
                       const TensorView& grad_input);
}  // namespace reference

}  // namespace pyfast
