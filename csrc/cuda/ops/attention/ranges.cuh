// Packed sequences, one after another along the rows: which keys each query may see, and which
// queries see each key. Kernels read that in place of a band, so that sequences cost what they are
// long and padding is never there.
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/ops/attention/plan.h"

namespace pyfast::cuda {

// Sequence s is rows own[s] ... own[s + 1] of one side, and other[s] ... other[s + 1] of the other.
// A band is counted from their last rows, as where new tokens follow a cache.
struct PackedRows {
  const std::int64_t *own, *other;
  std::int64_t sequences;
  int rows, others, before, after;

  // What row i sees. Starts that do not rise, or lead beyond the rows, find nothing or less.
  PYFAST_HOST_DEVICE RowRange seen(int i) const {
    std::int64_t s = 0;
    for (std::int64_t beyond = sequences; s < beyond;) {  // sequences that begin up to i
      const std::int64_t middle = s + (beyond - s) / 2;
      if (own[middle] <= i)
        s = middle + 1;
      else
        beyond = middle;
    }
    if (s == 0) return {0, 0};
    const std::int64_t begin = other[s - 1], end = other[s];
    if (i >= own[s]) return {inside(end), inside(end)};  // beyond the last sequence
    const std::int64_t level = i + end - own[s];
    const int first = inside(level - before > begin ? level - before : begin);
    const int last = inside(level + after + 1 < end ? level + after + 1 : end);
    return {first, greater(first, last)};
  }

 private:
  PYFAST_HOST_DEVICE int inside(std::int64_t i) const {
    return i < 0 ? 0 : i < others ? static_cast<int>(i) : others;
  }
};

PYFAST_KERNEL(256)
write_ranges(const PYFAST_GRID_CONSTANT PackedRows packed, RowRange* to) {
  const std::int64_t i = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (i < packed.rows) to[i] = packed.seen(static_cast<int>(i));
}

// `starts` of queries and keys, int64, sequences + 1 each; to.keys may be null.
template <class Launch>
void ranges_on(const AttentionProblem& p, const TensorView& query_starts,
               const TensorView& key_starts, const PackedRanges& to, const Launch& launch) {
  const auto *q = query_starts.as<const std::int64_t>(), *k = key_starts.as<const std::int64_t>();
  const std::int64_t sequences = query_starts.numel() - 1;
  const auto write = [&](const PackedRows& rows, RowRange* ranges) {
    launch(&write_ranges, (std::int64_t{rows.rows} + 255) / 256, 256, 0, rows, ranges);
  };
  write({q, k, sequences, p.queries, p.keys, p.before, p.after}, to.of_queries);
  if (to.of_keys) write({k, q, sequences, p.keys, p.queries, p.after, p.before}, to.of_keys);
}

}  // namespace pyfast::cuda
