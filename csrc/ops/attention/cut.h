// How attention is cut into tasks: by shape alone (baseline code only).
#pragma once

#include <algorithm>

#include "core/parallel.h"
#include "ops/attention/kernel.h"

namespace pyfast {

// Tasks worth having, for threads to share; more are made by splitting keys, fewer keys than
// kLeastKeys a split are not worth its overhead.
inline constexpr std::int64_t kTasks = 16, kLeastKeys = 4 * kAttentionKeys;
// Multiply-adds of one task: under 50 ms even without SIMD.
inline constexpr std::int64_t kMostWork = 1'000'000'000;

// Multiply-adds of a task whose operands are fetched during the one before: about 300 KB of them.
inline constexpr std::int64_t kFetched = 256 * 256 * 256;

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t n, std::int64_t step) { return ceil_div(n, step) * step; }

// The most items of `work` multiply-adds each that a task may take, at least one.
inline std::int64_t items_within_task(std::int64_t work) {
  return std::max<std::int64_t>(1, kMostWork / std::max<std::int64_t>(1, work));
}

inline std::int64_t attention_grain(std::int64_t multiply_adds) {
  return grain_for(std::max<std::int64_t>(1, multiply_adds / 8));
}

}  // namespace pyfast
