// Which calls the kernels of sm_90a take, and how their work is cut: by shape alone.
#pragma once

#include <optional>

#include "cuda/hopper/swizzle.h"
#include "cuda/hopper/tensor_map.h"
#include "cuda/ops/attention/plan.h"

namespace pyfast::cuda {

template <int kDepth>
struct HopperForwardTile {
  static constexpr int kGroups = 2, kThreads = 128 * (kGroups + 1);  // one more warpgroup loads
  static constexpr int kRows = 64 * kGroups, kKeys = kDepth == 256 ? 64 : 128;
  // Of a thread that loads, and of one that computes: 504 for one of each warpgroup.
  static constexpr int kLoadRegisters = kDepth == 64 ? 56 : 40;
  static constexpr int kRegisters = (504 - kLoadRegisters) / kGroups;
  static constexpr std::uint32_t kQueryBytes = tile_bytes(kRows, kDepth);
  static constexpr std::uint32_t kKeyBytes = tile_bytes(kKeys, kDepth);
};

// A block owns kRows rows and streams kStep at a time (backward_sm90a.cuh).
template <int kDepth, bool kOfKeys>
struct HopperGradientTile {
  static constexpr int kGroups = 2, kThreads = 128 * (kGroups + 1);
  static constexpr int kRows = 64 * kGroups, kOwnBox = 64;
  static constexpr int kStep = kOfKeys && kDepth == 128 ? 48 : 64;
  static constexpr int kLoadRegisters = kDepth == 64 ? 56 : 40;
  static constexpr int kRegisters = (504 - kLoadRegisters) / kGroups;
};

// Terms of rows (backward_sm90a.cuh) an element of the batch has: those of whole steps of any size,
// so that a step's are copied as one. Beyond the last query there are weights of 0.
PYFAST_HOST_DEVICE std::int64_t padded_rows(int queries) {
  constexpr std::int64_t kSteps = 192;
  return (queries + kSteps - 1) / kSteps * kSteps;
}

// f.operator()<kDepth>() for the padded head.
template <class F>
void visit_hopper_depth(int depth, F&& f) {
  if (depth == 64) return f.template operator()<64>();
  if (depth == 128) return f.template operator()<128>();
  f.template operator()<256>();
}

// A task is kRows queries of one element of the batch. Elements come in sections whose keys and
// values stay in the L2 cache together; within one, the last rows come first (or the first, where
// those are the longest with a causal mask). A block of threads takes every blocks-th task, its
// second round from the far end, so that no block has the longest of every round.
struct HopperTasks {
  int count = 0, batch = 0;
  int row_blocks = 0, section = 1, blocks = 0;
  bool first_row_first = false;

  PYFAST_HOST_DEVICE int first(unsigned block) const { return static_cast<int>(block); }
  PYFAST_HOST_DEVICE int next(unsigned block, int round) const {
    const int place = static_cast<int>(block);
    return round * blocks + (round % 2 ? blocks - 1 - place : place);
  }
};

struct HopperTask {
  int index, row;  // index: of the batch

  PYFAST_HOST_DEVICE HopperTask(const HopperTasks& tasks, int t, int rows) {
    const int each = tasks.section * tasks.row_blocks;
    const int begin = t / each * tasks.section, within = t % each;
    const int elements = lesser(tasks.batch - begin, tasks.section);
    index = begin + within % elements;
    const int turn = within / elements;
    row = (tasks.first_row_first ? turn : tasks.row_blocks - 1 - turn) * rows;
  }
};

template <class Map>
struct BatchedMap {
  Map map;
  BatchCoordinates batch;
};

template <class Map>
struct HopperOperands {
  BatchedMap<Map> query, key, value;
};

template <class Map>
struct HopperForward {
  HopperOperands<Map> operands;
  HopperTasks tasks;
};

template <class Map>
struct HopperGradients {
  BatchedMap<Map> query, key, value, grad;
};

// An element of a gradient serves `sums` elements of the batch, of which these lead to the first,
// and from each to the next.
struct GradientSteps {
  int element = 1, sum = 0, sums = 1;
};

template <class Map>
struct HopperBackward {
  HopperGradients<Map> query_operands, key_operands;  // the same, in other boxes
  HopperTasks query_tasks, key_tasks;
  GradientSteps query_steps, key_steps;
};

// Operands as boxes, and tasks for a device of so many processors; nullopt where the portable
// kernels are to run.
std::optional<HopperForward<TensorBoxes>> hopper_forward_boxes(const AttentionPlan& plan,
                                                               int processors);
std::optional<HopperBackward<TensorBoxes>> hopper_backward_boxes(const AttentionPlan& plan,
                                                                 const TensorView& grad,
                                                                 const BackwardTargets& to,
                                                                 int processors);

template <class Map>
bool convert(const BatchedMap<TensorBoxes>& from, BatchedMap<Map>& to) {
  to.batch = from.batch;
  return encode(from.map, to.map);
}

// The same with what the device's copies are told: CUtensorMap, or TensorBoxes for the emulator.
template <class Map>
std::optional<HopperForward<Map>> hopper_forward(const AttentionPlan& plan, int processors) {
  const auto boxes = hopper_forward_boxes(plan, processors);
  if (!boxes) return std::nullopt;
  HopperForward<Map> made;
  made.tasks = boxes->tasks;
  const HopperOperands<TensorBoxes>& from = boxes->operands;
  HopperOperands<Map>& to = made.operands;
  const bool encoded =
      convert(from.query, to.query) && convert(from.key, to.key) && convert(from.value, to.value);
  return encoded ? std::optional(made) : std::nullopt;
}

template <class Map>
std::optional<HopperBackward<Map>> hopper_backward(const AttentionPlan& plan,
                                                   const TensorView& grad,
                                                   const BackwardTargets& targets, int processors) {
  const auto boxes = hopper_backward_boxes(plan, grad, targets, processors);
  if (!boxes) return std::nullopt;
  HopperBackward<Map> made;
  made.query_tasks = boxes->query_tasks;
  made.key_tasks = boxes->key_tasks;
  made.query_steps = boxes->query_steps;
  made.key_steps = boxes->key_steps;
  const auto all = [](const HopperGradients<TensorBoxes>& from, HopperGradients<Map>& to) {
    return convert(from.query, to.query) && convert(from.key, to.key) &&
           convert(from.value, to.value) && convert(from.grad, to.grad);
  };
  const bool encoded = all(boxes->query_operands, made.query_operands) &&
                       all(boxes->key_operands, made.key_operands);
  return encoded ? std::optional(made) : std::nullopt;
}

}  // namespace pyfast::cuda
