#include "core/shape.h"
#include "ops/unfold/unfold.h"

namespace pyfast {

namespace {

void require_at_least(Where where, const Dims& values, std::int64_t least, const char* what) {
  for (const std::int64_t v : values.span())
    if (v < least) throw ValueError(concat(where, " must be ", what, ", got ", values));
}

// A batch axis may be missing; it may be empty, the other axes may not.
void check_input(const UnfoldOptions& o, const TensorView& input, int rank) {
  require_floating({o.op, "input"}, input);
  if (input.rank() != rank && input.rank() != rank - 1)
    throw ValueError(concat(o.op, ": input must have ", rank - 1, " or ", rank,
                            " dimensions, got shape ", input.shape));
  for (int i = input.rank() - rank + 1; i < input.rank(); ++i)
    if (input.shape[i] == 0)
      throw ValueError(concat(o.op, ": input must not be empty, got shape ", input.shape));
}

ConvAxis make_axis(const UnfoldOptions& o, int i, std::int64_t image) {
  ConvAxis axis{image, 0, o.kernel_size[i], o.stride[i], o.dilation[i], o.padding[i]};
  const std::int64_t reach =
      checked_add(o.op, checked_mul(o.op, axis.kernel - 1, axis.dilation), 1);
  const std::int64_t padded = checked_add(o.op, image, checked_mul(o.op, axis.padding, 2));
  if (padded < reach)
    throw ValueError(concat(o.op, ": kernel_size must fit into the padded image, got ", reach,
                            " (dilated) for ", padded));
  if (padded > kLongestAxis)
    throw ValueError(concat(o.op, ": padding must keep every axis within ", kLongestAxis,
                            " elements, got ", padded));
  axis.maps = (padded - reach) / axis.stride + 1;
  axis.shorten_steps(padded);
  return axis;
}

UnfoldParams make_params(const UnfoldOptions& o, const TensorView& input, int rank,
                         std::int64_t height, std::int64_t width) {
  require_at_least({o.op, "kernel_size"}, o.kernel_size, 1, "positive");
  require_at_least({o.op, "dilation"}, o.dilation, 1, "positive");
  require_at_least({o.op, "padding"}, o.padding, 0, "non-negative");
  require_at_least({o.op, "stride"}, o.stride, 1, "positive");
  UnfoldParams p{};
  p.batch = input.rank() == rank ? input.shape[0] : 1;
  p.channels = input.shape[input.rank() - rank + 1];
  p.y = make_axis(o, 0, height);
  p.x = make_axis(o, 1, width);
  checked_mul(o.op, p.y.maps, p.x.maps);
  checked_mul(o.op, p.y.kernel, p.x.kernel);
  if (input.rank() == rank) p.output_shape.push_back(p.batch);
  return p;
}

}  // namespace

UnfoldParams check_unfold(const UnfoldOptions& o, const TensorView& input) {
  check_input(o, input, 4);
  const int last = input.rank() - 1;
  UnfoldParams p = make_params(o, input, 4, input.shape[last - 1], input.shape[last]);
  p.output_shape.push_back(checked_mul(o.op, p.channels, p.taps()));
  p.output_shape.push_back(p.blocks());
  checked_numel(o.op, p.output_shape);
  return p;
}

UnfoldParams check_fold(const UnfoldOptions& o, const TensorView& input, const Dims& output_size) {
  check_input(o, input, 3);
  require_at_least({o.op, "output_size"}, output_size, 1, "positive");
  UnfoldParams p = make_params(o, input, 3, output_size[0], output_size[1]);
  const int last = input.rank() - 1;
  if (p.channels % p.taps() != 0)
    throw ValueError(concat(o.op, ": input must have a multiple of ", p.taps(),
                            " rows for kernel_size ", o.kernel_size, ", got ", p.channels));
  if (input.shape[last] != p.blocks())
    throw ValueError(concat(o.op, ": input must have ", p.blocks(), " columns for output_size ",
                            output_size, ", got ", input.shape[last]));
  p.channels /= p.taps();
  p.output_shape.push_back(p.channels);
  p.output_shape.push_back(p.y.image);
  p.output_shape.push_back(p.x.image);
  checked_numel(o.op, p.output_shape);
  return p;
}

}  // namespace pyfast
