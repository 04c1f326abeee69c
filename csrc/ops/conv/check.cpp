#include "core/shape.h"
#include "ops/conv/conv.h"

namespace pyfast {

namespace {

void require_at_least(Where where, const Dims& values, std::int64_t least, const char* what) {
  for (const std::int64_t v : values.span())
    if (v < least) throw ValueError(concat(where, " must be ", what, ", got ", values));
}

void check_options(const ConvOptions& o) {
  require_at_least({o.op, "stride"}, o.stride, 1, "positive");
  require_at_least({o.op, "dilation"}, o.dilation, 1, "positive");
  require_at_least({o.op, "padding"}, o.padding, 0, "non-negative");
  require_at_least({o.op, "output_padding"}, o.output_padding, 0, "non-negative");
  if (o.groups < 1) throw ValueError(concat(o.op, ": groups must be positive, got ", o.groups));
  if (o.padding_mode.empty()) return;
  if (o.padding_mode != "same" && o.padding_mode != "valid")
    throw ValueError(
        concat(o.op, ": padding must be ints, 'same' or 'valid', got '", o.padding_mode, "'"));
  for (int i = 0; i < o.spatial; ++i)
    if (o.padding_mode == "same" && o.stride[i] != 1)
      throw ValueError(concat(o.op, ": padding 'same' needs stride 1, got ", o.stride));
}

// Ranks, dtypes and channel counts of input and weight.
void check_operands(const ConvOptions& o, const TensorView& input, const TensorView& weight) {
  require_floating({o.op, "input"}, input);
  if (input.rank() != o.spatial + 1 && input.rank() != o.spatial + 2)
    throw ValueError(concat(o.op, ": input must have ", o.spatial + 1, " or ", o.spatial + 2,
                            " dimensions, got shape ", input.shape));
  require_same_dtype({o.op, "weight"}, weight, "input", input);
  require_rank({o.op, "weight"}, weight, o.spatial + 2);
  const std::int64_t channels = input.shape[input.rank() - o.spatial - 1];
  const std::int64_t first = weight.shape[0], second = weight.shape[1];
  const std::int64_t wanted = o.transposed ? first : checked_mul(o.op, second, o.groups);
  if (channels != wanted)
    throw ValueError(concat(o.op, ": input must have ", wanted, " channels for weight of shape ",
                            weight.shape, " and groups ", o.groups, ", got ", channels));
  if (first == 0 || first % o.groups != 0 || (o.transposed && second == 0))
    throw ValueError(concat(o.op, ": groups must divide the channels of weight, got groups ",
                            o.groups, " and shape ", weight.shape));
}

// The kernel's reach with its dilation.
std::int64_t reach(const char* op, std::int64_t kernel, std::int64_t dilation) {
  return checked_add(op, checked_mul(op, kernel - 1, dilation), 1);
}

void require_length(const char* op, std::int64_t padded) {
  if (padded > kLongestAxis)
    throw ValueError(concat(op, ": padding must keep every axis within ", kLongestAxis,
                            " elements, got ", padded));
}

void set_maps(const ConvOptions& o, ConvAxis& axis) {
  const std::int64_t span = reach(o.op, axis.kernel, axis.dilation);
  const std::int64_t padded = checked_add(o.op, axis.image, checked_mul(o.op, axis.padding, 2));
  const bool same = o.padding_mode == "same";
  if (padded < span && !same)
    throw ValueError(concat(o.op, ": kernel must fit into the padded input, got ", span,
                            " (dilated) for ", padded));
  require_length(o.op, padded);
  axis.maps = same ? axis.image : (padded - span) / axis.stride + 1;
  axis.shorten_steps(padded);
}

void set_image(const ConvOptions& o, ConvAxis& axis, std::int64_t extra) {
  const std::int64_t body =
      checked_add(o.op, checked_mul(o.op, axis.maps - 1, axis.stride),
                  checked_add(o.op, reach(o.op, axis.kernel, axis.dilation), extra));
  const std::int64_t extent = body - checked_mul(o.op, axis.padding, 2);
  if (extent < 1)
    throw ValueError(
        concat(o.op, ": padding must leave an output, got an output size of ", extent));
  require_length(o.op, body);
  axis.image = extent;
  axis.shorten_steps(body);
}

// One spatial axis: `size` is the input's extent along it.
ConvAxis make_axis(const ConvOptions& o, int i, std::int64_t size, std::int64_t kernel) {
  if (size < 1) throw ValueError(concat(o.op, ": input must not be empty, got size ", size));
  if (kernel < 1)
    throw ValueError(concat(o.op, ": kernel size in weight must be positive, got ", kernel));
  ConvAxis axis{size, size, kernel, o.stride[i], o.dilation[i], 0};
  if (o.padding_mode.empty()) axis.padding = o.padding[i];
  if (o.padding_mode == "same") axis.padding = (reach(o.op, kernel, axis.dilation) - 1) / 2;
  if (!o.transposed) {
    set_maps(o, axis);
    return axis;
  }
  const std::int64_t extra = o.output_padding[i];
  if (extra >= axis.stride && extra >= axis.dilation)
    throw ValueError(concat(o.op, ": output_padding must be smaller than stride or dilation, got ",
                            o.output_padding));
  set_image(o, axis, extra);
  return axis;
}

ConvGeometry make_geometry(const ConvOptions& o, const TensorView& input,
                           const TensorView& weight) {
  ConvGeometry g{};
  const int lead = input.rank() - o.spatial;
  g.batch = lead == 2 ? input.shape[0] : 1;
  g.groups = o.groups;
  g.channels = weight.shape[1];
  g.maps = weight.shape[0] / o.groups;
  g.y = {1, 1, 1, 1, 1, 0};
  for (int i = 0; i < o.spatial; ++i)
    (i == o.spatial - 1 ? g.x : g.y) = make_axis(o, i, input.shape[lead + i], weight.shape[2 + i]);
  checked_mul(o.op, g.y.maps, g.x.maps);
  checked_mul(o.op, g.y.image, g.x.image);
  return g;
}

}  // namespace

ConvParams check_convolution(const ConvOptions& o, const TensorView& input,
                             const TensorView& weight, const TensorView& bias) {
  check_options(o);
  check_operands(o, input, weight);
  ConvParams p{o.transposed, o.spatial, make_geometry(o, input, weight), o.activation, {}};
  const ConvGeometry& g = p.geometry;
  if (bias.defined) {
    require_same_dtype({o.op, "bias"}, bias, "input", input);
    require_shape({o.op, "bias"}, bias, Dims{p.output_channels()});
  }
  if (input.rank() == o.spatial + 2) p.output_shape.push_back(g.batch);
  p.output_shape.push_back(p.output_channels());
  if (o.spatial == 2) p.output_shape.push_back(o.transposed ? g.y.image : g.y.maps);
  p.output_shape.push_back(o.transposed ? g.x.image : g.x.maps);
  checked_numel(o.op, p.output_shape);
  return p;
}

void check_packed_weight(const TensorView& weight, std::int64_t groups) {
  constexpr const char* op = "PackedConvWeight";
  require_floating({op, "weight"}, weight);
  if (weight.rank() < 3 || weight.rank() > 4)
    throw ValueError(concat(op, ": weight must have 3 or 4 dimensions, got ", weight.rank()));
  if (groups < 1 || weight.shape[0] % groups != 0)
    throw ValueError(concat(op, ": groups must divide the weight's output channels, got ", groups,
                            " for ", weight.shape[0]));
}

ConvParams check_convolution_packed(const ConvOptions& o, const TensorView& input,
                                    const PackedConvWeight& weight, const TensorView& bias,
                                    const TensorView& residual) {
  ConvParams p = check_convolution(o, input, weight.weight(), bias);
  if (!residual.defined) return p;
  require_same_dtype({o.op, "residual"}, residual, "input", input);
  require_shape({o.op, "residual"}, residual, p.output_shape);
  return p;
}

ConvParams check_convolution_backward(const ConvOptions& o, const TensorView& grad,
                                      const TensorView& input, const TensorView& weight,
                                      const TensorView& saved) {
  const ConvParams p = check_convolution(o, input, weight, TensorView());
  require_same_dtype({o.op, "grad"}, grad, "input", input);
  require_shape({o.op, "grad"}, grad, p.output_shape);
  if (o.activation == Activation::none) return p;
  if (!saved.defined) throw TypeError(concat(o.op, ": saved must be given with an activation"));
  require_same_dtype({o.op, "saved"}, saved, "input", input);
  require_shape({o.op, "saved"}, saved, p.output_shape);
  return p;
}

}  // namespace pyfast
