// Forward on sm_90a: a warp keeps TMA busy, two warpgroups of 64 queries each take turns at the
// matrix units (Shah et al., "FlashAttention-3", 2024). While one exponentiates, the other
// multiplies; and a warpgroup's scores of the next keys run beside the values of these. Blocks of
// threads stay and take one task after another, so that a task's first copies run beside the end
// of the one before. 128 x 128 scores at a time (128 x 64 for heads of 256): what fits 227 KiB of
// shared memory with two stages of keys and values, and the registers.
#pragma once

#include "cuda/ops/attention/forward.cuh"
#include "cuda/ops/attention/plan_sm90a.h"
#include "cuda/ops/attention/tiles_sm90a.cuh"

namespace pyfast::cuda {

// What producer and consumers tell each other. A task's blocks of keys are posted one by one, then
// kNoKeys; which blocks of scores are masked is thus looked up once, and far ahead.
struct ForwardSignals {
  static constexpr int kStages = 2, kNoKeys = -1;
  Mbarrier query_there, query_done;
  Mbarrier key_there[kStages], key_done[kStages], value_there[kStages], value_done[kStages];
  int key_begin[kStages], masked[kStages];

  __device__ __forceinline__ void begin(int consumer_warps) {
    begin_barrier(query_there, 1);
    begin_barrier(query_done, consumer_warps);
    for (int i = 0; i < kStages; ++i) {
      begin_barrier(key_there[i], 1);
      begin_barrier(value_there[i], 1);
      begin_barrier(key_done[i], consumer_warps);
      begin_barrier(value_done[i], consumer_warps);
    }
    publish_barriers();
  }
};

template <int kDepth>
struct ForwardStore {
  using Tile = HopperForwardTile<kDepth>;
  unsigned char* base;

  __device__ __forceinline__ unsigned char* query() const { return base; }
  __device__ __forceinline__ unsigned char* key(int stage) const {
    return base + Tile::kQueryBytes + static_cast<std::uint32_t>(2 * stage) * Tile::kKeyBytes;
  }
  __device__ __forceinline__ unsigned char* value(int stage) const {
    return key(stage) + Tile::kKeyBytes;
  }
  __device__ __forceinline__ ForwardSignals& signals() const {
    return *reinterpret_cast<ForwardSignals*>(key(ForwardSignals::kStages));
  }
  static constexpr std::size_t kBytes =
      Tile::kQueryBytes + 2 * ForwardSignals::kStages * Tile::kKeyBytes + sizeof(ForwardSignals);
  static_assert(kBytes <= 227 << 10);
};

template <int kDepth, class Map>
__device__ __forceinline__ void produce(const AttentionProblem& p,
                                        const HopperOperands<Map>& operands,
                                        const HopperTasks& tasks) {
  using Tile = HopperForwardTile<kDepth>;
  constexpr int kKeys = Tile::kKeys;
  const ForwardStore<kDepth> store{aligned_shared_memory()};
  ForwardSignals& signals = store.signals();
  Stage<ForwardSignals::kStages> key, value;
#pragma unroll 1
  for (int t = tasks.first(blockIdx.x), round = 0; t < tasks.count;
       t = tasks.next(blockIdx.x, ++round)) {
    const HopperTask task(tasks, t, Tile::kRows);
    const int i_end = lesser(task.row + Tile::kRows, p.queries), end = p.end_key(i_end);
    const std::int64_t square_at =
        p.mask_kind == AttentionMask::none ? 0 : offset_of(p.square_axes, task.index);
    Cover cover = Cover::none;
    const auto next = [&](int j) {
      for (; j < end; j += kKeys) {
        cover = p.cover({task.row, i_end, j, j + kKeys}, square_at);
        if (cover != Cover::none) break;
      }
      return j;
    };
    const auto post = [&](int j) {
      wait_phase(signals.key_done[key.at()], key.parity() ^ 1);
      signals.key_begin[key.at()] = j < end ? j : ForwardSignals::kNoKeys;
      signals.masked[key.at()] = cover != Cover::all;
      if (j < end)
        announce_tile<kKeys, kDepth>(store.key(key.at()), operands.key, task.index, j,
                                     signals.key_there[key.at()]);
      else
        arrive(signals.key_there[key.at()]);
      key.advance();
    };

    wait_phase(signals.query_done, static_cast<std::uint32_t>(round + 1) % 2);
    announce_tile<Tile::kRows, kDepth>(store.query(), operands.query, task.index, task.row,
                                       signals.query_there);
    int j = next(p.first_key(task.row) / kKeys * kKeys);
    post(j);
#pragma unroll 1
    while (j < end) {
      const int ahead = next(j + kKeys);
      post(ahead);
      wait_phase(signals.value_done[value.at()], value.parity() ^ 1);
      announce_tile<kKeys, kDepth>(store.value(value.at()), operands.value, task.index, j,
                                   signals.value_there[value.at()]);
      value.advance();
      j = ahead;
    }
  }
}

// Scores times `factor` become exponentials; what was summed before is to shrink as `shrink` says.
template <int kKeys>
__device__ __forceinline__ void exponentiate(WarpTile<kKeys>& s, OnlineRow (&rows)[2], float factor,
                                             float (&shrink)[2]) {
  float top[2] = {-INFINITY, -INFINITY}, shift[2];
  s.each_by_row([&](int h, float& v) { top[h] = fmaxf(top[h], v); });
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    top[h] = fmaxf(top[h], from_lane_xor(top[h], 1));
    top[h] = fmaxf(top[h], from_lane_xor(top[h], 2));
    shrink[h] = power_of_two(rows[h].raise(top[h] * factor));
    shift[h] = rows[h].shift();
    rows[h].sum *= shrink[h];
  }
  s.each_by_row([&](int h, float& v) {
    v = power_of_two(fmaf(v, factor, -shift[h]));
    rows[h].sum += v;
  });
}

// One of the two warpgroups that compute.
template <class T, int kDepth>
struct ForwardConsumer {
  using Tile = HopperForwardTile<kDepth>;
  static constexpr int kKeys = Tile::kKeys, kAll = 128 * Tile::kGroups;
  // A product has at most 128 columns here.
  static constexpr int kPart = kDepth < 128 ? kDepth : 128, kParts = kDepth / kPart;

  const AttentionProblem& p;
  const ForwardStore<kDepth> store;
  const int group;  // 0 or 1
  Stage<ForwardSignals::kStages> key, value;
  WarpTile<kKeys> scores;
  WarpTile<kPart> sums[kParts];
  LeftOperand<kKeys> weights;
  OnlineRow rows[2];

  __device__ __forceinline__ ForwardConsumer(const AttentionProblem& problem, int which)
      : p(problem), store{aligned_shared_memory()}, group(which) {}

  __device__ __forceinline__ void done_with_keys() {
    warp_is_done(store.signals().key_done[key.at()]);
    key.advance();
  }
  __device__ __forceinline__ void done_with_values() {
    warp_is_done(store.signals().value_done[value.at()]);
    value.advance();
  }

  // Turns at the matrix units: a warpgroup waits for its own barrier and opens the other's.
  __device__ __forceinline__ void await_turn() const { sync_named(1 + group, kAll); }
  __device__ __forceinline__ void pass_turn() const { arrive_named(2 - group, kAll); }

  // The next keys' place in the task; kNoKeys behind its last.
  __device__ __forceinline__ int await_keys() const {
    ForwardSignals& signals = store.signals();
    wait_phase(signals.key_there[key.at()], key.parity());
    return signals.key_begin[key.at()];
  }

  __device__ __forceinline__ void begin_scores() {
    const std::uint64_t query = rows_descriptor(shared_address(store.query())) +
                                down(64) * static_cast<std::uint64_t>(group);
    const std::uint64_t keys = rows_descriptor(shared_address(store.key(key.at())));
    begin_products();
    begin_product<T, false, Deep::along_rows, Deep::along_rows>(scores, query, keys);
#pragma unroll
    for (int k = 16; k < kDepth; k += 16)
      begin_product<T, true, Deep::along_rows, Deep::along_rows>(
          scores, query + right(Tile::kRows, k), keys + right(kKeys, k));
    commit_products();
  }

  __device__ __forceinline__ void begin_sums() {
    wait_phase(store.signals().value_there[value.at()], value.parity());
    const std::uint64_t values = columns_descriptor(shared_address(store.value(value.at())), kKeys);
    begin_products();
#pragma unroll
    for (int k = 0; k < kKeys; k += 16)
#pragma unroll
      for (int i = 0; i < kParts; ++i)
        begin_product<T, Deep::down_columns>(sums[i], weights.at[k / 16],
                                             values + down(k) + right(kKeys, i * kPart));
    commit_products();
  }

  // Scores of the keys from j on, once they are there, become weights.
  __device__ __forceinline__ void weigh(const HopperTask& task, int j, float (&shrink)[2]) {
    float factor = p.scale * kLog2e;
    const bool masked = store.signals().masked[key.at()] != 0;
    done_with_keys();
    if (masked) {
      if (p.mask_kind == AttentionMask::additive) {
        scores.each([&](int, int, float& v) { v *= factor; });
        factor = 1;
      }
      const std::int64_t mask_at =
          p.mask_kind == AttentionMask::none ? 0 : offset_of(p.mask.axes, task.index);
      const int r = task.row + warp_row(group) + scores.row(0);
      const MaskLine lines[2] = {p.keys_of(r, j, mask_at, kKeys),
                                 p.keys_of(r + 8, j, mask_at, kKeys)};
      apply_mask<T>(scores, p, lines);
    }
    exponentiate(scores, rows, factor, shrink);
  }

  __device__ __forceinline__ void compute(const HopperTask& task) {
    ForwardSignals& signals = store.signals();
    float shrink[2];
    int j = await_keys();
    if (j == ForwardSignals::kNoKeys) {
      done_with_keys();
      warp_is_done(signals.query_done);
      return;
    }
    begin_scores();
    wait_products<0>();
    settle(scores);
    weigh(task, j, shrink);
    weights.template round<T>(scores);
#pragma unroll 1
    while ((j = await_keys()) != ForwardSignals::kNoKeys) {
      await_turn();
      begin_scores();
      begin_sums();
      pass_turn();
      wait_products<1>();
      settle(scores);
      weigh(task, j, shrink);
      wait_products<0>();
#pragma unroll
      for (int i = 0; i < kParts; ++i) {
        settle(sums[i]);
        sums[i].each_by_row([&](int h, float& v) { v *= shrink[h]; });
      }
      done_with_values();
      weights.template round<T>(scores);
    }
    done_with_keys();
    warp_is_done(signals.query_done);
    begin_sums();
    wait_products<0>();
#pragma unroll
    for (int i = 0; i < kParts; ++i) settle(sums[i]);
    done_with_values();
  }

  __device__ __forceinline__ void write(const HopperTask& task, const ForwardTargets& to) {
    const std::int64_t row = std::int64_t{task.index} * p.queries + task.row + warp_row(group);
    const int left = p.queries - task.row - warp_row(group);
    float factor[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      rows[h].sum += from_lane_xor(rows[h].sum, 1);
      rows[h].sum += from_lane_xor(rows[h].sum, 2);
      factor[h] = rows[h].sum == 0 ? 0.0f : 1 / rows[h].sum;
      const int r = scores.row(2 * h);
      if (r >= left || WarpTile<8>::lane() % 4 != 0) continue;
      to.max[row + r] = rows[h].max;
      to.sum[row + r] = rows[h].sum;
    }
    T* output = static_cast<T*>(to.output) + row * p.value_width;
#pragma unroll
    for (int i = 0; i < kParts; ++i)
      store_rows<T>(sums[i], factor, output, left, i * kPart, p.value_width);
  }

  __device__ __forceinline__ void run(const HopperTasks& tasks, const ForwardTargets& to) {
    if (group == 1) pass_turn();
#pragma unroll 1
    for (int t = tasks.first(blockIdx.x), round = 0; t < tasks.count;
         t = tasks.next(blockIdx.x, ++round)) {
      const HopperTask task(tasks, t, Tile::kRows);
      rows[0] = rows[1] = OnlineRow();
#pragma unroll
      for (int i = 0; i < kParts; ++i) sums[i].clear();
      wait_phase(store.signals().query_there, static_cast<std::uint32_t>(round) % 2);
      compute(task);
      write(task, to);
    }
    if (group == 0) await_turn();  // which the other has passed once more
  }
};

template <class T, int kDepth, class Map>
PYFAST_KERNEL((HopperForwardTile<kDepth>::kThreads), 1)
forward_sm90a_kernel(const PYFAST_GRID_CONSTANT AttentionProblem p,
                     const PYFAST_GRID_CONSTANT HopperOperands<Map> operands,
                     const PYFAST_GRID_CONSTANT HopperTasks tasks,
                     const PYFAST_GRID_CONSTANT ForwardTargets to) {
  using Tile = HopperForwardTile<kDepth>;
  const ForwardStore<kDepth> store{aligned_shared_memory()};
  if (threadIdx.x == 0) store.signals().begin(4 * Tile::kGroups);
  sync_block();
  const int group = uniform(static_cast<int>(threadIdx.x) / 128);
  if (group == Tile::kGroups) {
    keep_registers<Tile::kLoadRegisters>();
    if (threadIdx.x % 128 == 0) produce<kDepth>(p, operands, tasks);
  } else {
    claim_registers<Tile::kRegisters>();
    ForwardConsumer<T, kDepth>(p, group).run(tasks, to);
  }
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

// `rows` and output as attention_forward writes them.
template <class Map, class Launch>
void forward_sm90a_into(const AttentionPlan& plan, const HopperForward<Map>& how,
                        const TensorView& output, const AttentionRows& rows, const Launch& launch) {
  const ForwardTargets to{output.data, rows.max.as<float>(), rows.sum.as<float>(), nullptr};
  const auto start = [&]<class T>() {
    visit_hopper_depth(plan.depth, [&]<int kDepth>() {
      using Tile = HopperForwardTile<kDepth>;
      launch(&forward_sm90a_kernel<T, kDepth, Map>, how.tasks.blocks, Tile::kThreads,
             ForwardStore<kDepth>::kBytes, plan.problem, how.operands, how.tasks, to);
      if (plan.problem.forbids())
        launch(&mend_rows<T, kDepth>, (plan.problem.batch * plan.problem.queries + 3) / 4, 128, 0,
               plan.problem, output.as<T>(), rows.max.as<const float>(),
               rows.sum.as<const float>());
    });
  };
  if (plan.dtype == DType::f16)
    start.template operator()<__half>();
  else
    start.template operator()<__nv_bfloat16>();
}

}  // namespace pyfast::cuda
