// Backward on sm_90a, as backward.cuh has it: one kernel for the gradient of queries, which owns
// queries and streams keys and values, one for those of keys and values, which owns these and
// streams queries and upstream gradients. Both are the same walk: a block owns 128 rows of two
// operands, 64 a warpgroup, and streams kStep rows of two others at a time,
//
//   scores = own streamed^T           -> weights, by the rows' log-sum-exp
//   slopes = own' streamed'^T         -> gradients of scores
//   sums  += slopes streamed          (and sums' += weights streamed', for values)
//
// A step's sums run beside the scores of the next. Registers bound all this: keys of heads of 128
// have 128 sums a thread, and with steps of 64 ptxas had no room and made every product wait for
// the one before; 48 fit. Five products would do instead of seven, but then blocks would add to one
// another's queries: see backward.cuh.
#pragma once

#include "cuda/ops/attention/backward.cuh"
#include "cuda/ops/attention/plan_sm90a.h"
#include "cuda/ops/attention/tiles_sm90a.cuh"

namespace pyfast::cuda {

// Of a row of scores, in units of log 2: a weight is 2^(score - log_sum), its score's gradient
// weight * (slope - dot). Half types cannot tell the maximum and the sum from their log-sum-exp.
struct alignas(8) RowTerms {
  float log_sum, dot;
};

// A warp a row.
template <class T>
PYFAST_KERNEL(128)
row_terms(const T* grad, const T* output, const float* max, const float* sum, int queries,
          std::int64_t rows, int width, RowTerms* terms) {
  const std::int64_t place = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  if (place >= rows) return;
  const std::int64_t in_element = place % padded_rows(queries);
  const std::int64_t row = place / padded_rows(queries) * queries + in_element;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (in_element >= queries) {
    if (lane == 0) terms[place] = {INFINITY, 0};
    return;
  }
  float dot = 0;
  for (int c = lane; c < width; c += 32)
    dot = fmaf(to_float(grad[row * width + c]), to_float(output[row * width + c]), dot);
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) dot += from_lane_xor(dot, bits);
  if (lane == 0) terms[place] = {sum[row] == 0 ? INFINITY : max[row] + log2f(sum[row]), dot};
}

// The producer's posts, step by step, then kNoStep; with them goes what consumers need of a step.
template <int kStep>
struct GradientSignals {
  static constexpr int kStages = 4, kNoStep = -1;
  Mbarrier own_there, own_done, there[kStages], done[kStages];
  int begin[kStages], masked[kStages], element[kStages];  // element: of the batch
  alignas(16) RowTerms terms[kStages][kStep];             // of streamed queries

  __device__ __forceinline__ void initialize(int consumer_warps) {
    begin_barrier(own_there, 1);
    begin_barrier(own_done, consumer_warps);
    for (int i = 0; i < kStages; ++i) {
      begin_barrier(there[i], 1);
      begin_barrier(done[i], consumer_warps);
    }
    publish_barriers();
  }
};

template <int kDepth, bool kOfKeys>
struct GradientStore {
  using Tile = HopperGradientTile<kDepth, kOfKeys>;
  using Signals = GradientSignals<Tile::kStep>;
  static constexpr std::uint32_t kOwnBytes = tile_bytes(Tile::kRows, kDepth);
  static constexpr std::uint32_t kStreamedBytes = tile_bytes(Tile::kStep, kDepth);
  unsigned char* base;

  // `which` of the two operands.
  __device__ __forceinline__ unsigned char* own(int which) const {
    return base + static_cast<std::uint32_t>(which) * kOwnBytes;
  }
  __device__ __forceinline__ unsigned char* streamed(int stage, int which) const {
    return base + 2 * kOwnBytes + static_cast<std::uint32_t>(2 * stage + which) * kStreamedBytes;
  }
  __device__ __forceinline__ Signals& signals() const {
    return *reinterpret_cast<Signals*>(streamed(Signals::kStages, 0));
  }
  static constexpr std::size_t kBytes =
      2 * kOwnBytes + 2 * Signals::kStages * kStreamedBytes + sizeof(Signals);
  static_assert(kBytes <= 227 << 10);
};

// What a kernel of gradients is told beside the problem.
template <class Map>
struct GradientWork {
  HopperGradients<Map> operands;
  HopperTasks tasks;
  GradientSteps steps;
  const RowTerms* terms;
  void *gradient, *other;  // of queries; or of keys and values, either of which may be null
};

// The producer: one thread.
template <int kDepth, bool kOfKeys, class Map>
__device__ __forceinline__ void produce_steps(const AttentionProblem& p,
                                              const GradientWork<Map>& work) {
  using Tile = HopperGradientTile<kDepth, kOfKeys>;
  constexpr int kRows = Tile::kRows, kStep = Tile::kStep;
  const GradientStore<kDepth, kOfKeys> store{aligned_shared_memory()};
  auto& signals = store.signals();
  const HopperGradients<Map>& o = work.operands;
  Stage<GradientSignals<Tile::kStep>::kStages> stage;
#pragma unroll 1
  for (int t = work.tasks.first(blockIdx.x), round = 0; t < work.tasks.count;
       t = work.tasks.next(blockIdx.x, ++round)) {
    const HopperTask task(work.tasks, t, kRows);
    const int row_end = lesser(task.row + kRows, kOfKeys ? p.keys : p.queries);
    const int begin = (kOfKeys ? p.first_query(task.row) : p.first_key(task.row)) / kStep * kStep;
    const int end = kOfKeys ? p.end_query(row_end) : p.end_key(row_end);
    wait_phase(signals.own_done, static_cast<std::uint32_t>(round + 1) % 2);
    int index = task.index * work.steps.element;
    arrive_expecting(signals.own_there, 2 * tile_bytes(kRows, kDepth));
    send_tile<kRows, Tile::kOwnBox, kDepth>(store.own(0), kOfKeys ? o.key : o.query, index,
                                            task.row, signals.own_there);
    send_tile<kRows, Tile::kOwnBox, kDepth>(store.own(1), kOfKeys ? o.value : o.grad, index,
                                            task.row, signals.own_there);
#pragma unroll 1
    for (int sum = 0; sum < work.steps.sums; ++sum, index += work.steps.sum) {
      const std::int64_t square_at =
          p.mask_kind == AttentionMask::none ? 0 : offset_of(p.square_axes, index);
#pragma unroll 1
      for (int i = begin; i < end; i += kStep) {
        const Cover cover = p.cover(kOfKeys ? ScoreBlock{i, i + kStep, task.row, row_end}
                                            : ScoreBlock{task.row, row_end, i, i + kStep},
                                    square_at);
        if (cover == Cover::none) continue;
        wait_phase(signals.done[stage.at()], stage.parity() ^ 1);
        signals.begin[stage.at()] = i;
        signals.masked[stage.at()] = cover != Cover::all;
        signals.element[stage.at()] = index;
        Mbarrier& there = signals.there[stage.at()];
        constexpr std::uint32_t kTerms = kOfKeys ? sizeof(RowTerms) * kStep : 0;
        arrive_expecting(there, 2 * tile_bytes(kStep, kDepth) + kTerms);
        if constexpr (kOfKeys)
          load_bytes(signals.terms[stage.at()], work.terms + (index * padded_rows(p.queries) + i),
                     kTerms, there);
        send_tile<kStep, kStep, kDepth>(store.streamed(stage.at(), 0), kOfKeys ? o.query : o.key,
                                        index, i, there);
        send_tile<kStep, kStep, kDepth>(store.streamed(stage.at(), 1), kOfKeys ? o.grad : o.value,
                                        index, i, there);
        stage.advance();
      }
    }
    wait_phase(signals.done[stage.at()], stage.parity() ^ 1);
    signals.begin[stage.at()] = GradientSignals<kStep>::kNoStep;
    arrive(signals.there[stage.at()]);
    stage.advance();
  }
}

// One of the two warpgroups that compute.
template <class T, int kDepth, bool kOfKeys>
struct GradientConsumer {
  using Tile = HopperGradientTile<kDepth, kOfKeys>;
  static constexpr int kRows = Tile::kRows, kStep = Tile::kStep;

  const AttentionProblem& p;
  const GradientStore<kDepth, kOfKeys> store;
  const int group;
  Stage<GradientSignals<Tile::kStep>::kStages> stage;
  WarpTile<kStep> scores, slopes;
  WarpTile<kDepth> sums;
  WarpTile<kOfKeys ? kDepth : 8> other_sums;
  LeftOperand<kStep> left_scores, left_slopes;
  RowTerms mine[2];  // of the lane's queries

  __device__ __forceinline__ GradientConsumer(const AttentionProblem& problem, int which)
      : p(problem), store{aligned_shared_memory()}, group(which) {}

  // to = own streamed^T, of one of the operands.
  __device__ __forceinline__ void begin_scores(WarpTile<kStep>& to, int which) {
    const std::uint64_t own = rows_descriptor(shared_address(store.own(which))) +
                              down(64) * static_cast<std::uint64_t>(group);
    const std::uint64_t streamed =
        rows_descriptor(shared_address(store.streamed(stage.at(), which)));
    begin_products();
    begin_product<T, false, Deep::along_rows, Deep::along_rows>(to, own, streamed);
#pragma unroll
    for (int k = 16; k < kDepth; k += 16)
      begin_product<T, true, Deep::along_rows, Deep::along_rows>(to, own + right(kRows, k),
                                                                 streamed + right(kStep, k));
    commit_products();
  }

  template <int kColumns>
  __device__ __forceinline__ void begin_sums(WarpTile<kColumns>& to, const LeftOperand<kStep>& left,
                                             int which) {
    const std::uint64_t streamed =
        columns_descriptor(shared_address(store.streamed(stage.at(), which)), kStep);
    begin_products();
#pragma unroll
    for (int k = 0; k < kStep; k += 16)
      begin_product<T, Deep::down_columns>(to, left.at[k / 16], streamed + down(k));
    commit_products();
  }

  // Of column 8 n + 2 (lane % 4) + e % 2 and the lane's row e / 2.
  __device__ __forceinline__ void terms_of(int n, RowTerms (&to)[4]) const {
    if constexpr (kOfKeys) {
      const RowTerms* from =
          store.signals().terms[stage.at()] + 8 * n + WarpTile<8>::lane() % 4 * 2;
      const auto two = *reinterpret_cast<const Pack<RowTerms, 2>*>(from);
      to[0] = to[2] = two.at[0];
      to[1] = to[3] = two.at[1];
    } else {
      to[0] = to[1] = mine[0];
      to[2] = to[3] = mine[1];
    }
  }

  __device__ __forceinline__ void weigh(int row, int begin) {
    const auto& signals = store.signals();
    float factor = p.scale * kLog2e;
    if (signals.masked[stage.at()]) {
      if (p.mask_kind == AttentionMask::additive) {
        scores.each([&](int, int, float& v) { v *= factor; });
        factor = 1;
      }
      const std::int64_t mask_at = p.mask_kind == AttentionMask::none
                                       ? 0
                                       : offset_of(p.mask.axes, signals.element[stage.at()]);
      const auto line = [&](int r) {
        return kOfKeys ? p.queries_of(r, begin, mask_at, kStep)
                       : p.keys_of(r, begin, mask_at, kStep);
      };
      const MaskLine lines[2] = {line(row), line(row + 8)};
      apply_mask<T>(scores, p, lines);
    }
#pragma unroll
    for (int n = 0; n < kStep / 8; ++n) {
      RowTerms terms[4];
      terms_of(n, terms);
#pragma unroll
      for (int e = 0; e < 4; ++e)
        scores.at[n][e] = power_of_two(fmaf(scores.at[n][e], factor, -terms[e].log_sum));
    }
  }

  // Gradients of scores; a weight of 0 lets no NaN through.
  __device__ __forceinline__ void slope() {
#pragma unroll
    for (int n = 0; n < kStep / 8; ++n) {
      RowTerms terms[4];
      terms_of(n, terms);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float weight = scores.at[n][e];
        slopes.at[n][e] = weight == 0 ? 0.0f : weight * (slopes.at[n][e] - terms[e].dot);
      }
    }
  }

  __device__ __forceinline__ int await_step() const {
    auto& signals = store.signals();
    wait_phase(signals.there[stage.at()], stage.parity());
    return signals.begin[stage.at()];
  }

  __device__ __forceinline__ void compute(int row) {
    auto& signals = store.signals();
    int begin, before = -1;
#pragma unroll 1
    while ((begin = await_step()) != GradientSignals<kStep>::kNoStep) {
      begin_scores(scores, 0);
      wait_products<1>();  // the sums of the step before
      if (before >= 0) warp_is_done(signals.done[before]);
      begin_scores(slopes, 1);
      wait_products<1>();
      settle(scores);
      weigh(row, begin);
      if constexpr (kOfKeys) {
        left_scores.template round<T>(scores);
        begin_sums(other_sums, left_scores, 1);
        wait_products<1>();
      } else {
        wait_products<0>();
      }
      settle(slopes);
      slope();
      left_slopes.template round<T>(slopes);
      begin_sums(sums, left_slopes, 0);
      before = stage.at();
      stage.advance();
    }
    wait_products<0>();
    settle(sums);
    if constexpr (kOfKeys) settle(other_sums);
    if (before >= 0) warp_is_done(signals.done[before]);
    warp_is_done(signals.done[stage.at()]);
    stage.advance();
    warp_is_done(signals.own_done);
  }

  __device__ __forceinline__ void write(const HopperTask& task, void* to,
                                        const WarpTile<kDepth>& from, float factor, int width) {
    const int row = task.row + warp_row(group), rows = kOfKeys ? p.keys : p.queries;
    const float factors[2] = {factor, factor};
    T* first = static_cast<T*>(to) + (std::int64_t{task.index} * rows + row) * width;
    store_rows<T>(from, factors, first, rows - row, 0, width);
  }

  template <class Map>
  __device__ __forceinline__ void run(const GradientWork<Map>& work) {
#pragma unroll 1
    for (int t = work.tasks.first(blockIdx.x), round = 0; t < work.tasks.count;
         t = work.tasks.next(blockIdx.x, ++round)) {
      const HopperTask task(work.tasks, t, kRows);
      const int row = task.row + warp_row(group) + scores.row(0);
      if constexpr (!kOfKeys) {
        const std::int64_t first = padded_rows(p.queries) * (task.index * work.steps.element);
#pragma unroll
        for (int h = 0; h < 2; ++h)
          mine[h] =
              row + 8 * h < p.queries ? work.terms[first + row + 8 * h] : RowTerms{INFINITY, 0};
      }
      sums.clear();
      if constexpr (kOfKeys) other_sums.clear();
      wait_phase(store.signals().own_there, static_cast<std::uint32_t>(round) % 2);
      compute(row);
      if (work.gradient) write(task, work.gradient, sums, p.scale, p.width);
      if constexpr (kOfKeys)
        if (work.other) write(task, work.other, other_sums, 1, p.value_width);
    }
  }
};

template <class T, int kDepth, bool kOfKeys, class Map>
PYFAST_KERNEL((HopperGradientTile<kDepth, kOfKeys>::kThreads), 1)
gradient_sm90a_kernel(const PYFAST_GRID_CONSTANT AttentionProblem p,
                      const PYFAST_GRID_CONSTANT GradientWork<Map> work) {
  using Tile = HopperGradientTile<kDepth, kOfKeys>;
  const GradientStore<kDepth, kOfKeys> store{aligned_shared_memory()};
  if (threadIdx.x == 0) store.signals().initialize(4 * Tile::kGroups);
  sync_block();
  const int group = uniform(static_cast<int>(threadIdx.x) / 128);
  if (group == Tile::kGroups) {
    keep_registers<Tile::kLoadRegisters>();
    if (threadIdx.x % 128 == 0) produce_steps<kDepth, kOfKeys>(p, work);
  } else {
    claim_registers<Tile::kRegisters>();
    GradientConsumer<T, kDepth, kOfKeys>(p, group).run(work);
  }
}

// `terms` is workspace for a RowTerms a row of scores, as many as padded_rows says.
template <class Map, class Launch>
void backward_sm90a_into(const AttentionPlan& plan, const HopperBackward<Map>& how,
                         const TensorView& grad, const TensorView& output,
                         const AttentionRows& rows, const TensorView& terms,
                         const BackwardTargets& to, const Launch& launch) {
  const AttentionProblem& p = plan.problem;
  const std::int64_t all = p.batch * padded_rows(p.queries);
  auto* each = static_cast<RowTerms*>(terms.data);
  const BackwardRows statistics{rows.max.as<float>(), rows.sum.as<float>(), &each->dot,
                                padded_rows(p.queries), sizeof(RowTerms) / sizeof(float)};
  const auto pointer = [](const TensorView& x) { return x.defined ? x.data : nullptr; };
  const GradientWork<Map> of_queries{how.query_operands,   how.query_tasks, how.query_steps, each,
                                     pointer(to.query_to), nullptr};
  const GradientWork<Map> of_keys{how.key_operands,   how.key_tasks,       how.key_steps, each,
                                  pointer(to.key_to), pointer(to.value_to)};
  const auto start = [&]<class T>() {
    launch(&row_terms<T>, (all + 3) / 4, 128, 0, grad.as<const T>(), output.as<const T>(),
           rows.max.as<const float>(), rows.sum.as<const float>(), p.queries, all, p.value_width,
           each);
    const auto both = [&]<int kDepth>() {
      constexpr int kThreads = HopperGradientTile<kDepth, true>::kThreads;
      if (of_queries.gradient)
        launch(&gradient_sm90a_kernel<T, kDepth, false, Map>, of_queries.tasks.blocks, kThreads,
               GradientStore<kDepth, false>::kBytes, p, of_queries);
      if (of_keys.gradient || of_keys.other)
        launch(&gradient_sm90a_kernel<T, kDepth, true, Map>, of_keys.tasks.blocks, kThreads,
               GradientStore<kDepth, true>::kBytes, p, of_keys);
      mend_gradients<T, kDepth>(p, ordered_rows(plan, grad), statistics, to, launch);
    };
    plan.depth == 64 ? both.template operator()<64>() : both.template operator()<128>();
  };
  if (plan.dtype == DType::f16)
    start.template operator()<__half>();
  else
    start.template operator()<__nv_bfloat16>();
}

}  // namespace pyfast::cuda
