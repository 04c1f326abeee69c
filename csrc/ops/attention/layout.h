// From the layout of a call to the heads it consists of (baseline code only).
#pragma once

#include <algorithm>

#include "core/philox.h"
#include "ops/attention/attention.h"
#include "ops/attention/head.h"

namespace pyfast {

// Offset of batch element `index`, C order, under `strides`.
inline std::int64_t batch_offset(const Dims& batch, const Dims& strides, std::int64_t index) {
  std::int64_t offset = 0;
  for (int axis = batch.rank() - 1; axis >= 0; --axis) {
    offset += index % batch[axis] * strides[axis];
    index /= batch[axis];
  }
  return offset;
}

template <class T>
Strided<T> matrix_at(const TensorView& x, std::int64_t offset) {
  return {x.as<T>() + offset, x.strides[x.rank() - 2], x.strides.back()};
}

inline AttentionMask mask_kind(const TensorView& mask) {
  if (!mask.defined) return AttentionMask::none;
  return mask.dtype == DType::b8 ? AttentionMask::boolean : AttentionMask::additive;
}

template <class T>
void set_mask(const AttentionLayout& a, const TensorView& mask, std::int64_t index,
              AttentionHead<T>& head) {
  if (!mask.defined) return;
  const std::int64_t offset = batch_offset(a.batch, a.mask, index);
  if (head.mask == AttentionMask::boolean)
    head.allowed = {mask.as<std::uint8_t>() + offset, a.mask_row, a.mask_column};
  else
    head.bias = {mask.as<T>() + offset, a.mask_row, a.mask_column};
}

template <class T>
AttentionHead<T> head_at(const AttentionParams& params, const AttentionLayout& a,
                         const AttentionInputs& in, std::int64_t index) {
  AttentionHead<T> head{};
  head.queries = a.queries;
  head.keys = a.keys;
  head.width = a.width;
  head.value_width = a.value_width;
  head.query = matrix_at<T>(in.query, batch_offset(a.batch, a.query, index));
  head.key = matrix_at<T>(in.key, batch_offset(a.batch, a.key, index));
  head.value = matrix_at<T>(in.value, batch_offset(a.batch, a.value, index));
  head.output_row = a.value_width;
  head.scale = static_cast<T>(params.scale);
  head.before = params.window_left;
  head.after =
      params.is_causal ? std::min<std::int64_t>(0, params.window_right) : params.window_right;
  head.mask = mask_kind(in.mask);
  set_mask(a, in.mask, index, head);
  head.dropout = params.dropout_p > 0;
  head.seed = params.seed;
  head.offset = params.offset;
  head.first_block = static_cast<std::uint64_t>(index * a.queries * ((a.keys + 3) / 4));
  head.threshold = drop_threshold(params.dropout_p);
  head.keep_scale = params.dropout_p < 1 ? static_cast<T>(1 / (1 - params.dropout_p)) : T{0};
  return head;
}

}  // namespace pyfast
