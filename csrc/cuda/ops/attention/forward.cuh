// Forward: a block takes kRows queries, a warp 16 or 32 of them, and walks over the blocks of keys
// that the masks leave (Dao, "FlashAttention-2", 2023). While scores are computed from keys, their
// values are on the way, and while values are summed, the next keys. Where queries are few, the
// keys are cut among blocks whose results another kernel joins, in their order.
#pragma once

#include "cuda/ops/attention/again.cuh"
#include "cuda/ops/attention/plan.h"
#include "cuda/ops/attention/tile_sizes.h"
#include "cuda/ops/attention/tiles.cuh"

namespace pyfast::cuda {

// Where forward writes. With splits > 1, `partial` gets unscaled sums (split, row, value_width) and
// the two others (split, row); else output (row, value_width) and the rows' statistics.
struct ForwardTargets {
  void* output;
  float *max, *sum, *partial;
};

// Which part of the work a block has. Later rows first: with a causal mask they are the longest.
struct ForwardTask {
  std::int64_t group;
  int split, row;
  PYFAST_HOST_DEVICE ForwardTask(const ForwardCut& cut, int rows, std::int64_t block) {
    row = (cut.row_blocks - 1 - static_cast<int>(block % cut.row_blocks)) * rows;
    block /= cut.row_blocks;
    split = static_cast<int>(block % cut.splits);
    group = block / cut.splits;
  }
};

// A row's maximum is the same in the four lanes that share it, its sum is each lane's own.
template <int kTiles>
struct RowStates {
  OnlineRow at[kTiles][2];
};

// Scores become exponentials; what was summed before shrinks to the new maximum.
template <int kTiles, int kKeys, int kDepth>
__device__ __forceinline__ void exponentiate(WarpTile<kKeys> (&s)[kTiles], RowStates<kTiles>& rows,
                                             WarpTile<kDepth> (&sums)[kTiles]) {
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    float top[2] = {-INFINITY, -INFINITY}, shrink[2], shift[2];
    s[t].each_by_row([&](int h, float& v) { top[h] = fmaxf(top[h], v); });
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      OnlineRow& row = rows.at[t][h];
      top[h] = fmaxf(top[h], from_lane_xor(top[h], 1));
      top[h] = fmaxf(top[h], from_lane_xor(top[h], 2));
      shrink[h] = power_of_two(row.raise(top[h]));
      shift[h] = row.shift();
      row.sum *= shrink[h];
    }
    s[t].each_by_row([&](int h, float& v) {
      v = power_of_two(v - shift[h]);
      rows.at[t][h].sum += v;
    });
    sums[t].each_by_row([&](int h, float& v) { v *= shrink[h]; });
  }
}

// Makes sums means, or leaves them for join_splits to do so, and writes rows' statistics.
template <int kTiles, int kDepth>
__device__ __forceinline__ void finish_rows(const ForwardTargets& to, std::int64_t row, int rows,
                                            RowStates<kTiles>& states,
                                            WarpTile<kDepth> (&sums)[kTiles]) {
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    float factor[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      OnlineRow& state = states.at[t][h];
      state.sum += from_lane_xor(state.sum, 1);
      state.sum += from_lane_xor(state.sum, 2);
      factor[h] = to.partial ? 1.0f : state.sum == 0 ? 0.0f : 1 / state.sum;
      const int r = 16 * t + sums[t].row(2 * h);
      if (r >= rows || sums[t].lane() % 4 != 0) continue;
      to.max[row + r] = state.max;
      to.sum[row + r] = state.sum;
    }
    sums[t].each_by_row([&](int h, float& v) { v *= factor[h]; });
  }
}

// A warp's rows: from row `first` of those that share heads on, whose results belong at `row`.
struct ForwardWarp {
  std::int64_t index, row;
  int first, rows, key_begin, key_end;
};

// Writes the output of one query anew, from keys begin ... end; none where `sum` is NaN, as then
// all of it is.
template <class T, int kDepth, class Out>
__device__ __forceinline__ void query_again(const AttentionProblem& p, std::int64_t index, int i,
                                            int begin, int end, float max, float sum, bool mean,
                                            Out* to) {
  if (sum != sum) return;
  const RowScale scale(max, sum);
  const Pairs<T> pairs(p, index);
  LaneRow<kDepth> output;
#pragma unroll 1
  for (int j = greater(begin, p.first_key(i)); j < lesser(end, p.end_key(i + 1)); ++j) {
    float s;
    if (!pairs.score(i, j, s)) continue;
    output.add(power_of_two(s - scale.shift) * pairs.kept(i, j), pairs.value.at(j),
               pairs.value.column, p.value_width);
  }
  output.write(mean ? scale.inverse : 1.0f, to, p.value_width);
}

// Writes the output of the broken rows anew.
template <class T, int kDepth>
__device__ PYFAST_NOINLINE void forward_again(const AttentionProblem& p, const SharedRows& shared,
                                              const ForwardTargets& to, const ForwardWarp& warp,
                                              std::uint32_t broken) {
  constexpr int kMost = 16 * ForwardTile<sizeof(T), kDepth>::kTiles;
  each_broken(broken, warp.rows, kMost, [&](int r) {
    const std::int64_t row = warp.row + r;
    const int i = shared.query(warp.first + r);
    const std::int64_t index = warp.index + shared.head(warp.first + r);
    const auto again = [&](auto* out, bool mean) {
      query_again<T, kDepth>(p, index, i, warp.key_begin, warp.key_end, to.max[row], to.sum[row],
                             mean, out + row * p.value_width);
    };
    if (to.partial)
      again(to.partial, false);
    else
      again(static_cast<T*>(to.output), true);
  });
}

template <class T, int kDepth>
PYFAST_KERNEL((ForwardTile<sizeof(T), kDepth>::kThreads), 1)
forward_kernel(const PYFAST_GRID_CONSTANT AttentionProblem p,
               const PYFAST_GRID_CONSTANT ForwardCut cut,
               const PYFAST_GRID_CONSTANT ForwardTargets to) {
  using Tile = ForwardTile<sizeof(T), kDepth>;
  constexpr int kTiles = Tile::kTiles, kKeys = Tile::kKeys, kThreads = Tile::kThreads;
  constexpr int kPitch = tile_pitch<T>(kDepth);
  T* query = reinterpret_cast<T*>(shared_memory());
  T *key = query + Tile::kRows * kPitch, *value = key + kKeys * kPitch;

  const ForwardTask task(cut, Tile::kRows, blockIdx.x);
  const SharedRows& shared = cut.shared;
  const std::int64_t index = task.group * shared.share;
  const HeadRows<T> queries(p.query, index, p.width, shared);
  const MatrixRows<T> keys(p.key, index, p.width), values(p.value, index, p.value_width);
  const std::int64_t mask_at = p.mask.axes.offset(index), square_at = p.square_axes.offset(index);
  const int i_begin = shared.query_begin(task.row);
  const int i_end = shared.query_end(task.row + Tile::kRows);
  const int split_begin = task.split * cut.split_keys;
  const int end = lesser(p.end_key(i_end), split_begin + cut.split_keys);
  // Rows beyond the last make no block an edge: nobody reads them.
  const auto cover = [&](int j) { return p.cover({i_begin, i_end, j, j + kKeys}, square_at); };
  const auto next = [&](int j) {
    while (j < end && cover(j) == Cover::none) j += kKeys;
    return j;
  };

  const int first = static_cast<int>(threadIdx.x) / 32 * 16 * kTiles;  // the warp's rows
  WarpTile<kDepth> sums[kTiles];
  RowStates<kTiles> rows;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) sums[t].clear();

  int j = next(greater(split_begin, p.first_key(i_begin) / kKeys * kKeys));
  load_tile<Tile::kRows, kDepth, kThreads>(query, queries, task.row, shared.rows());
  if (j < end) load_tile<kKeys, kDepth, kThreads>(key, keys, j, p.keys);
  commit_copies();
  while (j < end) {
    wait_copies<0>();
    sync_block();  // keys are there, and everyone is done with the values before
    load_tile<kKeys, kDepth, kThreads>(value, values, j, p.keys);
    commit_copies();

    WarpTile<kKeys> s[kTiles];
#pragma unroll
    for (int t = 0; t < kTiles; ++t) s[t].clear();
    multiply_rows<kDepth>(s, query + first * kPitch, key);
    const bool masked = cover(j) != Cover::all;
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      s[t].each([&](int, int, float& v) { v *= p.scale * kLog2e; });
      if (!masked) continue;
      const int r = task.row + first + 16 * t + s[t].row(0);
      const MaskLine lines[2] = {p.keys_of(shared.query(r), j, mask_at, kKeys),
                                 p.keys_of(shared.query(r + 8), j, mask_at, kKeys)};
      apply_mask<T>(s[t], p, lines);
    }
    exponentiate(s, rows, sums);
    if (p.dropout) {
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        const std::int64_t r = task.group * shared.rows() + task.row + first + 16 * t + s[t].row(0);
        const std::int64_t both[2] = {r, r + 8};
        drop(s[t], keep_by_query<kKeys>(p, both, j), p.keep_scale);
      }
    }

    wait_copies<0>();
    sync_block();  // values are there, and everyone is done with the keys
    j = next(j + kKeys);
    if (j < end) load_tile<kKeys, kDepth, kThreads>(key, keys, j, p.keys);
    commit_copies();
    multiply_columns<T>(sums, s, value);
  }
  wait_copies<0>();
  sync_block();  // if there were no keys at all, queries may still be on their way
  const int left = shared.rows() - task.row - first;
  const std::int64_t row = (task.split * p.batch + index) * p.queries + task.row + first;
  finish_rows(to, row, left, rows, sums);
  const std::uint32_t broken = p.forbids() ? broken_rows(sums) : 0;
  float* stage = reinterpret_cast<float*>(query + first * kPitch);
  if (to.partial)
    write_sums<T>(sums, stage, to.partial + row * p.value_width, left, p.value_width);
  else
    write_sums<T>(sums, stage, static_cast<T*>(to.output) + row * p.value_width, left,
                  p.value_width);
  if (any_of_warp(broken != 0))
    forward_again<T, kDepth>(p, shared, to, {index, row, task.row + first, left, split_begin, end},
                             broken);
}

// Behind a kernel that lets forbidden infinities and NaN through: a warp a row, which looks first.
template <class T, int kDepth>
PYFAST_KERNEL(128)
mend_rows(const PYFAST_GRID_CONSTANT AttentionProblem p, T* output, const float* max,
          const float* sum) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (row >= p.batch * p.queries) return;
  T* const mine = output + row * p.value_width;
  if (broken_row(mine, p.value_width))
    query_again<T, kDepth>(p, row / p.queries, static_cast<int>(row % p.queries), 0, p.keys,
                           max[row], sum[row], true, mine);
}

template <class Launch>
void mend_into(const AttentionPlan& plan, const TensorView& output, const AttentionRows& rows,
               const Launch& launch) {
  const AttentionProblem& p = plan.problem;
  if (!p.forbids()) return;
  visit_gpu(plan.dtype, [&]<class T>() {
    visit_depth(plan.depth, [&]<int kDepth>() {
      launch(&mend_rows<T, kDepth>, (p.batch * p.queries + 3) / 4, 128, 0, p, output.as<T>(),
             rows.max.as<const float>(), rows.sum.as<const float>());
    });
  });
}

// Splits of keys become one, in their order: a warp a row.
template <class T>
PYFAST_KERNEL(128)
join_splits(const PYFAST_GRID_CONSTANT ForwardTargets parts, std::int64_t splits, std::int64_t rows,
            int width, T* output, float* max, float* sum) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  OnlineRow whole;
  for (std::int64_t s = 0; s < splits; ++s) whole.raise(parts.max[s * rows + row]);
  for (std::int64_t s = 0; s < splits; ++s)
    whole.sum += parts.sum[s * rows + row] * exp2f(parts.max[s * rows + row] - whole.shift());
  const float factor = whole.sum == 0 ? 0.0f : 1 / whole.sum;
  for (int c = lane; c < width; c += 32) {
    float v = 0;
    for (std::int64_t s = 0; s < splits; ++s)
      v += parts.partial[(s * rows + row) * width + c] *
           exp2f(parts.max[s * rows + row] - whole.shift());
    output[row * width + c] = from_float<T>(v * factor);
  }
  if (lane == 0) {
    max[row] = whole.max;
    sum[row] = whole.sum;
  }
}

// `joined` is what splits, whose results are in `parts`, are to become.
template <class Launch>
void forward_on(const AttentionPlan& plan, const ForwardTargets& parts,
                const ForwardTargets& joined, const Launch& launch) {
  const AttentionProblem& p = plan.problem;
  const ForwardCut& cut = plan.cut;
  visit_gpu(plan.dtype, [&]<class T>() {
    visit_depth(plan.depth, [&]<int kDepth>() {
      using Tile = ForwardTile<sizeof(T), kDepth>;
      launch(&forward_kernel<T, kDepth>, cut.blocks(), Tile::kThreads, Tile::kBytes, p, cut, parts);
    });
    if (cut.splits == 1) return;
    const std::int64_t rows = p.batch * p.queries;
    launch(&join_splits<T>, (rows + 3) / 4, 128, 0, parts, cut.splits, rows, p.value_width,
           static_cast<T*>(joined.output), joined.max, joined.sum);
  });
}

// Where the kernels write: `parts` holds (splits, rows, value_width), then maxima, then sums.
template <class Launch>
void forward_into(const AttentionPlan& plan, const TensorView& output, const AttentionRows& rows,
                  const TensorView& parts, const Launch& launch) {
  const ForwardTargets whole{output.data, rows.max.as<float>(), rows.sum.as<float>(), nullptr};
  if (plan.cut.splits == 1) return forward_on(plan, whole, whole, launch);
  const std::int64_t n = plan.cut.splits * plan.problem.batch * plan.problem.queries;
  float* sums = parts.as<float>();
  float* max = sums + n * plan.problem.value_width;
  forward_on(plan, {nullptr, max, max + n, sums}, whole, launch);
}

}  // namespace pyfast::cuda
