// Attention on one array of projected heads, which are read where they lie.
#include "core/copy.h"
#include "core/memory.h"
#include "core/python.h"
#include "ops/attention/arguments.h"
#include "ops/attention/register.h"

namespace pyfast {

namespace {

// Heads first ... first + count of a projection, (N, L, heads D) or (L, N, heads D), as
// (N, count, L, D).
TensorView heads_of(const TensorView& x, std::int64_t first, std::int64_t count, std::int64_t width,
                    bool batch_first) {
  const std::int64_t step = x.strides[2], item = item_size(x.dtype);
  const int batch = batch_first ? 0 : 1, length = 1 - batch;
  char* data = static_cast<char*>(x.data) + first * width * step * item;
  return {data, x.dtype, Dims{x.shape[batch], count, x.shape[length], width},
          Dims{x.strides[batch], width * step, x.strides[length], step}};
}

// Heads first ... first + count of an array (N, heads, L, D).
TensorView part(const TensorView& x, std::int64_t first, std::int64_t count) {
  char* data = static_cast<char*>(x.data) + first * x.strides[1] * item_size(x.dtype);
  return {data, x.dtype, Dims{x.shape[0], count, x.shape[2], x.shape[3]}, x.strides};
}

// Heads (N, heads, L, D) as a projection. A head's gradient is summed in one piece, and all are
// brought to their places together: written piece by piece, 256 bytes every 6 KiB, they took four
// times as long.
void put_in_order(const TensorView& heads, bool batch_first, const TensorView& projection) {
  const Dims &n = heads.shape, &s = heads.strides;
  const int outer = batch_first ? 0 : 2, inner = 2 - outer;
  copy_contiguous(projection.data, {heads.data, heads.dtype, Dims{n[outer], n[inner], n[1], n[3]},
                                    Dims{s[outer], s[inner], s[1], s[3]}});
}

struct Call : AttentionSettings {
  Input projection, mask;
  std::int64_t heads, groups, width = 0;  // query heads, those of keys and values; of one head
  bool batch_first;

  Call(const char* op, py::handle x, std::int64_t query_heads, std::int64_t key_heads,
       bool is_batch_first, py::handle attn_mask, py::handle dropout_p, bool is_causal,
       std::uint64_t seed, std::uint64_t offset, py::handle window_size)
      : AttentionSettings(op, dropout_p, is_causal, py::none(), query_heads != key_heads, seed,
                          offset, window_size),
        projection(x, {op, "projection"}),
        mask(Input::optional(attn_mask, {op, "attn_mask"}, Kind::mask)),
        heads(query_heads),
        groups(key_heads),
        batch_first(is_batch_first) {
    require_rank({op, "projection"}, projection, 3);
    constexpr std::int64_t kMost = 1 << 20;
    if (heads < 1 || groups < 1 || heads > kMost || groups > kMost)
      throw ValueError(concat(op, ": heads and groups must be between 1 and ", kMost, ", got ",
                              heads, " and ", groups));
    const std::int64_t all = heads + 2 * groups;
    if (projection->shape[2] % all != 0)
      throw ValueError(concat(op, ": projection must have a width that ", all,
                              " heads divide, got shape ", projection->shape));
    width = projection->shape[2] / all;
  }

  // Queries, keys and values of an array shaped as the projection.
  AttentionInputs inputs(const TensorView& x) const {
    return {heads_of(x, 0, heads, width, batch_first),
            heads_of(x, heads, groups, width, batch_first),
            heads_of(x, heads + groups, groups, width, batch_first), mask};
  }
  Dims output_shape() const {
    return Dims{projection->shape[0], projection->shape[1], heads * width};
  }
  Dims heads_first_shape() const {
    const int batch = batch_first ? 0 : 1;
    return Dims{projection->shape[batch], heads + 2 * groups, projection->shape[1 - batch], width};
  }
  TensorView output_heads(const TensorView& x) const {
    return heads_of(x, 0, heads, width, batch_first);
  }
};

py::tuple forward(py::handle projection, std::int64_t heads, std::int64_t groups, bool batch_first,
                  py::handle attn_mask, py::handle dropout_p, bool is_causal, std::uint64_t seed,
                  std::uint64_t offset, py::handle window_size) {
  const char* op = "heads_attention";
  Call call(op, projection, heads, groups, batch_first, attn_mask, dropout_p, is_causal, seed,
            offset, window_size);
  const AttentionInputs inputs = call.inputs(call.projection);
  const AttentionLayout layout = check_attention(inputs, call.params, false);
  const Output output(op, inputs.query.dtype, call.output_shape());
  const Output row_max(op, inputs.query.dtype, layout.row_shape());
  const Output row_sum(op, inputs.query.dtype, layout.row_shape());
  run(attention_forward, reference::attention_forward, call.params, layout, inputs,
      call.output_heads(output), AttentionRows{row_max.view(), row_sum.view()});
  return py::make_tuple(output.object(), row_max.object(), row_sum.object());
}

py::tuple backward(py::handle grad, py::handle projection, py::handle attn_mask, py::handle output,
                   py::handle row_max, py::handle row_sum, std::int64_t heads, std::int64_t groups,
                   bool batch_first, py::handle dropout_p, bool is_causal, std::uint64_t seed,
                   std::uint64_t offset, py::handle window_size, bool need_mask) {
  const char* op = "heads_attention_backward";
  Call call(op, projection, heads, groups, batch_first, attn_mask, dropout_p, is_causal, seed,
            offset, window_size);
  const Input g(grad, {op, "grad"}), y(output, {op, "output"});
  require_shape({op, "grad"}, g, call.output_shape());
  require_shape({op, "output"}, y, call.output_shape());
  const Input top(row_max, {op, "row_max"}), sum(row_sum, {op, "row_sum"});
  const AttentionRows rows{top, sum};
  const AttentionInputs inputs = call.inputs(call.projection);
  const TensorView grads = call.output_heads(g), outputs = call.output_heads(y);
  const AttentionLayout layout =
      check_attention_backward(inputs, grads, outputs, rows, call.params, false, need_mask);
  const Output dx(op, call.projection->dtype, call.projection->shape);
  const Output dm = Output::optional(need_mask, op, call.projection->dtype, inputs.mask.shape);
  const Workspace<char> heads_first(dx.view().numel() * item_size(dx.view().dtype));
  const TensorView all(heads_first.data(), dx.view().dtype, call.heads_first_shape());
  const AttentionGradients to{part(all, 0, heads), part(all, heads, groups),
                              part(all, heads + groups, groups), dm};
  run(attention_backward, reference::attention_backward, call.params, layout, inputs, grads,
      outputs, rows, to);
  run(put_in_order, put_in_order, all, call.batch_first, dx.view());
  return py::make_tuple(dx.object(), dm.object());
}

}  // namespace

void register_heads_attention(py::module_& m) {
  using py::arg;
  m.def("heads_attention", &forward, arg("projection"), arg("heads"), arg("groups"),
        arg("batch_first"), arg("attn_mask") = py::none(), arg("dropout_p") = 0.0,
        arg("is_causal") = false, arg("seed") = 0, arg("offset") = 0,
        arg("window_size") = py::none());
  m.def("heads_attention_backward", &backward, arg("grad"), arg("projection"), arg("attn_mask"),
        arg("output"), arg("row_max"), arg("row_sum"), arg("heads"), arg("groups"),
        arg("batch_first"), arg("dropout_p"), arg("is_causal"), arg("seed"), arg("offset"),
        arg("window_size"), arg("need_mask"));
}

}  // namespace pyfast
