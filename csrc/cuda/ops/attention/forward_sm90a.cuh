// Forward on sm_90a: a warp keeps TMA busy, two warpgroups of 64 queries each take turns at the
// matrix units (Shah et al., "FlashAttention-3", 2024). While one exponentiates, the other
// multiplies; and a warpgroup's scores of the next keys run beside the values of these. Blocks of
// threads stay and take one task after another, so that a task's first copies run beside the end
// of the one before. 128 x 128 scores at a time (128 x 64 for heads of 256): what fits 227 KiB of
// shared memory with two stages of keys and values, and the registers.
#pragma once

#include "cuda/hopper/machine.cuh"
#include "cuda/ops/attention/forward.cuh"
#include "cuda/ops/attention/plan_sm90a.h"

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

// Which stage is next, and the parity of its barriers' phase.
struct Stage {
  int at = 0;
  std::uint32_t parity = 0;
  __device__ __forceinline__ void advance() {
    at = (at + 1) % ForwardSignals::kStages;
    parity ^= at == 0 ? 1u : 0u;
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

// Rows from `row` on, announced and on their way; by one thread.
template <int kRows, int kDepth, class Map>
__device__ __forceinline__ void send_tile(unsigned char* to, const BatchedMap<Map>& from,
                                          std::int64_t index, int row, Mbarrier& there) {
  const auto element = static_cast<std::uint32_t>(index);
  const int batch[3] = {from.batch.at(element, 0), from.batch.at(element, 1),
                        from.batch.at(element, 2)};
  arrive_expecting(there, tile_bytes(kRows, kDepth));
#pragma unroll 1
  for (int c = 0; c < kDepth; c += kPanelColumns, to += panel_bytes(kRows))
    load_panel(to, from.map, there, c, row, batch);
}

template <int kDepth, class Map>
__device__ __forceinline__ void produce(const AttentionProblem& p,
                                        const HopperOperands<Map>& operands,
                                        const HopperTasks& tasks) {
  using Tile = HopperForwardTile<kDepth>;
  constexpr int kKeys = Tile::kKeys;
  const ForwardStore<kDepth> store{aligned_shared_memory()};
  ForwardSignals& signals = store.signals();
  Stage key, value;
  std::uint32_t parity = 1;
#pragma unroll 1
  for (std::int64_t t = tasks.first(blockIdx.x), round = 0; t < tasks.count;
       t = tasks.next(blockIdx.x, ++round)) {
    const HopperTask task(tasks, t, Tile::kRows);
    const int i_end = lesser(task.row + Tile::kRows, p.queries), end = p.end_key(i_end);
    const std::int64_t square_at =
        p.mask_kind == AttentionMask::none ? 0 : p.square_axes.offset(task.index);
    Cover cover = Cover::none;
    const auto next = [&](int j) {
      for (; j < end; j += kKeys) {
        cover = p.cover({task.row, i_end, j, j + kKeys}, square_at);
        if (cover != Cover::none) break;
      }
      return j;
    };
    const auto post = [&](int j) {
      wait_phase(signals.key_done[key.at], key.parity ^ 1);
      signals.key_begin[key.at] = j < end ? j : ForwardSignals::kNoKeys;
      signals.masked[key.at] = cover != Cover::all;
      if (j < end)
        send_tile<kKeys, kDepth>(store.key(key.at), operands.key, task.index, j,
                                 signals.key_there[key.at]);
      else
        arrive(signals.key_there[key.at]);
      key.advance();
    };

    wait_phase(signals.query_done, parity);
    parity ^= 1;
    send_tile<Tile::kRows, kDepth>(store.query(), operands.query, task.index, task.row,
                                   signals.query_there);
    int j = next(p.first_key(task.row) / kKeys * kKeys);
    post(j);
#pragma unroll 1
    while (j < end) {
      const int ahead = next(j + kKeys);
      post(ahead);
      wait_phase(signals.value_done[value.at], value.parity ^ 1);
      send_tile<kKeys, kDepth>(store.value(value.at), operands.value, task.index, j,
                               signals.value_there[value.at]);
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

// A warpgroup's left operand in registers, of a product's result.
template <int kInner>
struct LeftOperand {
  std::uint32_t at[kInner / 16][4];

  template <class T>
  __device__ __forceinline__ void round(const WarpTile<kInner>& from) {
#pragma unroll
    for (int k = 0; k < kInner / 16; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float (&four)[4] = from.at[2 * k + i / 2];
        at[k][i] = rounded_pair<T>(four[i % 2 * 2], four[i % 2 * 2 + 1]);
      }
  }
};

// The rows of a warp, times factor[h], to `rows` rows of `width` elements at `to`, the columns from
// `column` on. Four lanes, who
// hold a row's columns by twos, trade them for eight neighbours each: 16 bytes.
template <class T, int kColumns>
__device__ __forceinline__ void store_rows(const WarpTile<kColumns>& sums, const float (&factor)[2],
                                           T* to, int rows, int column, int width) {
  const int lane = WarpTile<kColumns>::lane();
#pragma unroll
  for (int n = 0; n < kColumns / 8; n += 4)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      std::uint32_t word[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        word[i] = rounded_pair<T>(sums.at[n + i][2 * h] * factor[h],
                                  sums.at[n + i][2 * h + 1] * factor[h]);
#pragma unroll
      for (int bit = 1; bit <= 2; bit *= 2) {
        const bool high = (lane & bit) != 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (i & bit) continue;
          const std::uint32_t theirs = from_lane_xor(high ? word[i] : word[i | bit], bit);
          (high ? word[i] : word[i | bit]) = theirs;
        }
      }
      const int r = lane / 4 + 8 * h, c = column + 8 * n + 8 * (lane % 4);
      if (r >= rows || c >= width) continue;
      const Pack<std::uint32_t, 4> eight{{word[0], word[1], word[2], word[3]}};
      *reinterpret_cast<Pack<std::uint32_t, 4>*>(to + static_cast<std::int64_t>(r) * width + c) =
          eight;
    }
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
  Stage key, value;
  WarpTile<kKeys> scores;
  WarpTile<kPart> sums[kParts];
  LeftOperand<kKeys> weights;
  OnlineRow rows[2];

  __device__ __forceinline__ ForwardConsumer(const AttentionProblem& problem, int which)
      : p(problem), store{aligned_shared_memory()}, group(which) {}

  // The warp's first row within the task's.
  __device__ __forceinline__ int first_row() const {
    return 64 * group + static_cast<int>(threadIdx.x) % 128 / 32 * 16;
  }
  // Of a warp, once all its lanes are done with a tile.
  __device__ __forceinline__ void done(Mbarrier& barrier) const {
    sync_warp();
    if (WarpTile<8>::lane() == 0) arrive(barrier);
  }
  __device__ __forceinline__ void done_with_keys() {
    done(store.signals().key_done[key.at]);
    key.advance();
  }
  __device__ __forceinline__ void done_with_values() {
    done(store.signals().value_done[value.at]);
    value.advance();
  }

  // Turns at the matrix units: a warpgroup waits for its own barrier and opens the other's.
  __device__ __forceinline__ void await_turn() const { sync_named(1 + group, kAll); }
  __device__ __forceinline__ void pass_turn() const { arrive_named(2 - group, kAll); }

  // The next keys' place in the task; kNoKeys behind its last.
  __device__ __forceinline__ int await_keys() const {
    ForwardSignals& signals = store.signals();
    wait_phase(signals.key_there[key.at], key.parity);
    return signals.key_begin[key.at];
  }

  __device__ __forceinline__ void begin_scores() {
    const std::uint64_t query = rows_descriptor(shared_address(store.query())) +
                                down(64) * static_cast<std::uint64_t>(group);
    const std::uint64_t keys = rows_descriptor(shared_address(store.key(key.at)));
    begin_products();
    begin_product<T, false, Deep::along_rows, Deep::along_rows>(scores, query, keys);
#pragma unroll
    for (int k = 16; k < kDepth; k += 16)
      begin_product<T, true, Deep::along_rows, Deep::along_rows>(
          scores, query + right(Tile::kRows, k), keys + right(kKeys, k));
    commit_products();
  }

  __device__ __forceinline__ void begin_sums() {
    wait_phase(store.signals().value_there[value.at], value.parity);
    const std::uint64_t values = columns_descriptor(shared_address(store.value(value.at)), kKeys);
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
    const bool masked = store.signals().masked[key.at] != 0;
    done_with_keys();
    if (masked) {
      if (p.mask_kind == AttentionMask::additive) {
        scores.each([&](int, int, float& v) { v *= factor; });
        factor = 1;
      }
      const std::int64_t mask_at =
          p.mask_kind == AttentionMask::none ? 0 : p.mask.axes.offset(task.index);
      const int r = task.row + first_row() + scores.row(0);
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
      done(signals.query_done);
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
    done(signals.query_done);
    begin_sums();
    wait_products<0>();
#pragma unroll
    for (int i = 0; i < kParts; ++i) settle(sums[i]);
    done_with_values();
  }

  __device__ __forceinline__ void write(const HopperTask& task, const ForwardTargets& to) {
    const std::int64_t row = task.index * p.queries + task.row + first_row();
    const int left = p.queries - task.row - first_row();
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
    std::uint32_t parity = 0;
    if (group == 1) pass_turn();
#pragma unroll 1
    for (std::int64_t t = tasks.first(blockIdx.x), round = 0; t < tasks.count;
         t = tasks.next(blockIdx.x, ++round)) {
      const HopperTask task(tasks, t, Tile::kRows);
      rows[0] = rows[1] = OnlineRow();
#pragma unroll
      for (int i = 0; i < kParts; ++i) sums[i].clear();
      wait_phase(store.signals().query_there, parity);
      parity ^= 1;
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
    });
  };
  if (plan.dtype == DType::f16)
    start.template operator()<__half>();
  else
    start.template operator()<__nv_bfloat16>();
}

}  // namespace pyfast::cuda
