#include <pybind11/stl.h>

#include <array>

#include "core/shape.h"
#include "cuda/core/call.h"
#include "cuda/hopper/device.h"
#include "cuda/ops/attention/attention.h"
#include "cuda/ops/attention/attention_sm90a.h"
#include "ops/attention/arguments.h"

namespace pyfast::cuda {

namespace {

constexpr const char* kForward = "scaled_dot_product_attention";
constexpr const char* kBackward = "scaled_dot_product_attention_backward";
constexpr const char* kVarlen = "varlen_attn";
constexpr const char* kVarlenBackward = "varlen_attn_backward";

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

// Of packed sequences: what each row sees, in workspace that must live as long as the call.
struct Packed {
  Output of_queries, of_keys;

  // `starts` of the sequences among queries and keys: None and None where they are not packed.
  Packed(Call& call, const py::tuple& starts, AttentionPlan& plan, bool both)
      : Packed(call, starts, plan.problem, starts.size() == 2, both) {
    if (starts.size() != 2) return;
    const Input q(call, starts[0], "cu_seq_q", Kind::index);
    const Input k(call, starts[1], "cu_seq_k", Kind::index);
    check_starts(call.op(), q, k);
    const auto ranges = [](const Output& x) { return static_cast<RowRange*>(x.view().data); };
    const PackedRanges to{ranges(of_queries), both ? ranges(of_keys) : nullptr};
    run(call, attention_ranges, plan, q.view(), k.view(), to);
    plan.problem.key_ranges = to.of_queries;
    plan.problem.query_ranges = to.of_keys;
  }

 private:
  static constexpr auto kBytes = static_cast<std::int64_t>(sizeof(RowRange));
  Packed(const Call& call, const py::tuple&, const AttentionProblem& p, bool packed, bool both)
      : of_queries(Output::optional(packed, call, DType::u8, {p.queries * kBytes})),
        of_keys(Output::optional(packed && both, call, DType::u8, {p.keys * kBytes})) {}
};

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

py::tuple run_forward(Call& call, AttentionSettings settings, const Operands& operands,
                      const py::tuple& starts) {
  const AttentionInputs inputs = operands.inputs();
  const AttentionLayout layout = check_attention(inputs, settings.params, settings.scale_given);
  AttentionPlan plan = attention_plan(call.op(), settings.params, layout, inputs);
  const Output output(call, plan.dtype, layout.output_shape());
  const Output max(call, DType::f32, layout.row_shape());
  const Output sum(call, DType::f32, layout.row_shape());
  if (max.view().numel() > 0) {
    const Output covers = classified(call, plan);
    const Packed packed(call, starts, plan, false);
    run_forward(call, plan, output, {max, sum});
  }
  return py::make_tuple(output.object(), max.object(), sum.object());
}

// The gradients that are defined; rows have been found to fit.
void launch_backward(const Call& call, const AttentionPlan& plan, const TensorView& grad,
                     const TensorView& output, const AttentionRows& rows,
                     const BackwardTargets& to) {
#if defined(PYFAST_SM90A)
  if (hopper_kernels_run(call.device())) {
    const auto how = hopper_backward<CUtensorMap>(plan, grad, to, processors(call.device()));
    if (how) {
      const Output terms(call, DType::f32,
                         {plan.problem.batch, padded_rows(plan.problem.queries), 2});
      return run(call, attention_backward_sm90a, plan, *how, grad, output, rows, terms.view(), to);
    }
  }
#endif
  const Output dots(call, DType::f32, {rows.max.numel()});
  run(call, attention_backward, plan, grad, output, rows, dots.view(), to);
}

// What forward left, and the gradient of its output.
struct Saved {
  Input grad, output, max, sum;
  Saved(Call& call, py::handle g, py::handle y, py::handle row_max, py::handle row_sum)
      : grad(call, g, "grad"),
        output(call, y, "output"),
        max(call, row_max, "row_max"),
        sum(call, row_sum, "row_sum") {}
};

// `needs` of query, key, value and mask.
py::tuple run_backward(Call& call, AttentionSettings settings, const Operands& operands,
                       const Saved& saved, const std::array<bool, 4>& needs,
                       const py::tuple& starts) {
  const AttentionInputs inputs = operands.inputs();
  const Input &g = saved.grad, &y = saved.output;
  const AttentionRows rows{saved.max, saved.sum};
  const AttentionLayout layout = check_backward(call.op(), inputs, g, y, rows, settings.params,
                                                settings.scale_given, needs[3]);
  AttentionPlan plan = attention_plan(call.op(), settings.params, layout, inputs);
  const auto gradient = [&call](bool needed, const TensorView& x) {
    return Output::optional(needed, call, x.dtype, x.shape);
  };
  const Output dq = gradient(needs[0], inputs.query), dk = gradient(needs[1], inputs.key);
  const Output dv = gradient(needs[2], inputs.value), dm = gradient(needs[3], inputs.mask);
  const BackwardTargets to = backward_targets(call.op(), settings.params, layout, {dq, dk, dv, dm});
  const Output covers = classified(call, plan);
  const Packed packed(call, starts, plan, true);
  launch_backward(call, plan, g.view(), y.view(), rows, to);
  return py::make_tuple(dq.object(), dk.object(), dv.object(), dm.object());
}

py::tuple forward(py::handle framework, py::handle query, py::handle key, py::handle value,
                  py::handle attn_mask, py::handle dropout_p, bool is_causal, py::handle scale,
                  bool enable_gqa, std::uint64_t seed, std::uint64_t offset,
                  py::handle window_size) {
  Call call(kForward, framework);
  const AttentionSettings settings(kForward, dropout_p, is_causal, scale, enable_gqa, seed, offset,
                                   window_size);
  return run_forward(call, settings, Operands(call, query, key, value, attn_mask), py::tuple());
}

py::tuple backward(py::handle framework, py::handle grad, py::handle query, py::handle key,
                   py::handle value, py::handle attn_mask, py::handle output, py::handle row_max,
                   py::handle row_sum, py::handle dropout_p, bool is_causal, py::handle scale,
                   bool enable_gqa, std::uint64_t seed, std::uint64_t offset, bool need_query,
                   bool need_key, bool need_value, bool need_mask, py::handle window_size) {
  Call call(kBackward, framework);
  const AttentionSettings settings(kBackward, dropout_p, is_causal, scale, enable_gqa, seed, offset,
                                   window_size);
  const Operands operands(call, query, key, value, attn_mask);
  const Saved saved(call, grad, output, row_max, row_sum);
  return run_backward(call, settings, operands, saved,
                      {need_query, need_key, need_value, need_mask}, py::tuple());
}

// -- packed sequences: rows (sum of lengths, heads, features), which the kernels see heads first

py::object heads_first(py::handle rows) { return rows.attr("swapaxes")(0, 1); }
py::object rows_first(const py::object& x) { return x.is_none() ? x : heads_first(x); }

AttentionSettings varlen_settings(const char* op, py::handle scale, py::handle window_size,
                                  bool enable_gqa) {
  return {op, py::float_(0.0), false, scale, enable_gqa, 0, 0, window_size};
}

// (output, row_max, row_sum); the latter heads first.
py::tuple varlen(py::handle framework, py::handle query, py::handle key, py::handle value,
                 py::handle cu_seq_q, py::handle cu_seq_k, py::handle scale, py::handle window_size,
                 bool enable_gqa) {
  Call call(kVarlen, framework);
  const Operands operands(call, heads_first(query), heads_first(key), heads_first(value),
                          py::none());
  require_same_dtype({kVarlen, "key"}, operands.key, "query", operands.query);
  require_same_dtype({kVarlen, "value"}, operands.value, "query", operands.query);
  const py::tuple found =
      run_forward(call, varlen_settings(kVarlen, scale, window_size, enable_gqa), operands,
                  py::make_tuple(cu_seq_q, cu_seq_k));
  return py::make_tuple(rows_first(found[0]), found[1], found[2]);
}

py::tuple varlen_backward(py::handle framework, py::handle grad, py::handle query, py::handle key,
                          py::handle value, py::handle cu_seq_q, py::handle cu_seq_k,
                          py::handle output, py::handle row_max, py::handle row_sum,
                          py::handle scale, py::handle window_size, bool enable_gqa,
                          const std::array<bool, 3>& needs) {
  const char* op = kVarlenBackward;
  Call call(op, framework);
  const Operands operands(call, heads_first(query), heads_first(key), heads_first(value),
                          py::none());
  const Saved saved(call, heads_first(grad), heads_first(output), row_max, row_sum);
  const py::tuple found =
      run_backward(call, varlen_settings(op, scale, window_size, enable_gqa), operands, saved,
                   {needs[0], needs[1], needs[2], false}, py::make_tuple(cu_seq_q, cu_seq_k));
  return py::make_tuple(rows_first(found[0]), rows_first(found[1]), rows_first(found[2]));
}

}  // namespace

void register_attention(py::module_& m) {
  m.def(kForward, &forward);
  m.def(kBackward, &backward);
  m.def(kVarlen, &varlen);
  m.def(kVarlenBackward, &varlen_backward);
}

}  // namespace pyfast::cuda
