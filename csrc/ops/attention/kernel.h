// Inner loops of attention. Queries are taken a panel at a time, one to a SIMD lane; keys a block
// at a time. All tiles are [key][query], so that maximum, sum and exp run down whole registers.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/attention/head.h"

namespace pyfast {

// Keys of a block: a tile of scores for one panel stays in L1 with the panel and a strip of keys.
// A multiple of 4 (dropout draws four keys at a time) and of every tile height.
inline constexpr std::int64_t kAttentionKeys = 96;
// Panels that share a block of keys while it is in L2.
inline constexpr std::int64_t kAttentionPanels = 4;

// A rectangle of scores; query and key begin are multiples of the panel and of kAttentionKeys.
struct AttentionRange {
  std::int64_t query_begin, query_end, key_begin, key_end;
};

template <class T>
struct AttentionForwardKernels {
  int panel;  // queries of a panel
  // Elements of scratch that forward needs.
  std::int64_t (*scratch)(const AttentionHead<T>& head);
  // At most kAttentionPanels panels. Writes output (C-ordered, all of the head) and lse for the
  // queries of the range, as if its keys were all.
  void (*forward)(const AttentionHead<T>& head, const AttentionRange& range, T* output, T* lse,
                  T* scratch);
};

// What backward reads beside the head, each C-ordered.
template <class T>
struct AttentionUpstream {
  const T* grad;
  const T* output;
  const T* lse;
};

// Where backward adds; null for what is not wanted. Rows of grad_key and grad_value begin at the
// range's first key and are padded to key_stride and value_stride elements.
template <class T>
struct AttentionTargets {
  T* query;  // (queries, width)
  T* key;
  T* value;
  T* mask;  // at mask[i * mask_row + j * mask_column]
  std::int64_t mask_row, mask_column;
};

template <class T>
struct AttentionBackwardKernels {
  int panel;
  int lanes;  // rows of grad_key and grad_value are padded to a multiple of this
  std::int64_t (*scratch)(const AttentionHead<T>& head);
  // Any range; adds to every target.
  void (*backward)(const AttentionHead<T>& head, const AttentionRange& range,
                   const AttentionUpstream<T>& upstream, const AttentionTargets<T>& targets,
                   T* scratch);
};

PYFAST_KERNEL_TABLE(AttentionForwardKernels, attention_forward_kernels)
PYFAST_KERNEL_TABLE(AttentionBackwardKernels, attention_backward_kernels)

}  // namespace pyfast
