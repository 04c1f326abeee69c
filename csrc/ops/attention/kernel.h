// Inner loops of attention. Scores are tiles [query][key]: queries a panel at a time, keys a block
// at a time. Masks, queries and values are then read as they lie; only keys are packed transposed.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/attention/head.h"

namespace pyfast {

// Queries of a panel: a multiple of every tile height.
inline constexpr std::int64_t kAttentionPanel = 48;
// Keys of a block: scores of a panel, and half a block of keys, stay in L1. A multiple of 4
// (dropout draws four keys at a time) and of every strip of keys.
inline constexpr std::int64_t kAttentionKeys = 128;
// The most panels that share a packed block of keys and values, all of them in L2.
inline constexpr std::int64_t kAttentionPanels = 16;

// Queries of a mask's span: a divisor of the panel, a multiple of most tile heights.
inline constexpr std::int64_t kAttentionRows = 12;

// Largest magnitude of a row's maximum, in units of log 2, that its scores are compared with in one
// rounding (see kernel_exponent.h). A unit in the last place is 2^-3 there: less than what the sum
// that makes a score is off by.
template <class T>
inline constexpr T kMostFused =
    sizeof(T) == sizeof(float) ? static_cast<T>(0x1p20) : static_cast<T>(0x1p49);

// A rectangle of scores; query and key begin are multiples of kAttentionPanel and kAttentionKeys.
struct AttentionRange {
  std::int64_t query_begin, query_end, key_begin, key_end;
};

// See AttentionRows (attention.h).
template <class T>
struct RowStatistics {
  T *max, *sum;
};

template <class T>
struct AttentionForwardKernels {
  // Elements of scratch that forward needs.
  std::int64_t (*scratch)(const AttentionHead<T>& head);
  // The spans of a mask's rows begin ... end, begin a multiple of kAttentionRows.
  void (*classify)(const AttentionHead<T>& head, std::int64_t begin, std::int64_t end,
                   MaskSpan* spans);
  // At most kAttentionPanels panels; with AMX tiles this thread's (see gemm/amx.h). Writes output
  // (of the head, rows head.output_row apart) and rows for the queries of the range, as if its keys
  // were all.
  // next: the head of the next call, if it is another one and fetching it ahead may pay.
  void (*forward)(const AttentionHead<T>& head, const AttentionRange& range,
                  const AttentionHead<T>* next, T* output, const RowStatistics<T>& rows,
                  T* scratch);
};

template <class T>
struct AttentionDecodeKernels {
  std::int64_t (*scratch)(const AttentionGroup<T>& group);
  // Every query of the group against keys key_begin ... key_end (begin a multiple of
  // kAttentionKeys), as if they were all. Keys' features lie side by side; no dropout; spans are
  // not needed. Writes output (heads, queries, value_width) and rows (heads, queries).
  void (*decode)(const AttentionGroup<T>& group, std::int64_t key_begin, std::int64_t key_end,
                 T* output, const RowStatistics<T>& rows, T* scratch);
};

// What backward reads beside the head.
template <class T>
struct AttentionUpstream {
  const T* grad;
  std::int64_t grad_row;  // elements from one query's to the next one's, here and below
  const T *row_max, *row_sum;
  const T* grad_dot;  // of grad and output, row by row
  // Without tiles, rows whose keys, by the band, lie in one block find all but grad anew.
};

// Where backward adds; null for what is not wanted.
template <class T>
struct AttentionTargets {
  T *query, *key, *value;  // C-ordered, all of the head
  T* mask;                 // at mask[i * mask_row + j * mask_column]
  std::int64_t mask_row, mask_column;
};

template <class T>
struct AttentionBackwardKernels {
  std::int64_t (*scratch)(const AttentionHead<T>& head);
  // dots[r] = sum over c of a[r * a_row + c] * b[r * b_row + c].
  void (*row_dots)(const T* a, std::int64_t a_row, const T* b, std::int64_t b_row,
                   std::int64_t rows, std::int64_t columns, T* dots);
  // Any range; adds to every target.
  void (*backward)(const AttentionHead<T>& head, const AttentionRange& range,
                   const AttentionUpstream<T>& upstream, const AttentionTargets<T>& targets,
                   T* scratch);
};

PYFAST_KERNEL_TABLE(AttentionForwardKernels, attention_forward_kernels)
PYFAST_KERNEL_TABLE(AttentionDecodeKernels, attention_decode_kernels)
PYFAST_KERNEL_TABLE(AttentionBackwardKernels, attention_backward_kernels)

}  // namespace pyfast
