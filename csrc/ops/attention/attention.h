// Scaled dot-product attention, forward and backward, without ever forming the L x S scores.
//
//   output = softmax(scale query key^T + mask) value, row by row
//
// Dao et al., "FlashAttention", NeurIPS 2022 (tiles, running maximum and sum, recomputation in
// backward); Rabe and Staats, "Self-attention does not need O(n^2) memory", 2021.
#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "ops/attention/head.h"

namespace pyfast {

struct AttentionParams {
  double dropout_p = 0;
  bool is_causal = false;  // query i sees keys 0 ... i
  // Query i sees keys i - window_left ... i + window_right.
  std::int64_t window_left = kUnboundedWindow, window_right = kUnboundedWindow;
  double scale = 1;
  bool enable_gqa = false;             // neighbouring query heads share a head of key and value
  std::uint64_t seed = 0, offset = 0;  // dropout's Philox stream
};

// The operands seen on one common batch shape. Strides are in elements, 0 where broadcast.
struct AttentionLayout {
  std::int64_t queries = 0, keys = 0;       // L, S
  std::int64_t width = 0, value_width = 0;  // E, Ev
  Dims lead;                                // leading dimensions of the output
  Dims batch;                               // the same; with enable_gqa, heads split in two axes
  Dims query, key, value, mask;             // strides along `batch`
  std::int64_t mask_row = 0, mask_column = 0;

  Dims output_shape() const;
  Dims row_shape() const;
  // Strides along `batch` of an array shaped as the output.
  Dims output_strides(const TensorView& output) const;
};

struct AttentionInputs {
  TensorView query, key, value, mask;  // mask may be undefined
};

// What forward hands to backward of each row of scores, (lead, L): its maximum, in units of log 2
// (-inf where every key is masked), and the sum of the exponentials relative to it (0 there). Their
// log-sum-exp alone would round off the digits of the weights that its own size takes.
struct AttentionRows {
  TensorView max, sum;
};

// What backward is to write; undefined views are skipped.
struct AttentionGradients {
  TensorView query, key, value, mask;
};

// Validates forward's operands. scale_given false: 1 / sqrt(E).
AttentionLayout check_attention(const AttentionInputs& inputs, AttentionParams& params,
                                bool scale_given);
// Validates backward's: what forward took, its two results, and the gradient of its output.
AttentionLayout check_attention_backward(const AttentionInputs& inputs, const TensorView& grad,
                                         const TensorView& output, const AttentionRows& rows,
                                         AttentionParams& params, bool scale_given,
                                         bool mask_gradient);
// The layout of arrays shaped as the inputs: the same axes, other strides.
AttentionLayout gradient_layout(const AttentionLayout& layout, const AttentionParams& params,
                                const AttentionGradients& gradients);

// Writes output (lead, L, Ev), of any strides but along Ev, and the rows.
void attention_forward(const AttentionParams& params, const AttentionLayout& layout,
                       const AttentionInputs& inputs, const TensorView& output,
                       const AttentionRows& rows);
// Writes every gradient that is defined, of its input's shape (summed where that was broadcast);
// those of matrices may have any strides but along their last axis.
void attention_backward(const AttentionParams& params, const AttentionLayout& layout,
                        const AttentionInputs& inputs, const TensorView& grad,
                        const TensorView& output, const AttentionRows& rows,
                        const AttentionGradients& gradients);

namespace reference {
void attention_forward(const AttentionParams& params, const AttentionLayout& layout,
                       const AttentionInputs& inputs, const TensorView& output,
                       const AttentionRows& rows);
void attention_backward(const AttentionParams& params, const AttentionLayout& layout,
                        const AttentionInputs& inputs, const TensorView& grad,
                        const TensorView& output, const AttentionRows& rows,
                        const AttentionGradients& gradients);
}  // namespace reference

}  // namespace pyfast
