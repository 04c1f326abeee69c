#include <algorithm>
#include <cmath>
#include <string>

#include "core/shape.h"
#include "ops/attention/attention.h"

namespace pyfast {

namespace {

constexpr const char* kForward = "scaled_dot_product_attention";
constexpr const char* kBackward = "scaled_dot_product_attention_backward";

Dims lead_of(const TensorView& x) {
  return Dims(x.shape.span().first(static_cast<std::size_t>(x.rank() - 2)));
}

Dims with(Dims lead, std::int64_t rows, std::int64_t columns) {
  lead.push_back(rows);
  lead.push_back(columns);
  return lead;
}

void check_matrices(const char* op, const AttentionInputs& in) {
  require_floating({op, "query"}, in.query);
  require_min_rank({op, "query"}, in.query, 2);
  require_same_dtype({op, "key"}, in.key, "query", in.query);
  require_min_rank({op, "key"}, in.key, 2);
  require_same_dtype({op, "value"}, in.value, "query", in.query);
  require_min_rank({op, "value"}, in.value, 2);
  if (in.key.shape.back() != in.query.shape.back())
    throw ValueError(concat(op, ": key must have the last dimension of query (",
                            in.query.shape.back(), "), got shape ", in.key.shape));
  const std::int64_t keys = in.key.shape[in.key.rank() - 2];
  if (in.value.shape[in.value.rank() - 2] != keys)
    throw ValueError(concat(op, ": value must have as many rows as key (", keys, "), got shape ",
                            in.value.shape));
}

void check_params(const char* op, const AttentionInputs& in, const AttentionParams& params) {
  if (!(params.dropout_p >= 0 && params.dropout_p <= 1))
    throw ValueError(concat(op, ": dropout_p must be in [0, 1], got ", params.dropout_p));
  if (!std::isfinite(params.scale))
    throw ValueError(concat(op, ": scale must be finite, got ", params.scale));
  if (params.window_left < 0 || params.window_right < 0)
    throw ValueError(concat(op, ": window_size must hold numbers >= -1, got (", params.window_left,
                            ", ", params.window_right, ")"));
  if (!in.mask.defined) return;
  if (params.is_causal)
    throw ValueError(
        concat(op, ": attn_mask must be None when is_causal is True, got shape ", in.mask.shape));
  if (in.mask.dtype != DType::b8)
    require_same_dtype({op, "attn_mask, unless bool,"}, in.mask, "query", in.query);
}

// Query heads per head of key and value.
std::int64_t heads_per_group(const char* op, const AttentionInputs& in) {
  require_min_rank({op, "query (with enable_gqa)"}, in.query, 3);
  require_min_rank({op, "key (with enable_gqa)"}, in.key, 3);
  require_min_rank({op, "value (with enable_gqa)"}, in.value, 3);
  const std::int64_t heads = in.query.shape[in.query.rank() - 3];
  const std::int64_t groups = in.key.shape[in.key.rank() - 3];
  if (in.value.shape[in.value.rank() - 3] != groups)
    throw ValueError(concat(op, ": value must have the heads of key (", groups, "), got shape ",
                            in.value.shape));
  if (groups == 0 || heads % groups != 0)
    throw ValueError(concat(op, ": key heads must divide query heads (", heads, "), got ", groups));
  return heads / groups;
}

// Extends `shape` so that `lead` broadcasts to it.
void broadcast_into(const char* op, const char* argument, const Dims& lead, Dims& shape) {
  Dims result;
  const int rank = std::max(shape.rank(), lead.rank());
  for (int i = 0; i < rank; ++i) {
    const int a = i - (rank - shape.rank()), b = i - (rank - lead.rank());
    const std::int64_t m = a < 0 ? 1 : shape[a], n = b < 0 ? 1 : lead[b];
    if (m != n && m != 1 && n != 1)
      throw ValueError(concat(op, ": leading dimensions of ", argument,
                              " must broadcast with those of query ", shape, ", got ", lead));
    result.push_back(m == 1 ? n : m);
  }
  shape = result;
}

// Where the head axis of a batch is split for grouped queries: strides (s) become (s * inner, s).
Dims split_heads(const Dims& strides, std::int64_t inner) {
  Dims split(strides.span());
  const std::int64_t last = strides.back();
  split[split.rank() - 1] = last * inner;
  split.push_back(last);
  return split;
}

// Strides of one operand along the batch, its last two axes left off.
Dims batch_strides(Where where, const TensorView& x, const Dims& lead, std::int64_t group,
                   bool shared) {
  Dims shape = lead;
  if (shared && group) shape[shape.rank() - 1] /= group;
  const Dims all = broadcast_strides(where, x, with(shape, x.shape[x.rank() - 2], x.shape.back()));
  Dims strides(all.span().first(static_cast<std::size_t>(lead.rank())));
  if (!group) return strides;
  if (!shared) return split_heads(strides, group);
  strides.push_back(0);
  return strides;
}

// Strides of the operands that are defined; `group` is 0 without enable_gqa.
void lay_out(const char* op, const AttentionInputs& in, std::int64_t group, AttentionLayout& a) {
  if (in.query.defined) a.query = batch_strides({op, "query"}, in.query, a.lead, group, false);
  if (in.key.defined) a.key = batch_strides({op, "key"}, in.key, a.lead, group, true);
  if (in.value.defined) a.value = batch_strides({op, "value"}, in.value, a.lead, group, true);
  if (!in.mask.defined) return;
  const Dims all = broadcast_strides({op, "attn_mask"}, in.mask, with(a.lead, a.queries, a.keys));
  a.mask_row = all[all.rank() - 2];
  a.mask_column = all.back();
  const Dims strides(all.span().first(static_cast<std::size_t>(a.lead.rank())));
  a.mask = group ? split_heads(strides, group) : strides;
}

std::int64_t group_of(const AttentionLayout& a, const AttentionParams& params) {
  return params.enable_gqa ? a.batch.back() : 0;
}

AttentionLayout check(const char* op, const AttentionInputs& in, AttentionParams& params,
                      bool scale_given) {
  check_matrices(op, in);
  AttentionLayout a;
  a.queries = in.query.shape[in.query.rank() - 2];
  a.keys = in.key.shape[in.key.rank() - 2];
  a.width = in.query.shape.back();
  a.value_width = in.value.shape.back();
  if (!scale_given) params.scale = a.width ? 1 / std::sqrt(static_cast<double>(a.width)) : 1;
  check_params(op, in, params);
  const std::int64_t group = params.enable_gqa ? heads_per_group(op, in) : 0;
  Dims key_lead = lead_of(in.key), value_lead = lead_of(in.value);
  if (group) {
    key_lead[key_lead.rank() - 1] *= group;
    value_lead[value_lead.rank() - 1] *= group;
  }
  a.lead = lead_of(in.query);
  broadcast_into(op, "key", key_lead, a.lead);
  broadcast_into(op, "value", value_lead, a.lead);
  if (a.lead.rank() + 3 > kMaxRank)
    throw ValueError(concat(op, ": query must have at most ", kMaxRank - 1, " dimensions, got ",
                            a.lead.rank() + 2));
  checked_numel(op, a.output_shape());
  checked_numel(op, with(a.lead, a.queries, a.keys));
  a.batch = a.lead;
  if (group) {
    a.batch[a.batch.rank() - 1] /= group;
    a.batch.push_back(group);
  }
  lay_out(op, in, group, a);
  return a;
}

}  // namespace

Dims AttentionLayout::output_shape() const { return with(lead, queries, value_width); }

Dims AttentionLayout::row_shape() const {
  Dims shape = lead;
  shape.push_back(queries);
  return shape;
}

Dims AttentionLayout::output_strides(const TensorView& output) const {
  const std::int64_t group = batch.rank() > lead.rank() ? batch.back() : 0;
  return batch_strides({kForward, "output"}, output, lead, group, false);
}

AttentionLayout check_attention(const AttentionInputs& inputs, AttentionParams& params,
                                bool scale_given) {
  return check(kForward, inputs, params, scale_given);
}

AttentionLayout check_attention_backward(const AttentionInputs& inputs, const TensorView& grad,
                                         const TensorView& output, const AttentionRows& rows,
                                         AttentionParams& params, bool scale_given,
                                         bool mask_gradient) {
  const AttentionLayout layout = check(kBackward, inputs, params, scale_given);
  const struct {
    const char* name;
    const TensorView& view;
    Dims shape;
  } operands[] = {{"grad", grad, layout.output_shape()},
                  {"output", output, layout.output_shape()},
                  {"row_max", rows.max, layout.row_shape()},
                  {"row_sum", rows.sum, layout.row_shape()}};
  for (const auto& [name, view, shape] : operands) {
    require_same_dtype({kBackward, name}, view, "query", inputs.query);
    require_shape({kBackward, name}, view, shape);
  }
  if (mask_gradient && (!inputs.mask.defined || !is_floating(inputs.mask.dtype)))
    throw ValueError(concat(kBackward, ": attn_mask must be floating to have a gradient, got ",
                            inputs.mask.defined ? name(inputs.mask.dtype) : "None"));
  return layout;
}

AttentionLayout gradient_layout(const AttentionLayout& layout, const AttentionParams& params,
                                const AttentionGradients& gradients) {
  AttentionLayout a = layout;
  lay_out(kBackward, {gradients.query, gradients.key, gradients.value, gradients.mask},
          group_of(layout, params), a);
  return a;
}

}  // namespace pyfast
