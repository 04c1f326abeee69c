#include "cuda/core/call.h"
#include "cuda/hopper/device.h"
#include "cuda/ops/attention/attention.h"
#include "cuda/ops/attention/attention_sm90a.h"
#include "ops/attention/arguments.h"

namespace pyfast::cuda {

namespace {

constexpr const char* kForward = "scaled_dot_product_attention";
constexpr const char* kBackward = "scaled_dot_product_attention_backward";

// What forward and backward are both called with: read where it lies, whatever the strides.
struct Operands {
  Input query, key, value, mask;

  Operands(Call& call, py::handle q, py::handle k, py::handle v, py::handle attn_mask)
      : query(call, q, "query", Kind::floating, false),
        key(call, k, "key", Kind::floating, false),
        value(call, v, "value", Kind::floating, false),
        mask(Input::optional(call, attn_mask, "attn_mask", Kind::mask, false)) {}
  AttentionInputs inputs() const { return {query, key, value, mask}; }
};

// Classifies the squares of the masks into workspace that must live as long as the call.
Output classified(const Call& call, AttentionPlan& plan) {
  const std::int64_t size = plan.squares.size();
  Output covers = Output::optional(size > 0, call, DType::u8, {size});
  if (size == 0) return covers;
  auto* squares = covers.view().as<std::uint8_t>();
  plan.problem.squares = squares;
  run(call, attention_classify, plan, squares);
  return covers;
}

// By the kernels of sm_90a where they run and take this call, else by the portable ones.
void run_forward(const Call& call, const AttentionPlan& plan, const TensorView& output,
                 const AttentionRows& rows) {
#if defined(PYFAST_SM90A)
  if (hopper_kernels_run(call.device())) {
    const auto how = hopper_forward<CUtensorMap>(plan, processors(call.device()));
    if (how) return run(call, attention_forward_sm90a, plan, *how, output, rows);
  }
#endif
  const Output parts =
      Output::optional(plan.cut.splits > 1, call, DType::f32,
                       {plan.cut.splits, rows.max.numel(), plan.problem.value_width + 2});
  run(call, attention_forward, plan, output, rows, parts.view());
}

py::tuple forward(py::handle framework, py::handle query, py::handle key, py::handle value,
                  py::handle attn_mask, py::handle dropout_p, bool is_causal, py::handle scale,
                  bool enable_gqa, std::uint64_t seed, std::uint64_t offset,
                  py::handle window_size) {
  Call call(kForward, framework);
  AttentionSettings settings(kForward, dropout_p, is_causal, scale, enable_gqa, seed, offset,
                             window_size);
  const Operands operands(call, query, key, value, attn_mask);
  const AttentionInputs inputs = operands.inputs();
  const AttentionLayout layout = check_attention(inputs, settings.params, settings.scale_given);
  AttentionPlan plan = attention_plan(kForward, settings.params, layout, inputs);
  const Output output(call, plan.dtype, layout.output_shape());
  const Output max(call, DType::f32, layout.row_shape());
  const Output sum(call, DType::f32, layout.row_shape());
  if (max.view().numel() > 0) {
    const Output covers = classified(call, plan);
    run_forward(call, plan, output, {max, sum});
  }
  return py::make_tuple(output.object(), max.object(), sum.object());
}

py::tuple backward(py::handle framework, py::handle grad, py::handle query, py::handle key,
                   py::handle value, py::handle attn_mask, py::handle output, py::handle row_max,
                   py::handle row_sum, py::handle dropout_p, bool is_causal, py::handle scale,
                   bool enable_gqa, std::uint64_t seed, std::uint64_t offset, bool need_query,
                   bool need_key, bool need_value, bool need_mask, py::handle window_size) {
  Call call(kBackward, framework);
  AttentionSettings settings(kBackward, dropout_p, is_causal, scale, enable_gqa, seed, offset,
                             window_size);
  const Operands operands(call, query, key, value, attn_mask);
  const AttentionInputs inputs = operands.inputs();
  const Input g(call, grad, "grad"), y(call, output, "output");
  const Input max(call, row_max, "row_max"), sum(call, row_sum, "row_sum");
  const AttentionRows rows{max, sum};
  const AttentionLayout layout = check_backward(kBackward, inputs, g, y, rows, settings.params,
                                                settings.scale_given, need_mask);
  AttentionPlan plan = attention_plan(kBackward, settings.params, layout, inputs);
  const auto gradient = [&call](bool needed, const TensorView& x) {
    return Output::optional(needed, call, x.dtype, x.shape);
  };
  const Output dq = gradient(need_query, inputs.query), dk = gradient(need_key, inputs.key);
  const Output dv = gradient(need_value, inputs.value), dm = gradient(need_mask, inputs.mask);
  const BackwardTargets to = backward_targets(kBackward, settings.params, layout, {dq, dk, dv, dm});
  const Output covers = classified(call, plan);
  const Output dots(call, DType::f32, layout.row_shape());
  run(call, attention_backward, plan, g.view(), y.view(), rows, dots.view(), to);
  return py::make_tuple(dq.object(), dk.object(), dv.object(), dm.object());
}

}  // namespace

void register_attention(py::module_& m) {
  m.def(kForward, &forward);
  m.def(kBackward, &backward);
}

}  // namespace pyfast::cuda
