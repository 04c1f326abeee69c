#include <algorithm>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/optimizer/constants.h"

namespace pyfast {

namespace {

constexpr std::int64_t kBlock = 1 << 14;  // elements a chunk takes of one tensor

// body(slot, begin, n) for blocks of every tensor, all tensors in one parallel_for.
template <class Body>
void for_each_block(const OptimizerSlots& slots, Body body) {
  std::vector<std::int64_t> first{0};  // first block of each slot
  for (const OptimizerSlot& slot : slots)
    first.push_back(first.back() + (slot.parameter.numel() + kBlock - 1) / kBlock);
  parallel_for(first.back(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const auto next = std::upper_bound(first.begin(), first.end(), block);
      const std::size_t index = static_cast<std::size_t>(next - first.begin()) - 1;
      const std::int64_t at = (block - first[index]) * kBlock;
      body(index, at, std::min(kBlock, slots[index].parameter.numel() - at));
    }
  });
}

template <class T>
std::vector<Contiguous<T>> gradients(const OptimizerSlots& slots) {
  std::vector<Contiguous<T>> packed;
  packed.reserve(slots.size());
  for (const OptimizerSlot& slot : slots) packed.emplace_back(slot.gradient);
  return packed;
}

template <class T>
T* at(const TensorView& x, std::int64_t i) {
  return x.defined ? x.as<T>() + i : nullptr;
}

// run(typed kernels, slots of that dtype) for the float32 and the float64 slots.
template <class F>
void by_dtype(const OptimizerSlots& slots, F run) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    OptimizerSlots same;
    for (const OptimizerSlot& slot : slots)
      if (slot.parameter.dtype == dtype) same.push_back(slot);
    if (!same.empty()) visit(dtype, [&]<class T>() { run(T{}, same); });
  }
}

}  // namespace

void sgd_step(const SgdParams& params, const OptimizerSlots& slots) {
  by_dtype(slots, [&]<class T>(T, const OptimizerSlots& same) {
    const auto g = gradients<T>(same);
    const auto& kernels = optimizer_kernels<T>();
    for_each_block(same, [&](std::size_t s, std::int64_t i, std::int64_t n) {
      kernels.sgd(constants(params, same[s]), at<T>(same[s].parameter, i), g[s].data() + i,
                  at<T>(same[s].state[0], i), n);
    });
  });
}

void adam_step(const AdamParams& params, const OptimizerSlots& slots) {
  by_dtype(slots, [&]<class T>(T, const OptimizerSlots& same) {
    const auto g = gradients<T>(same);
    const auto& kernels = optimizer_kernels<T>();
    for_each_block(same, [&](std::size_t s, std::int64_t i, std::int64_t n) {
      const OptimizerSlot& slot = same[s];
      kernels.adam(constants(params, slot), at<T>(slot.parameter, i), g[s].data() + i,
                   at<T>(slot.state[0], i), at<T>(slot.state[1], i), at<T>(slot.state[2], i), n);
    });
  });
}

}  // namespace pyfast
