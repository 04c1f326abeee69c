#include "ops/pool/pool.h"

namespace pyfast {

namespace {

// Images, channels and the input sizes; rows are one element high in one dimension.
PoolParams plane_params(const char* op, int spatial, const Dims& shape) {
  const int rank = shape.rank();
  if (rank != spatial + 1 && rank != spatial + 2)
    throw ValueError(concat(op, ": input must have ", spatial + 1, " or ", spatial + 2,
                            " dimensions, got shape ", shape));
  checked_numel(op, shape);
  PoolParams params;
  params.op = op;
  params.spatial = spatial;
  params.images = rank == spatial + 2 ? shape[0] : 1;
  params.channels = shape[rank - spatial - 1];
  params.rows.in = spatial == 2 ? shape[rank - 2] : 1;
  params.cols.in = shape[rank - 1];
  if (params.rows.in == 0 || params.cols.in == 0)
    throw ValueError(concat(op, ": input must not be empty but for its batch, got shape ", shape));
  return params;
}

void set_output_shape(PoolParams& params, int spatial, const Dims& shape) {
  params.output_shape = shape;
  params.output_shape[shape.rank() - 1] = params.cols.out;
  if (spatial == 2) params.output_shape[shape.rank() - 2] = params.rows.out;
  checked_numel(params.op, params.output_shape);
}

void require_each(const char* op, const char* argument, const Dims& values, std::int64_t least) {
  for (int i = 0; i < values.rank(); ++i)
    if (values[i] < least)
      throw ValueError(concat(op, ": ", argument,
                              least > 0 ? " must be positive, got " : " must not be negative, got ",
                              values));
}

void require_windows(const char* op, const PoolWindowSizes& sizes) {
  require_each(op, "kernel_size", sizes.kernel, 1);
  require_each(op, "stride", sizes.stride, 1);
  require_each(op, "padding", sizes.padding, 0);
  require_each(op, "dilation", sizes.dilation, 1);
  for (int i = 0; i < sizes.kernel.rank(); ++i)
    if (sizes.padding[i] > sizes.kernel[i] / 2)
      throw ValueError(concat(op, ": padding must be at most half of kernel_size ", sizes.kernel,
                              ", got ", sizes.padding));
}

// A dilated window may straddle an input shorter than its dilation and hold padding only. It must
// begin in the left padding for that, and few do: padding is at most half of the kernel.
void require_taps(const char* op, const PoolAxis& axis) {
  if (axis.in >= axis.dilation) return;
  for (std::int64_t o = 0; o < axis.out && o * axis.stride < axis.padding; ++o)
    if (window_at(axis, o).count <= 0)
      throw ValueError(concat(op, ": dilation ", axis.dilation, " leaves window ", o,
                              " no element of an input of size ", axis.in));
}

void set_inner(PoolAxis& axis) {
  const std::int64_t room = axis.in + axis.padding - axis.span();
  axis.inner_end = room < 0 ? 0 : room / axis.stride + 1;
  if (axis.inner_end > axis.out) axis.inner_end = axis.out;
  axis.inner_begin = axis.padding / axis.stride + (axis.padding % axis.stride != 0);
  if (axis.inner_begin > axis.inner_end) axis.inner_begin = axis.inner_end;
}

void set_windows(const char* op, PoolAxis& axis, const PoolWindowSizes& sizes, int i) {
  axis.kernel = sizes.kernel[i];
  axis.stride = sizes.stride[i];
  axis.padding = sizes.padding[i];
  axis.dilation = sizes.dilation[i];
  const std::int64_t span = checked_add(op, checked_mul(op, axis.kernel - 1, axis.dilation), 1);
  const std::int64_t padded = checked_add(op, axis.in, checked_mul(op, axis.padding, 2));
  const std::int64_t room = padded - span;
  const std::int64_t rounding = sizes.ceil_mode ? axis.stride - 1 : 0;
  axis.out =
      room < 0 && room + rounding < 0 ? 0 : checked_add(op, room, rounding) / axis.stride + 1;
  // ceil_mode: the last window must begin in the input or its left padding
  if (sizes.ceil_mode && checked_mul(op, axis.out - 1, axis.stride) >= axis.in + axis.padding)
    --axis.out;
  if (axis.out < 1)
    throw ValueError(concat(op, ": kernel_size ", axis.kernel, " (dilation ", axis.dilation,
                            ") is larger than the padded input of size ", padded));
  require_taps(op, axis);
  set_inner(axis);
}

PoolParams check_windows(const char* op, int spatial, const Dims& shape,
                         const PoolWindowSizes& sizes) {
  PoolParams params = plane_params(op, spatial, shape);
  if (params.channels == 0)
    throw ValueError(concat(op, ": input must not be empty but for its batch, got shape ", shape));
  require_windows(op, sizes);
  if (spatial == 2) set_windows(op, params.rows, sizes, 0);
  set_windows(op, params.cols, sizes, spatial - 1);
  set_output_shape(params, spatial, shape);
  return params;
}

void set_adaptive(const char* op, PoolAxis& axis, std::int64_t out) {
  axis.out = out == kAsInput ? axis.in : out;
  checked_mul(op, checked_add(op, axis.out, 1), checked_add(op, axis.in, 1));
  if (axis.out > 0 && axis.in % axis.out == 0) {  // equal windows side by side
    axis.kernel = axis.stride = axis.in / axis.out;
    axis.inner_end = axis.out;
    return;
  }
  axis.adaptive = true;
  axis.kernel = axis.out > 0 ? axis.in / axis.out + 2 : 1;
  axis.inner_end = 0;
}

}  // namespace

ImageStrides image_strides(const PoolParams& params, const TensorView& input) {
  const int last = input.rank() - 1, spatial = params.spatial;
  return {last > spatial ? input.strides[0] : 0, input.strides[last - spatial],
          spatial == 2 ? input.strides[last - 1] : 0, input.strides[last]};
}

PoolParams check_max_pool(const char* op, int spatial, const Dims& shape,
                          const PoolWindowSizes& sizes) {
  return check_windows(op, spatial, shape, sizes);
}

PoolParams check_avg_pool(const char* op, int spatial, const Dims& shape,
                          const PoolWindowSizes& sizes, bool count_include_pad,
                          const std::int64_t* divisor_override) {
  PoolParams params = check_windows(op, spatial, shape, sizes);
  params.count_include_pad = count_include_pad;
  if (divisor_override && *divisor_override == 0)
    throw ValueError(concat(op, ": divisor_override must not be zero, got 0"));
  params.divisor_override = divisor_override ? *divisor_override : 0;
  return params;
}

PoolParams check_adaptive_pool(const char* op, int spatial, const Dims& shape,
                               const Dims& output_size) {
  PoolParams params = plane_params(op, spatial, shape);
  for (int i = 0; i < spatial; ++i)
    if (output_size[i] < 0 && output_size[i] != kAsInput)
      throw ValueError(concat(op, ": output_size must not be negative, got ", output_size));
  if (spatial == 2) set_adaptive(op, params.rows, output_size[0]);
  set_adaptive(op, params.cols, output_size[spatial - 1]);
  set_output_shape(params, spatial, shape);
  return params;
}

void check_pool_backward(const PoolParams& params, const TensorView& grad) {
  require_floating({params.op, "grad"}, grad);
  require_shape({params.op, "grad"}, grad, params.output_shape);
}

PoolParams check_max_pool_backward(const char* op, int spatial, const TensorView& grad,
                                   const TensorView& indices, const Dims& input_shape) {
  PoolParams params = plane_params(op, spatial, input_shape);
  require_floating({op, "grad"}, grad);
  require_shape({op, "indices"}, indices, grad.shape);
  if (grad.rank() != input_shape.rank())
    throw ValueError(
        concat(op, ": grad must have ", input_shape.rank(), " dimensions, got shape ", grad.shape));
  params.cols.out = grad.shape.back();
  if (spatial == 2) params.rows.out = grad.shape[grad.rank() - 2];
  set_output_shape(params, spatial, input_shape);
  require_shape({op, "grad"}, grad, params.output_shape);
  return params;
}

bool has_taps(const PoolParams& params) {
  const PoolAxis &rows = params.rows, &cols = params.cols;
  return !rows.adaptive && !cols.adaptive && rows.kernel <= kMostTaps && cols.kernel <= kMostTaps &&
         rows.kernel * cols.kernel <= kMostTaps;
}

void check_max_pool_taps(const PoolParams& params, const TensorView& grad, const TensorView& taps) {
  check_pool_backward(params, grad);
  require_shape({params.op, "taps"}, taps, params.output_shape);
  if (!has_taps(params))
    throw ValueError(concat(params.op, ": kernel_size must have at most ", kMostTaps,
                            " elements, got ", params.rows.kernel, " x ", params.cols.kernel));
}

std::int64_t position_of_tap(const PoolParams& params, std::int64_t row, std::int64_t col,
                             std::int64_t tap) {
  const PoolAxis &rows = params.rows, &cols = params.cols;
  const std::int64_t r = row * rows.stride - rows.padding + tap / cols.kernel * rows.dilation;
  const std::int64_t c = col * cols.stride - cols.padding + tap % cols.kernel * cols.dilation;
  if (r < 0 || r >= rows.in || c < 0 || c >= cols.in)
    throw IndexError(concat(params.op, ": taps must not lie in the padding, got ", tap,
                            " for output (", row, ", ", col, ")"));
  return r * cols.in + c;
}

std::vector<PoolTapCheck::Range> PoolTapCheck::border(const PoolAxis& axis) {
  std::vector<Range> ranges;
  for (std::int64_t o = 0; o < axis.out; ++o) {
    if (o == axis.inner_begin && axis.inner_begin < axis.inner_end) o = axis.inner_end;
    if (o == axis.out) break;
    const PoolWindow inside = window_at(axis, o);
    const std::int64_t first = (inside.first - o * axis.stride + axis.padding) / axis.dilation;
    ranges.push_back({o, first, first + inside.count - 1});
  }
  return ranges;
}

PoolTapCheck::PoolTapCheck(const PoolParams& params)
    : params_(params), rows_(border(params.rows)), cols_(border(params.cols)) {
  for (std::size_t tap = 0; tap < column_.size(); ++tap)
    column_[tap] = static_cast<std::uint8_t>(static_cast<std::int64_t>(tap) % params.cols.kernel);
}

void PoolTapCheck::operator()(const std::uint8_t* taps) const {
  const PoolAxis &rows = params_.rows, &cols = params_.cols;
  const std::int64_t most = rows.kernel * cols.kernel - 1;
  std::uint8_t largest = 0;
  for (std::int64_t i = 0; i < params_.output_plane(); ++i)
    largest = taps[i] > largest ? taps[i] : largest;
  if (largest > most)
    throw IndexError(
        concat(params_.op, ": taps must be in [0, ", most + 1, "), got ", int{largest}));
  bool inside = true;
  for (const Range& row : rows_) {
    const std::uint8_t* of_row = taps + row.output * cols.out;
    const std::int64_t least = row.first * cols.kernel, end = (row.last + 1) * cols.kernel;
    for (std::int64_t col = 0; col < cols.out; ++col)
      inside &= of_row[col] >= least && of_row[col] < end;
  }
  for (const Range& col : cols_)
    for (std::int64_t row = 0; row < rows.out; ++row)
      inside &= col.holds(column_[taps[row * cols.out + col.output]]);
  for (std::int64_t i = 0; !inside && i < params_.output_plane(); ++i)  // which one?
    position_of_tap(params_, i / cols.out, i % cols.out, taps[i]);
}

void check_pool_indices(const char* op, const std::int64_t* indices, std::int64_t n,
                        std::int64_t plane) {
  bool inside = true;
  for (std::int64_t i = 0; i < n; ++i)
    inside &= static_cast<std::uint64_t>(indices[i]) < static_cast<std::uint64_t>(plane);
  for (std::int64_t i = 0; !inside && i < n; ++i)
    if (indices[i] < 0 || indices[i] >= plane)
      throw IndexError(concat(op, ": indices must be in [0, ", plane, "), got ", indices[i]));
}

}  // namespace pyfast
