// Backward recomputes the weights from forward's row statistics, twice: a block that owns queries
// sums their gradient over keys, a block that owns keys sums its two over queries. That is seven
// products where five would do, but no block adds to what another wrote: no atomics, the same bits
// in every run. Where an operand was broadcast (grouped queries), a block walks over all it served.
#pragma once

#include "cuda/ops/attention/again.cuh"
#include "cuda/ops/attention/plan.h"
#include "cuda/ops/attention/tile_sizes.h"
#include "cuda/ops/attention/tiles.cuh"

namespace pyfast::cuda {

// Of every row of scores: forward's statistics, and the sum of grad * output. The sums of an
// element of the batch begin dot_rows behind those of the one before, dot_step apart.
struct BackwardRows {
  const float *max, *sum, *dot;
  std::int64_t dot_rows = 0;
  int dot_step = 1;

  __device__ __forceinline__ float dot_of(std::int64_t index, int query) const {
    return dot[(index * dot_rows + query) * dot_step];
  }
};

// A weight is 2^(score - shift) * inverse, its score's gradient weight * (gradient - dot).
struct RowWeight {
  float shift = 0, inverse = 0, dot = 0;

  RowWeight() = default;
  __device__ __forceinline__ RowWeight(const BackwardRows& rows, std::int64_t row) {
    const RowScale scale(rows.max[row], rows.sum[row]);
    shift = scale.shift;
    inverse = scale.inverse;
    dot = rows.dot[row];
  }
};

// A warp a row.
template <class T>
PYFAST_KERNEL(128)
row_dots(const T* grad, const T* output, std::int64_t rows, int width, float* dots) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (row >= rows) return;
  const float sum = warp_dot(grad + row * width, 1, output + row * width, 1, width);
  if (threadIdx.x % 32 == 0) dots[row] = sum;
}

// A weight, 0 where the pair is forbidden whatever the row's statistics are.
__device__ __forceinline__ float weight_of(float score, float shift, float inverse) {
  return score == -INFINITY ? 0.0f : power_of_two(score - shift) * inverse;
}
// The gradient of its score, given that of the weight.
__device__ __forceinline__ float slope_of(float score, float weight, float gradient, float dot) {
  return score == -INFINITY ? 0.0f : weight * (gradient - dot);
}

// What a pair adds to gradients; see again.cuh.
template <class T>
struct PairGradients {
  const Pairs<T> pairs;
  const MatrixRows<T> grad;
  const BackwardRows statistics;
  const std::int64_t index;

  __device__ __forceinline__ PairGradients(const AttentionProblem& p,
                                           const AttentionOperand& upstream,
                                           const BackwardRows& rows, std::int64_t element)
      : pairs(p, element),
        grad(upstream, element, p.value_width),
        statistics(rows),
        index(element) {}

  // Its score's gradient, and the weight its value was taken with; false for a forbidden pair.
  __device__ __forceinline__ bool at(int i, int j, float& slope, float& weight) const {
    float s;
    if (!pairs.score(i, j, s)) return false;
    const std::int64_t row = pairs.first_row + i;
    const RowScale scale(statistics.max[row], statistics.sum[row]);
    const float kept = pairs.kept(i, j), plain = weight_of(s, scale.shift, scale.inverse);
    const float d = kept * warp_dot(grad.at(i), grad.column, pairs.value.at(j), pairs.value.column,
                                    pairs.p.value_width);
    slope = slope_of(s, plain, d, statistics.dot_of(index, i));
    weight = plain * kept;
    return true;
  }
};

// The gradients of the scores of a warp's 16 queries, whose rows of query and grad are given, and
// kStep keys from j on. `mine` is the lane's first query, weight[h] the statistics of its two rows.
template <class T, int kDepth, int kStep>
__device__ __forceinline__ void query_slopes(WarpTile<kStep> (&d)[1], const AttentionProblem& p,
                                             const T* query, const T* grad, const T* key,
                                             const T* value, bool masked, std::int64_t mask_at,
                                             std::int64_t index, int mine, int j,
                                             const RowWeight (&weight)[2]) {
  WarpTile<kStep> s[1];
  s[0].clear();
  d[0].clear();
  multiply_rows<kDepth>(s, query, key);
  multiply_rows<kDepth>(d, grad, value);
  s[0].each([&](int, int, float& v) { v *= p.scale * kLog2e; });
  if (masked) {
    const MaskLine lines[2] = {p.keys_of(mine, j, mask_at, kStep),
                               p.keys_of(mine + 8, j, mask_at, kStep)};
    apply_mask<T>(s[0], p, lines);
  }
  if (p.dropout) {
    const std::int64_t all = index * p.queries + mine, both[2] = {all, all + 8};
    drop(d[0], keep_by_query<kStep>(p, both, j), p.keep_scale);
  }
#pragma unroll
  for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const RowWeight& w = weight[e / 2];
      const float score = s[0].at[n][e], v = weight_of(score, w.shift, w.inverse);
      d[0].at[n][e] = slope_of(score, v, d[0].at[n][e], w.dot);
    }
}

// load(stage, at) and compute(stage, at) for every step from begin to end that is needed; with two
// stages the next step's copies run beside the arithmetic.
template <int kStages, class Needed, class Load, class Compute>
__device__ __forceinline__ void stream(int begin, int end, int step, Needed needed, Load load,
                                       Compute compute) {
  const auto next = [&](int at) {
    while (at < end && !needed(at)) at += step;
    return at;
  };
  int at = next(begin), stage = 0;
  if (at < end) load(0, at);
  commit_copies();
#pragma unroll 1
  while (at < end) {
    const int ahead = next(at + step);
    if constexpr (kStages == 2) {
      if (ahead < end) load(1 - stage, ahead);
      commit_copies();
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    sync_block();
    compute(stage, at);
    sync_block();  // everyone is done with this stage
    if constexpr (kStages == 2) {
      stage = 1 - stage;
    } else {
      if (ahead < end) load(0, ahead);
      commit_copies();
    }
    at = ahead;
  }
}

// Writes the gradient of query i of a gradient's element anew, which begins at `to`; by a warp.
template <class T, int kDepth>
__device__ PYFAST_NOINLINE void query_gradient_again(const AttentionProblem& p,
                                                     const AttentionOperand& upstream,
                                                     const BackwardRows& statistics,
                                                     const GradientAxes& axes, std::int64_t element,
                                                     int i, T* to) {
  LaneRow<kDepth> gradient;
  bool lost = false;  // NaN in every feature
#pragma unroll 1
  for (std::int64_t sum = 0; sum < axes.sums && !lost; ++sum) {
    const PairGradients<T> g(p, upstream, statistics, axes.index(element, sum));
#pragma unroll 1
    for (int j = p.first_key(i); j < p.end_key(i + 1) && !lost; ++j) {
      float slope, weight;
      if (!g.at(i, j, slope, weight)) continue;
      gradient.add(slope, g.pairs.key.at(j), g.pairs.key.column, p.width);
      lost = slope != slope;
    }
  }
  gradient.write(p.scale, to + std::int64_t{i} * p.width, p.width);
}

template <class T, int kDepth>
PYFAST_KERNEL((BackwardTile<sizeof(T), kDepth>::kThreads), 1)
query_gradient_kernel(const PYFAST_GRID_CONSTANT AttentionProblem p,
                      const PYFAST_GRID_CONSTANT AttentionOperand upstream,
                      const PYFAST_GRID_CONSTANT BackwardRows statistics,
                      const PYFAST_GRID_CONSTANT GradientAxes axes, T* gradient) {
  using Tile = BackwardTile<sizeof(T), kDepth>;
  constexpr int kRows = Tile::kRows, kStep = Tile::kStep, kThreads = Tile::kThreads;
  constexpr int kPitch = tile_pitch<T>(kDepth);
  T* query = reinterpret_cast<T*>(shared_memory());
  T *grad = query + kRows * kPitch, *streamed = grad + kRows * kPitch;
  const int blocks = (p.queries + kRows - 1) / kRows;
  const std::int64_t element = blockIdx.x / static_cast<unsigned>(blocks);
  const int row =
      (blocks - 1 - static_cast<int>(blockIdx.x % static_cast<unsigned>(blocks))) * kRows;
  const int first = static_cast<int>(threadIdx.x) / 32 * 16;
  WarpTile<kDepth> sums[1];
  sums[0].clear();

#pragma unroll 1
  for (std::int64_t sum = 0; sum < axes.sums; ++sum) {
    const std::int64_t index = axes.index(element, sum);
    const std::int64_t mask_at = p.mask.axes.offset(index);
    const std::int64_t square_at = p.square_axes.offset(index);
    const MatrixRows<T> keys(p.key, index, p.width), values(p.value, index, p.value_width);
    const int mine = row + first + sums[0].row(0);
    const auto weights_of_rows = [&](RowWeight(&weight)[2]) {
#pragma unroll
      for (int h = 0; h < 2; ++h)
        if (mine + 8 * h < p.queries)
          weight[h] = RowWeight(statistics, index * p.queries + mine + 8 * h);
    };
    // Widest of float32: the sums leave no registers to keep them in.
    constexpr bool kKept = sizeof(T) == 2 || kDepth <= 128;
    RowWeight kept[2];
    if constexpr (kKept) weights_of_rows(kept);
    wait_copies<0>();
    sync_block();
    load_tile<kRows, kDepth, kThreads>(query, MatrixRows<T>(p.query, index, p.width), row,
                                       p.queries);
    load_tile<kRows, kDepth, kThreads>(grad, MatrixRows<T>(upstream, index, p.value_width), row,
                                       p.queries);
    const auto cover = [&](int j) { return p.cover({row, row + kRows, j, j + kStep}, square_at); };
    stream<Tile::kStages>(
        p.first_key(row) / kStep * kStep, p.end_key(row + kRows), kStep,
        [&](int j) { return cover(j) != Cover::none; },
        [&](int stage, int j) {
          T* key = streamed + stage * 2 * kStep * kPitch;
          load_tile<kStep, kDepth, kThreads>(key, keys, j, p.keys);
          load_tile<kStep, kDepth, kThreads>(key + kStep * kPitch, values, j, p.keys);
        },
        [&](int stage, int j) {
          const T* key = streamed + stage * 2 * kStep * kPitch;
          WarpTile<kStep> d[1];
          RowWeight again[2];
          if constexpr (!kKept) weights_of_rows(again);
          query_slopes<T, kDepth>(d, p, query + first * kPitch, grad + first * kPitch, key,
                                  key + kStep * kPitch, cover(j) != Cover::all, mask_at, index,
                                  mine, j, kKept ? kept : again);
          multiply_columns<T>(sums, d, key);
        });
  }
  wait_copies<0>();
  sync_block();
  sums[0].each([&](int, int, float& v) { v *= p.scale; });
  const std::uint32_t broken = p.forbids() ? broken_rows(sums) : 0;
  T* to = gradient + axes.target.offset(element);
  write_sums<T>(sums, reinterpret_cast<float*>(query + first * kPitch),
                to + std::int64_t{row + first} * p.width, p.queries - row - first, p.width);
  if (any_of_warp(broken != 0))
    each_broken(broken, p.queries - row - first, 16, [&](int r) {
      query_gradient_again<T, kDepth>(p, upstream, statistics, axes, element, row + first + r, to);
    });
}

// Either gradient may be null. With kKey or kValue false a kernel has registers for wide heads.
template <class T>
struct KeyGradients {
  GradientAxes key_axes, value_axes;  // the same but for `target`
  T *key, *value;

  __device__ __forceinline__ T* key_row(const AttentionProblem& p, std::int64_t element,
                                        int j) const {
    return key + key_axes.target.offset(element) + std::int64_t{j} * p.width;
  }
  __device__ __forceinline__ T* value_row(const AttentionProblem& p, std::int64_t element,
                                          int j) const {
    return value + value_axes.target.offset(element) + std::int64_t{j} * p.value_width;
  }
};

// Writes both gradients of key j anew, those that are wanted; by a warp.
template <class T, int kDepth, bool kKey, bool kValue>
__device__ PYFAST_NOINLINE void key_gradients_again(const AttentionProblem& p,
                                                    const AttentionOperand& upstream,
                                                    const BackwardRows& statistics,
                                                    const KeyGradients<T>& gradients,
                                                    std::int64_t element, int j) {
  const GradientAxes& axes = kKey ? gradients.key_axes : gradients.value_axes;
  LaneRow<kDepth> of_key, of_value;
  bool lost = false;  // NaN in every feature of both
#pragma unroll 1
  for (std::int64_t sum = 0; sum < axes.sums && !lost; ++sum) {
    const PairGradients<T> g(p, upstream, statistics, axes.index(element, sum));
    const Pairs<T>& pairs = g.pairs;
#pragma unroll 1
    for (int i = p.first_query(j); i < p.end_query(j + 1) && !lost; ++i) {
      float slope, weight;
      if (!g.at(i, j, slope, weight)) continue;
      if constexpr (kKey) of_key.add(slope, pairs.query.at(i), pairs.query.column, p.width);
      if constexpr (kValue) of_value.add(weight, g.grad.at(i), g.grad.column, p.value_width);
      lost = weight != weight;
    }
  }
  if (kKey && gradients.key) of_key.write(p.scale, gradients.key_row(p, element, j), p.width);
  if (kValue && gradients.value)
    of_value.write(1.0f, gradients.value_row(p, element, j), p.value_width);
}

template <class T, int kDepth, bool kKey, bool kValue>
PYFAST_KERNEL((BackwardTile<sizeof(T), kDepth>::kThreads), 1)
key_gradient_kernel(const PYFAST_GRID_CONSTANT AttentionProblem p,
                    const PYFAST_GRID_CONSTANT AttentionOperand upstream,
                    const PYFAST_GRID_CONSTANT BackwardRows statistics,
                    const PYFAST_GRID_CONSTANT KeyGradients<T> gradients) {
  using Tile = BackwardTile<sizeof(T), kDepth>;
  constexpr int kRows = Tile::kRows, kStep = Tile::kStep, kThreads = Tile::kThreads;
  constexpr int kPitch = tile_pitch<T>(kDepth);
  T* key = reinterpret_cast<T*>(shared_memory());
  T *value = key + kRows * kPitch, *streamed = value + kRows * kPitch;
  float* weights = reinterpret_cast<float*>(streamed + 2 * Tile::kStages * kStep * kPitch);
  const GradientAxes& axes = kKey ? gradients.key_axes : gradients.value_axes;
  const int blocks = (p.keys + kRows - 1) / kRows;
  const std::int64_t element = blockIdx.x / static_cast<unsigned>(blocks);
  const int row = static_cast<int>(blockIdx.x % static_cast<unsigned>(blocks)) * kRows;
  const int first = static_cast<int>(threadIdx.x) / 32 * 16;
  WarpTile<kKey ? kDepth : 8> of_key[1];
  WarpTile<kValue ? kDepth : 8> of_value[1];
  of_key[0].clear();
  of_value[0].clear();

#pragma unroll 1
  for (std::int64_t sum = 0; sum < axes.sums; ++sum) {
    const std::int64_t index = axes.index(element, sum);
    const std::int64_t mask_at = p.mask.axes.offset(index);
    const std::int64_t square_at = p.square_axes.offset(index);
    const MatrixRows<T> queries(p.query, index, p.width), grads(upstream, index, p.value_width);
    const int mine = row + first + of_key[0].row(0);
    wait_copies<0>();
    sync_block();
    load_tile<kRows, kDepth, kThreads>(key, MatrixRows<T>(p.key, index, p.width), row, p.keys);
    load_tile<kRows, kDepth, kThreads>(value, MatrixRows<T>(p.value, index, p.value_width), row,
                                       p.keys);
    const auto cover = [&](int i) { return p.cover({i, i + kStep, row, row + kRows}, square_at); };
    stream<Tile::kStages>(
        p.first_query(row) / kStep * kStep, p.end_query(row + kRows), kStep,
        [&](int i) { return cover(i) != Cover::none; },
        [&](int stage, int i) {
          T* query = streamed + stage * 2 * kStep * kPitch;
          load_tile<kStep, kDepth, kThreads>(query, queries, i, p.queries);
          load_tile<kStep, kDepth, kThreads>(query + kStep * kPitch, grads, i, p.queries);
          const int mine_of = i + static_cast<int>(threadIdx.x);
          if (static_cast<int>(threadIdx.x) >= kStep) return;
          RowWeight w;
          if (mine_of < p.queries) w = RowWeight(statistics, index * p.queries + mine_of);
          float* to = weights + stage * 3 * kStep + threadIdx.x;
          to[0] = w.shift;
          to[kStep] = w.inverse;
          to[2 * kStep] = w.dot;
        },
        [&](int stage, int i) {
          const T* query = streamed + stage * 2 * kStep * kPitch;
          const T* grad = query + kStep * kPitch;
          const float* w = weights + stage * 3 * kStep;
          WarpTile<kStep> s[1], d[1];
          s[0].clear();
          d[0].clear();
          multiply_rows<kDepth>(s, key + first * kPitch, query);
          if constexpr (kKey) multiply_rows<kDepth>(d, value + first * kPitch, grad);
          s[0].each([&](int, int, float& v) { v *= p.scale * kLog2e; });
          if (cover(i) != Cover::all) {
            const MaskLine lines[2] = {p.queries_of(mine, i, mask_at, kStep),
                                       p.queries_of(mine + 8, i, mask_at, kStep)};
            apply_mask<T>(s[0], p, lines);
          }
          std::uint64_t keep = ~std::uint64_t{0};
          if (p.dropout) {
            keep = keep_by_key<kStep>(p, index * p.queries + i, mine);
            if constexpr (kKey) drop(d[0], keep, p.keep_scale);
          }
#pragma unroll
          for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const int c = s[0].column(n, e);
              float& v = s[0].at[n][e];
              const float score = v;
              v = weight_of(score, w[c], w[kStep + c]);
              if constexpr (kKey)
                d[0].at[n][e] = slope_of(score, v, d[0].at[n][e], w[2 * kStep + c]);
            }
          if constexpr (kValue) {
            if (p.dropout) drop(s[0], keep, p.keep_scale);
            multiply_columns<T>(of_value, s, grad);
          }
          if constexpr (kKey) multiply_columns<T>(of_key, d, query);
        });
  }
  wait_copies<0>();
  sync_block();
  float* stage = reinterpret_cast<float*>(key + first * kPitch);
  const int left = p.keys - row - first;
  const std::uint32_t broken = p.forbids() ? broken_rows(of_key) | broken_rows(of_value) : 0;
  if constexpr (kKey) {
    of_key[0].each([&](int, int, float& v) { v *= p.scale; });
    if (gradients.key)
      write_sums<T>(of_key, stage, gradients.key_row(p, element, row + first), left, p.width);
  }
  if constexpr (kValue)
    if (gradients.value)
      write_sums<T>(of_value, stage, gradients.value_row(p, element, row + first), left,
                    p.value_width);
  if (any_of_warp(broken != 0))
    each_broken(broken, left, 16, [&](int r) {
      key_gradients_again<T, kDepth, kKey, kValue>(p, upstream, statistics, gradients, element,
                                                   row + first + r);
    });
}

// Behind kernels that let forbidden infinities and NaN through: a warp a row, which looks first.
template <class T, int kDepth>
PYFAST_KERNEL(128)
mend_query_gradient(const PYFAST_GRID_CONSTANT AttentionProblem p,
                    const PYFAST_GRID_CONSTANT AttentionOperand upstream,
                    const PYFAST_GRID_CONSTANT BackwardRows statistics,
                    const PYFAST_GRID_CONSTANT GradientAxes axes, T* gradient) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (row >= axes.count * p.queries) return;
  const std::int64_t element = row / p.queries;
  const int i = static_cast<int>(row % p.queries);
  T* const to = gradient + axes.target.offset(element);
  if (broken_row(to + std::int64_t{i} * p.width, p.width))
    query_gradient_again<T, kDepth>(p, upstream, statistics, axes, element, i, to);
}

template <class T, int kDepth>
PYFAST_KERNEL(128)
mend_key_gradients(const PYFAST_GRID_CONSTANT AttentionProblem p,
                   const PYFAST_GRID_CONSTANT AttentionOperand upstream,
                   const PYFAST_GRID_CONSTANT BackwardRows statistics,
                   const PYFAST_GRID_CONSTANT KeyGradients<T> gradients) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (row >= gradients.key_axes.count * p.keys) return;
  const std::int64_t element = row / p.keys;
  const int j = static_cast<int>(row % p.keys);
  if ((gradients.key && broken_row(gradients.key_row(p, element, j), p.width)) ||
      (gradients.value && broken_row(gradients.value_row(p, element, j), p.value_width)))
    key_gradients_again<T, kDepth, true, true>(p, upstream, statistics, gradients, element, j);
}

// The gradient of an additive mask: a block owns kRows x kStep of its elements, or all of an axis
// along which it was broadcast, and sums the scores' gradients over all that it served.
template <class T, int kDepth>
PYFAST_KERNEL((BackwardTile<sizeof(T), kDepth>::kThreads), 1)
mask_gradient_kernel(const PYFAST_GRID_CONSTANT AttentionProblem p,
                     const PYFAST_GRID_CONSTANT AttentionOperand upstream,
                     const PYFAST_GRID_CONSTANT BackwardRows statistics,
                     const PYFAST_GRID_CONSTANT GradientAxes axes, T* gradient) {
  using Tile = BackwardTile<sizeof(T), kDepth>;
  constexpr int kRows = Tile::kRows, kStep = Tile::kStep, kThreads = Tile::kThreads;
  constexpr int kPitch = tile_pitch<T>(kDepth);
  T* query = reinterpret_cast<T*>(shared_memory());
  T *grad = query + kRows * kPitch, *key = grad + kRows * kPitch, *value = key + kStep * kPitch;
  const int row_blocks = axes.row ? (p.queries + kRows - 1) / kRows : 1;
  const int column_blocks = axes.column ? (p.keys + kStep - 1) / kStep : 1;
  std::int64_t block = blockIdx.x;
  const int j_first = static_cast<int>(block % column_blocks) * kStep;
  block /= column_blocks;
  const int i_first = static_cast<int>(block % row_blocks) * kRows;
  const std::int64_t element = block / row_blocks;
  const int i_end = axes.row ? lesser(p.queries, i_first + kRows) : p.queries;
  const int j_end = axes.column ? lesser(p.keys, j_first + kStep) : p.keys;
  const int first = static_cast<int>(threadIdx.x) / 32 * 16;
  WarpTile<kStep> total;
  total.clear();

#pragma unroll 1
  for (std::int64_t sum = 0; sum < axes.sums; ++sum) {
    const std::int64_t index = axes.index(element, sum);
    const std::int64_t mask_at = p.mask.axes.offset(index);
    const std::int64_t square_at = p.square_axes.offset(index);
#pragma unroll 1
    for (int i = i_first; i < i_end; i += kRows)
#pragma unroll 1
      for (int j = j_first; j < j_end; j += kStep) {
        const Cover cover = p.cover({i, i + kRows, j, j + kStep}, square_at);
        if (cover == Cover::none) continue;
        sync_block();  // everyone is done with the tiles before
        load_tile<kRows, kDepth, kThreads>(query, MatrixRows<T>(p.query, index, p.width), i,
                                           p.queries);
        load_tile<kRows, kDepth, kThreads>(grad, MatrixRows<T>(upstream, index, p.value_width), i,
                                           p.queries);
        load_tile<kStep, kDepth, kThreads>(key, MatrixRows<T>(p.key, index, p.width), j, p.keys);
        load_tile<kStep, kDepth, kThreads>(value, MatrixRows<T>(p.value, index, p.value_width), j,
                                           p.keys);
        commit_copies();
        wait_copies<0>();
        sync_block();
        const int mine = i + first + total.row(0);
        RowWeight weight[2];
#pragma unroll
        for (int h = 0; h < 2; ++h)
          if (mine + 8 * h < p.queries)
            weight[h] = RowWeight(statistics, index * p.queries + mine + 8 * h);
        WarpTile<kStep> d[1];
        query_slopes<T, kDepth>(d, p, query + first * kPitch, grad + first * kPitch, key, value,
                                cover != Cover::all, mask_at, index, mine, j, weight);
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e) total.at[n][e] += d[0].at[n][e];
      }
  }
  sync_block();
  float* tile = reinterpret_cast<float*>(query);  // kRows x (kStep + 1)
  total.each([&](int r, int c, float& v) { tile[(first + r) * (kStep + 1) + c] = v; });
  sync_block();
  const int rows = axes.row ? i_end - i_first : 1, columns = axes.column ? j_end - j_first : 1;
  T* to = gradient + axes.target.offset(element) + i_first * axes.row + j_first * axes.column;
#pragma unroll 1
  for (int o = static_cast<int>(threadIdx.x); o < rows * columns; o += kThreads) {
    const int r = o / columns, c = o % columns;
    float v = 0;
#pragma unroll 1
    for (int i = r; i < (axes.row ? r + 1 : kRows); ++i)
#pragma unroll 1
      for (int j = c; j < (axes.column ? c + 1 : kStep); ++j) v += tile[i * (kStep + 1) + j];
    to[r * axes.row + c * axes.column] = from_float<T>(v);
  }
}

// Those of `to` that are defined; key_axes are those that both are walked by.
template <class T>
KeyGradients<T> key_gradients_of(const BackwardTargets& to) {
  return {to.key_to.defined ? to.key : to.value, to.value,
          to.key_to.defined ? to.key_to.as<T>() : nullptr,
          to.value_to.defined ? to.value_to.as<T>() : nullptr};
}

template <class T, int kDepth, class Launch>
void mend_gradients(const AttentionProblem& p, const AttentionOperand& upstream,
                    const BackwardRows& rows, const BackwardTargets& to, const Launch& launch) {
  if (!p.forbids()) return;
  if (to.query_to.defined)
    launch(&mend_query_gradient<T, kDepth>, (to.query.count * p.queries + 3) / 4, 128, 0, p,
           upstream, rows, to.query, to.query_to.as<T>());
  if (!to.key_to.defined && !to.value_to.defined) return;
  const KeyGradients<T> both = key_gradients_of<T>(to);
  launch(&mend_key_gradients<T, kDepth>, (both.key_axes.count * p.keys + 3) / 4, 128, 0, p,
         upstream, rows, both);
}

template <class T, int kDepth, class Launch>
void launch_key_gradients(const AttentionProblem& p, const AttentionOperand& upstream,
                          const BackwardRows& rows, const BackwardTargets& to,
                          const Launch& launch) {
  using Tile = BackwardTile<sizeof(T), kDepth>;
  const KeyGradients<T> both = key_gradients_of<T>(to);
  const int blocks = (p.keys + Tile::kRows - 1) / Tile::kRows;
  const auto start = [&](auto kernel, const GradientAxes& axes, const KeyGradients<T>& wanted) {
    launch(kernel, axes.count * blocks, Tile::kThreads, Tile::kBytes, p, upstream, rows, wanted);
  };
  if constexpr (kDepth <= 128) {
    if (!both.value || !both.key || to.key.same_batch(to.value))
      return start(&key_gradient_kernel<T, kDepth, true, true>, both.key_axes, both);
    KeyGradients<T> of_key = both, of_value = both;
    of_key.value = of_value.key = nullptr;
    of_value.key_axes = to.value;
    start(&key_gradient_kernel<T, kDepth, true, true>, to.key, of_key);
    start(&key_gradient_kernel<T, kDepth, true, true>, to.value, of_value);
  } else {
    if (both.key) start(&key_gradient_kernel<T, kDepth, true, false>, to.key, both);
    if (both.value) start(&key_gradient_kernel<T, kDepth, false, true>, to.value, both);
  }
}

// `dots` is workspace for a float a row. Grad and output are in C order.
template <class Launch>
void backward_into(const AttentionPlan& plan, const TensorView& grad, const TensorView& output,
                   const AttentionRows& rows, const TensorView& dots, const BackwardTargets& to,
                   const Launch& launch) {
  const AttentionProblem& p = plan.problem;
  const AttentionOperand upstream = ordered_rows(plan, grad);
  const BackwardRows statistics{rows.max.as<float>(), rows.sum.as<float>(), dots.as<float>(),
                                p.queries};
  const std::int64_t all = p.batch * p.queries;
  visit_gpu(plan.dtype, [&]<class T>() {
    launch(&row_dots<T>, (all + 3) / 4, 128, 0, grad.as<const T>(), output.as<const T>(), all,
           p.value_width, dots.as<float>());
    visit_depth(plan.depth, [&]<int kDepth>() {
      using Tile = BackwardTile<sizeof(T), kDepth>;
      const int row_blocks = (p.queries + Tile::kRows - 1) / Tile::kRows;
      if (to.query_to.defined)
        launch(&query_gradient_kernel<T, kDepth>, to.query.count * row_blocks, Tile::kThreads,
               Tile::kBytes, p, upstream, statistics, to.query, to.query_to.as<T>());
      if (to.key_to.defined || to.value_to.defined)
        launch_key_gradients<T, kDepth>(p, upstream, statistics, to, launch);
      if (!to.mask_to.defined) return;
      const int column_blocks = to.mask.column ? (p.keys + Tile::kStep - 1) / Tile::kStep : 1;
      launch(&mask_gradient_kernel<T, kDepth>,
             to.mask.count * (to.mask.row ? row_blocks : 1) * column_blocks, Tile::kThreads,
             Tile::kBytes, p, upstream, statistics, to.mask, to.mask_to.as<T>());
    });
  });
}

}  // namespace pyfast::cuda
