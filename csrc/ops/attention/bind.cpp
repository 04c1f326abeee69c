#include "core/python.h"
#include "ops/attention/arguments.h"
#include "ops/attention/register.h"

namespace pyfast {

namespace {

// What forward and backward are both called with.
struct Call : AttentionSettings {
  Input query, key, value, mask;

  Call(const char* op, py::handle q, py::handle k, py::handle v, py::handle attn_mask,
       py::handle dropout_p, bool is_causal, py::handle scale, bool enable_gqa, std::uint64_t seed,
       std::uint64_t offset, py::handle window_size)
      : AttentionSettings(op, dropout_p, is_causal, scale, enable_gqa, seed, offset, window_size),
        query(q, {op, "query"}),
        key(k, {op, "key"}),
        value(v, {op, "value"}),
        mask(Input::optional(attn_mask, {op, "attn_mask"}, Kind::mask)) {}
  AttentionInputs inputs() const { return {query, key, value, mask}; }
};

py::tuple forward(py::handle query, py::handle key, py::handle value, py::handle attn_mask,
                  py::handle dropout_p, bool is_causal, py::handle scale, bool enable_gqa,
                  std::uint64_t seed, std::uint64_t offset, py::handle window_size) {
  const char* op = "scaled_dot_product_attention";
  Call call(op, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, offset,
            window_size);
  const AttentionInputs inputs = call.inputs();
  const AttentionLayout layout = check_attention(inputs, call.params, call.scale_given);
  const Output output(op, inputs.query.dtype, layout.output_shape());
  const Output row_max(op, inputs.query.dtype, layout.row_shape());
  const Output row_sum(op, inputs.query.dtype, layout.row_shape());
  run(attention_forward, reference::attention_forward, call.params, layout, inputs, output.view(),
      AttentionRows{row_max.view(), row_sum.view()});
  return py::make_tuple(output.object(), row_max.object(), row_sum.object());
}

py::tuple backward(py::handle grad, py::handle query, py::handle key, py::handle value,
                   py::handle attn_mask, py::handle output, py::handle row_max, py::handle row_sum,
                   py::handle dropout_p, bool is_causal, py::handle scale, bool enable_gqa,
                   std::uint64_t seed, std::uint64_t offset, bool need_query, bool need_key,
                   bool need_value, bool need_mask, py::handle window_size) {
  const char* op = "scaled_dot_product_attention_backward";
  Call call(op, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, seed, offset,
            window_size);
  const AttentionInputs inputs = call.inputs();
  const Input g(grad, {op, "grad"}), y(output, {op, "output"});
  const Input top(row_max, {op, "row_max"}), sum(row_sum, {op, "row_sum"});
  const AttentionRows rows{top, sum};
  const AttentionLayout layout =
      check_attention_backward(inputs, g, y, rows, call.params, call.scale_given, need_mask);
  const auto gradient = [op](bool needed, const TensorView& x) {
    return Output::optional(needed, op, x.dtype, x.shape);
  };
  const Output dq = gradient(need_query, inputs.query), dk = gradient(need_key, inputs.key);
  const Output dv = gradient(need_value, inputs.value), dm = gradient(need_mask, inputs.mask);
  const AttentionGradients gradients{dq, dk, dv, dm};
  run(attention_backward, reference::attention_backward, call.params, layout, inputs, g.view(),
      y.view(), rows, gradients);
  return py::make_tuple(dq.object(), dk.object(), dv.object(), dm.object());
}

}  // namespace

void register_attention(py::module_& m) {
  using py::arg;
  m.def("scaled_dot_product_attention", &forward, arg("query"), arg("key"), arg("value"),
        arg("attn_mask") = py::none(), arg("dropout_p") = 0.0, arg("is_causal") = false,
        arg("scale") = py::none(), arg("enable_gqa") = false, arg("seed") = 0, arg("offset") = 0,
        arg("window_size") = py::none());
  m.def("scaled_dot_product_attention_backward", &backward, arg("grad"), arg("query"), arg("key"),
        arg("value"), arg("attn_mask"), arg("output"), arg("row_max"), arg("row_sum"),
        arg("dropout_p"), arg("is_causal"), arg("scale"), arg("enable_gqa"), arg("seed"),
        arg("offset"), arg("need_query"), arg("need_key"), arg("need_value"), arg("need_mask"),
        arg("window_size") = py::none());
  register_heads_attention(m);
}

}  // namespace pyfast
