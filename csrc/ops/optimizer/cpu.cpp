#include <algorithm>

#include "core/copy.h"
#include "core/parallel.h"
#include "ops/optimizer/blocks.h"
#include "ops/optimizer/constants.h"

namespace pyfast {

namespace {

template <class T>
std::vector<Contiguous<T>> gradients(const OptimizerSlots& slots) {
  std::vector<Contiguous<T>> packed;
  packed.reserve(slots.size());
  for (const OptimizerSlot& slot : slots) packed.emplace_back(*slot.gradient);
  return packed;
}

template <class T>
OptimizerArrays<T> arrays_at(const OptimizerSlot& slot, const T* gradient, unsigned states,
                             std::int64_t i) {
  OptimizerArrays<T> arrays{slot.parameter->as<T>() + i, gradient + i, {}};
  for (unsigned s = 0; s < 3; ++s)
    if (states >> s & 1u) arrays.state[s] = slot.state[s]->as<T>() + i;
  return arrays;
}

// Which kernel of the table steps by which settings.
template <class T>
auto kernel_for(const OptimizerKernels<T>& k, const SgdParams&) {
  return k.sgd;
}
template <class T>
auto kernel_for(const OptimizerKernels<T>& k, const AdagradParams&) {
  return k.adagrad;
}
template <class T>
auto kernel_for(const OptimizerKernels<T>& k, const RmspropParams&) {
  return k.rmsprop;
}
template <class T>
auto kernel_for(const OptimizerKernels<T>& k, const AdadeltaParams&) {
  return k.adadelta;
}
template <class T>
auto kernel_for(const OptimizerKernels<T>& k, const AdamParams&) {
  return k.adam;
}
template <class T>
auto kernel_for(const OptimizerKernels<T>& k, const AdamaxParams&) {
  return k.adamax;
}
template <class T>
auto kernel_for(const OptimizerKernels<T>& k, const NadamParams&) {
  return k.nadam;
}
template <class T>
auto kernel_for(const OptimizerKernels<T>& k, const RadamParams&) {
  return k.radam;
}

// The slots of one dtype.
template <class T, class Params>
void step_all(const std::vector<Params>& groups, const OptimizerSlots& slots) {
  const auto kernel = kernel_for(optimizer_kernels<T>(), groups.front());
  const auto g = gradients<T>(slots);
  std::vector<decltype(constants(groups.front(), slots.front()))> c;
  std::vector<std::int64_t> sizes;
  for (const OptimizerSlot& slot : slots) {
    c.push_back(constants(groups[slot.group], slot));
    sizes.push_back(slot.parameter->numel());
  }
  for_each_block(sizes, [&](std::size_t s, std::int64_t i, std::int64_t n) {
    kernel(c[s], arrays_at<T>(slots[s], g[s].data(), groups[slots[s].group].states(), i), n);
  });
}

}  // namespace

template <class Params>
void optimizer_step(const std::vector<Params>& groups, const OptimizerSlots& slots) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    OptimizerSlots same;
    for (const OptimizerSlot& slot : slots)
      if (slot.parameter->dtype == dtype) same.push_back(slot);
    if (!same.empty()) visit(dtype, [&]<class T>() { step_all<T>(groups, same); });
  }
}

template void optimizer_step(const std::vector<SgdParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<AdagradParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<RmspropParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<AdadeltaParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<AdamParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<AdamaxParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<NadamParams>&, const OptimizerSlots&);
template void optimizer_step(const std::vector<RadamParams>&, const OptimizerSlots&);

}  // namespace pyfast
