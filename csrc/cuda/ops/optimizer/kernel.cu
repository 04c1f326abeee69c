// Many tensors a launch. Every array passes through once, four elements a thread.
#include "cuda/core/tensor_list.cuh"
#include "cuda/ops/optimizer/optimizer.h"
#include "cuda/ops/optimizer/rules.h"
#include "ops/optimizer/constants.h"

namespace pyfast::cuda {

namespace {

constexpr int kTensors = 24;  // 4 KiB of arguments at most: what every driver takes
constexpr int kThreads = 256, kWidth = 4;

template <class T, class Constants>
struct Batch : TensorList<kTensors, kThreads * kWidth> {
  T* parameter[kTensors];
  const T* gradient[kTensors];
  T* state[3][kTensors];
  Constants constants[kTensors];
  unsigned states = 0;
  bool vectors = true;
};

template <int kPack, class T, class Constants>
__device__ void step(const Batch<T, Constants>& b, int t, std::int64_t i) {
  float p[kPack], g[kPack], s[3][kPack];
  load(p, b.parameter[t] + i);
  load(g, b.gradient[t] + i);
#pragma unroll
  for (int k = 0; k < 3; ++k)
    if (b.states >> k & 1u) load(s[k], b.state[k][t] + i);
#pragma unroll
  for (int j = 0; j < kPack; ++j) {
    Element e{p[j], g[j], {s[0][j], s[1][j], s[2][j]}};
    decay(b.constants[t].decay, e);
    update(b.constants[t], b.states, e);
    p[j] = e.p;
#pragma unroll
    for (int k = 0; k < 3; ++k) s[k][j] = e.state[k];
  }
  store(b.parameter[t] + i, p);
#pragma unroll
  for (int k = 0; k < 3; ++k)
    if (b.states >> k & 1u) store(b.state[k][t] + i, s[k]);
}

template <class T, class Constants>
__global__ void __launch_bounds__(kThreads)
    step_kernel(const __grid_constant__ Batch<T, Constants> b) {
  const int t = b.tensor();
  const std::int64_t first = (b.block(t) * kThreads + threadIdx.x) * kWidth, n = b.size[t];
  if (b.vectors && first + kWidth <= n) return step<kWidth>(b, t, first);
  for (std::int64_t i = first; i < n && i < first + kWidth; ++i) step<1>(b, t, i);
}

template <class T, class Constants>
void launch(Batch<T, Constants>& b, cudaStream_t stream) {
  if (b.count == 0) return;
  step_kernel<<<b.blocks(), kThreads, 0, stream>>>(b);
  b.count = 0;
  b.vectors = true;
}

template <class T, class Constants>
void append(Batch<T, Constants>& b, const OptimizerSlot& slot, const Constants& constants) {
  const int t = b.append(slot.parameter->numel());
  b.parameter[t] = slot.parameter->as<T>();
  b.gradient[t] = slot.gradient->as<const T>();
  b.constants[t] = constants;
  b.vectors = b.vectors && vectorizable(8, *slot.parameter, *slot.gradient);
  for (int k = 0; k < 3; ++k) {
    b.state[k][t] = slot.state[k] ? slot.state[k]->as<T>() : nullptr;
    if (b.states >> k & 1u) b.vectors = b.vectors && vectorizable(8, *slot.state[k]);
  }
}

}  // namespace

// Slots of one dtype and of groups that keep the same states share launches.
template <class Params>
void optimizer_step(const std::vector<Params>& groups, const OptimizerSlots& slots,
                    cudaStream_t stream) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    visit_gpu(dtype, [&]<class T>() {
      using Constants = decltype(constants(groups[0], slots[0]));
      Batch<T, Constants> batch;
      for (const OptimizerSlot& slot : slots) {
        if (slot.parameter->dtype != dtype || slot.parameter->numel() == 0) continue;
        const Params& params = groups[slot.group];
        if (batch.full() || batch.states != params.states()) launch(batch, stream);
        batch.states = params.states();
        append(batch, slot, constants(params, slot));
      }
      launch(batch, stream);
    });
  }
}

template void optimizer_step(const std::vector<SgdParams>&, const OptimizerSlots&, cudaStream_t);
template void optimizer_step(const std::vector<AdagradParams>&, const OptimizerSlots&,
                             cudaStream_t);
template void optimizer_step(const std::vector<RmspropParams>&, const OptimizerSlots&,
                             cudaStream_t);
template void optimizer_step(const std::vector<AdadeltaParams>&, const OptimizerSlots&,
                             cudaStream_t);
template void optimizer_step(const std::vector<AdamParams>&, const OptimizerSlots&, cudaStream_t);
template void optimizer_step(const std::vector<AdamaxParams>&, const OptimizerSlots&, cudaStream_t);
template void optimizer_step(const std::vector<NadamParams>&, const OptimizerSlots&, cudaStream_t);
template void optimizer_step(const std::vector<RadamParams>&, const OptimizerSlots&, cudaStream_t);

}  // namespace pyfast::cuda
