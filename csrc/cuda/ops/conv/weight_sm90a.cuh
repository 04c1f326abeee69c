// The weight's gradient on sm_90a: as correlate_sm90a.cuh, but both operands come as pixels by
// channels, and pixels are what is summed over: wgmma reads them "transposed". A task is a tile of
// the weight and a part of the pixels; parts are added up afterwards, always in the same order.
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/hopper/pipeline.cuh"
#include "cuda/ops/conv/weight_plan_sm90a.h"

namespace pyfast::cuda {

template <class Tile>
struct WeightStore {
  using Signals = StageSignals<Tile::kStages>;
  unsigned char* base;

  __device__ __forceinline__ unsigned char* maps(int stage) const {
    return base + static_cast<std::uint32_t>(stage) * Tile::kStageBytes;
  }
  __device__ __forceinline__ unsigned char* image(int stage) const {
    return maps(stage) + Tile::kMapBytes;
  }
  __device__ __forceinline__ Signals& signals() const {
    return *reinterpret_cast<Signals*>(maps(Tile::kStages));
  }
  static constexpr std::size_t kBytes = Tile::kStages * Tile::kStageBytes + sizeof(Signals);
  static_assert(kBytes <= 227 << 10);
};

// Blocks at work have the same pixels and different tiles.
template <class Tile>
struct WeightTask {
  int row, column, split, begin, end;  // panels of rows and columns; steps of pixels
  __device__ __forceinline__ WeightTask(const WeightSum& s, int t)
      : row(t % s.tiles / s.column_tiles * Tile::kRowPanels),
        column(t % s.tiles % s.column_tiles * Tile::kColumnPanels),
        split(t / s.tiles),
        begin(split * s.each),
        end(begin + s.each < s.steps ? begin + s.each : s.steps) {}
};

template <class Tile, class Pixels>
__device__ __forceinline__ void send_steps(const WeightSum& s,
                                           const HopperWeightGradient<Pixels>& from) {
  const WeightStore<Tile> store{aligned_shared_memory()};
  auto& signals = store.signals();
  Stage<Tile::kStages> stage;
#pragma unroll 1
  for (int t = static_cast<int>(blockIdx.x); t < s.tasks(); t += s.blocks) {
    const WeightTask<Tile> task(s, t);
#pragma unroll 1
    for (int step = task.begin; step < task.end; ++step, stage.advance()) {
      const int pixel = step * Tile::kPixels, line = pixel / s.x.size;
      const int place[3] = {pixel % s.x.size, line % s.y.size, line / s.y.size};
      const int at[3] = {s.x.corner + place[0] * s.x.step, s.y.corner + place[1] * s.y.step,
                         place[2]};
      const int none[2] = {0, 0};
      Mbarrier& there = signals.there[stage.at()];
      wait_phase(signals.done[stage.at()], stage.parity() ^ 1);
      arrive_expecting(there, Tile::kStageBytes);
      unsigned char* to = store.maps(stage.at());
#pragma unroll 1
      for (int i = 0; i < Tile::kRowPanels; ++i, to += Tile::kPanelBytes)
        load_pixels(to, from.maps, there, (task.row + i) * kPanelColumns, place, none);
#pragma unroll 1
      for (int i = 0; i < Tile::kColumnPanels; ++i, to += Tile::kPanelBytes) {
        const WeightPanel panel(s, task.column + i);
        const int tap[2] = {panel.tap_x * s.x.tap_step, panel.tap_y * s.y.tap_step};
        load_pixels(to, from.image, there, panel.channel, at, tap);
      }
    }
  }
}

// One of the two warpgroups that compute. Parts are (split, map, tap, channel).
template <class T, class Tile>
struct WeightConsumer {
  static constexpr int kColumns = Tile::kColumns;

  const WeightSum& s;
  float* parts;
  const WeightStore<Tile> store;
  const int first_row, first_column;  // panels of the tile
  Stage<Tile::kStages> stage;
  WarpTile<kColumns> sums[Tile::kTall];

  __device__ __forceinline__ WeightConsumer(const WeightSum& sum, float* to, int group)
      : s(sum),
        parts(to),
        store{aligned_shared_memory()},
        first_row(Tile::kRowGroups == 2 ? group * Tile::kTall : 0),
        first_column(Tile::kRowGroups == 2 ? 0 : group * (kColumns / kPanelColumns)) {}

  __device__ __forceinline__ void begin_step() {
    constexpr auto kPanel = static_cast<std::uint64_t>(down(Tile::kPixels));
    const std::uint64_t maps =
        columns_descriptor(shared_address(store.maps(stage.at())), Tile::kPixels) +
        kPanel * static_cast<std::uint64_t>(first_row);
    const std::uint64_t image =
        columns_descriptor(shared_address(store.image(stage.at())), Tile::kPixels) +
        kPanel * static_cast<std::uint64_t>(first_column);
    begin_products();
#pragma unroll
    for (int k = 0; k < Tile::kPixels; k += 16)
#pragma unroll
      for (int i = 0; i < Tile::kTall; ++i)
        begin_product<T, true, Deep::down_columns, Deep::down_columns>(
            sums[i], maps + kPanel * static_cast<std::uint64_t>(i) + down(k), image + down(k));
    commit_products();
  }

  __device__ __forceinline__ void multiply(int steps) {
    multiply_steps(sums, store.signals(), stage, steps, [this] { begin_step(); });
  }

  __device__ __forceinline__ void write(const WeightTask<Tile>& task) const {
    using Two = Pack<float, 2>;
    const int lane = WarpTile<kColumns>::lane();
    float* const to = parts + task.split * s.size();
#pragma unroll
    for (int i = 0; i < Tile::kTall; ++i) {
      const int map = (task.row + first_row + i) * kPanelColumns + warp_row(0) + lane / 4;
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
        const WeightPanel panel(s, task.column + first_column + n / 8);
        const int tap = panel.tap_y * s.x.taps + panel.tap_x;
        const int channel = panel.channel + n % 8 * 8 + lane % 4 * 2;
        if (channel >= s.channels) continue;  // they come by eights
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          if (map + 8 * h >= s.maps) continue;
          const std::int64_t at =
              (std::int64_t{map + 8 * h} * s.taps() + tap) * s.channels + channel;
          *reinterpret_cast<Two*>(to + at) = {{sums[i].at[n][2 * h], sums[i].at[n][2 * h + 1]}};
        }
      }
    }
  }

  __device__ __forceinline__ void run() {
#pragma unroll 1
    for (int t = static_cast<int>(blockIdx.x); t < s.tasks(); t += s.blocks) {
      const WeightTask<Tile> task(s, t);
      multiply(task.end - task.begin);
      write(task);
    }
  }
};

template <class T, class Tile, class Pixels>
PYFAST_KERNEL((Tile::kThreads), 1)
weight_sm90a_kernel(const PYFAST_GRID_CONSTANT HopperWeightGradient<Pixels> gradient,
                    float* parts) {
  const WeightStore<Tile> store{aligned_shared_memory()};
  if (threadIdx.x == 0) store.signals().begin(4 * Tile::kGroups);
  sync_block();
  const int group = uniform(static_cast<int>(threadIdx.x) / 128);
  if (group == Tile::kGroups) {
    keep_registers<Tile::kLoadRegisters>();
    if (threadIdx.x % 128 == 0) send_steps<Tile>(gradient.sum, gradient);
  } else {
    claim_registers<Tile::kRegisters>();
    WeightConsumer<T, Tile>(gradient.sum, parts, group).run();
  }
}

inline constexpr int kAddThreads = 256;

template <class T>
PYFAST_KERNEL(kAddThreads)
add_weight_parts_kernel(const float* parts, T* weight, const PYFAST_GRID_CONSTANT WeightSum s,
                        const PYFAST_GRID_CONSTANT WeightCopy to) {
  const std::int64_t at = std::int64_t{blockIdx.x} * kAddThreads + threadIdx.x, all = s.size();
  if (at >= all) return;
  const std::int64_t place =
      to.at(at / s.channels / s.taps(), at % s.channels, at / s.channels % s.taps());
  if (place == kZero) return;  // what was padded
  float sum = 0;
  for (int i = 0; i < s.splits; ++i) sum += parts[i * all + at];
  weight[place] = from_float<T>(sum);
}

// `parts`: room for splits times the elements of the weight's copy in float32; `to`: where those
// lie in grad_weight.
template <class Pixels, class Launch>
void weight_sm90a_into(const HopperWeightGradient<Pixels>& how, const WeightCopy& to,
                       const TensorView& parts, const TensorView& grad_weight,
                       const Launch& launch) {
  const auto start = [&]<class T>() {
    visit_weight_tile(how.tile, [&]<class Tile>() {
      launch(&weight_sm90a_kernel<T, Tile, Pixels>, how.sum.blocks, Tile::kThreads,
             WeightStore<Tile>::kBytes, how, parts.as<float>());
    });
    launch(&add_weight_parts_kernel<T>, (how.sum.size() + kAddThreads - 1) / kAddThreads,
           kAddThreads, std::size_t{0}, parts.as<const float>(), grad_weight.as<T>(), how.sum, to);
  };
  if (grad_weight.dtype == DType::f16)
    start.template operator()<__half>();
  else
    start.template operator()<__nv_bfloat16>();
}

}  // namespace pyfast::cuda
