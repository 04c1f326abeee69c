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

// f.operator()<kDepth>() for the padded head.
template <class F>
void visit_hopper_depth(int depth, F&& f) {
  if (depth == 64) return f.template operator()<64>();
  if (depth == 128) return f.template operator()<128>();
  f.template operator()<256>();
}

// A task is kRows queries of one element of the batch. Elements come in sections whose keys and
// values stay in the L2 cache together; within one, the last rows come first: with a causal mask
// they are the longest. A block of threads takes every blocks-th task, its second round from the
// far end, so that no block has the longest of every round.
struct HopperTasks {
  std::int64_t count = 0, batch = 0;
  int row_blocks = 0, section = 1, blocks = 0;

  PYFAST_HOST_DEVICE std::int64_t first(unsigned block) const { return block; }
  PYFAST_HOST_DEVICE std::int64_t next(unsigned block, std::int64_t round) const {
    return round * blocks + (round % 2 ? blocks - 1 - std::int64_t{block} : std::int64_t{block});
  }
};

struct HopperTask {
  std::int64_t index;  // of the batch
  int row;

  PYFAST_HOST_DEVICE HopperTask(const HopperTasks& tasks, std::int64_t t, int rows) {
    const std::int64_t each = std::int64_t{tasks.section} * tasks.row_blocks;
    const std::int64_t begin = t / each * tasks.section, within = t % each;
    const std::int64_t left = tasks.batch - begin;
    const std::int64_t elements = left < tasks.section ? left : tasks.section;
    index = begin + within % elements;
    row = static_cast<int>(tasks.row_blocks - 1 - within / elements) * rows;
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

// Operands as boxes, and tasks for a device of so many processors; nullopt where the portable
// kernel is to run.
std::optional<HopperForward<TensorBoxes>> hopper_forward_boxes(const AttentionPlan& plan,
                                                               int processors);

template <class Map>
std::optional<HopperForward<Map>> hopper_forward(const AttentionPlan& plan, int processors) {
  const auto boxes = hopper_forward_boxes(plan, processors);
  if (!boxes) return std::nullopt;
  HopperForward<Map> made;
  made.tasks = boxes->tasks;
  const auto convert = [](const BatchedMap<TensorBoxes>& from, BatchedMap<Map>& to) {
    to.batch = from.batch;
    return encode(from.map, to.map);
  };
  const HopperOperands<TensorBoxes>& o = boxes->operands;
  const bool encoded = convert(o.query, made.operands.query) && convert(o.key, made.operands.key) &&
                       convert(o.value, made.operands.value);
  return encoded ? std::optional(made) : std::nullopt;
}

}  // namespace pyfast::cuda
