// Forward, and the image's gradient, on sm_90a: one thread keeps TMA busy with the next slabs of
// pixels and weights, 64 deep, while two warpgroups multiply. Blocks of threads stay and take one
// tile after another, so that a tile's first copies run beside the end of the one before. What
// bounds it is less the products than what the L2 cache gives: tiles are as large as 128 sums a
// thread, and four stages in 227 KiB.
#pragma once

#include "cuda/core/parameter.cuh"
#include "cuda/hopper/pipeline.cuh"
#include "cuda/ops/conv/plan_sm90a.h"

namespace pyfast::cuda {

template <class T>
struct CorrelationTarget {
  T* out;
  const T* residual;
  Parameter<T> scale, shift;
  bool relu;
  int terms;  // columns that scale and shift are for
  CorrelationPlaces places;
};

template <class Tile>
struct CorrelationSignals : StageSignals<Tile::kStages> {
  // Of a tile's columns, for this tile and the next.
  float scale[2][Tile::kColumns], shift[2][Tile::kColumns];
};

template <class Tile>
struct CorrelationStore {
  unsigned char* base;

  __device__ __forceinline__ unsigned char* image(int stage) const {
    return base + static_cast<std::uint32_t>(stage) * Tile::kStageBytes;
  }
  __device__ __forceinline__ unsigned char* weight(int stage) const {
    return image(stage) + Tile::kImageBytes;
  }
  __device__ __forceinline__ CorrelationSignals<Tile>& signals() const {
    return *reinterpret_cast<CorrelationSignals<Tile>*>(image(Tile::kStages));
  }
  static constexpr std::size_t kBytes =
      Tile::kStages * Tile::kStageBytes + sizeof(CorrelationSignals<Tile>);
  static_assert(kBytes <= 227 << 10);
};

// A tile's first pixel and column. Blocks at work share pixels: they lie in the L2 cache.
template <class Tile>
struct CorrelationTask {
  int pixel, column;
  __device__ __forceinline__ CorrelationTask(const Correlation& c, int t)
      : pixel(t / c.column_tiles * Tile::kRows), column(t % c.column_tiles * Tile::kColumns) {}
};

// kTurned: the weight's rows, maps, are summed over; else its channels.
template <class Tile, bool kTurned, class Pixels, class Boxes>
__device__ __forceinline__ void send_slabs(const Correlation& c,
                                           const CorrelationOperands<Pixels, Boxes>& from) {
  const CorrelationStore<Tile> store{aligned_shared_memory()};
  CorrelationSignals<Tile>& signals = store.signals();
  Stage<Tile::kStages> stage;
  const auto send_weight = [&](unsigned char* to, Mbarrier& there, int k, int column,
                               const int (&tap)[3]) {
    if constexpr (kTurned) {
#pragma unroll
      for (int i = 0; i < Tile::kColumns; i += kPanelColumns, to += panel_bytes(Tile::kDepth))
        load_panel(to, from.weight, there, column + i, k, tap);
    } else {
      load_panel(to, from.weight, there, k, column, tap);
    }
  };
#pragma unroll 1
  for (int t = static_cast<int>(blockIdx.x); t < c.tiles; t += c.blocks) {
    const CorrelationTask<Tile> task(c, t);
    const int line = task.pixel / c.x.size;
    const int at[3] = {c.x.corner + task.pixel % c.x.size * c.x.step,
                       c.y.corner + line % c.y.size * c.y.step, line / c.y.size};
#pragma unroll 1
    for (int y = 0; y < c.y.taps; ++y)
#pragma unroll 1
      for (int x = 0; x < c.x.taps; ++x) {
        const int offset[2] = {x * c.x.tap_step, y * c.y.tap_step};
        const int tap[3] = {c.x.weight + x * c.x.weight_step, c.y.weight + y * c.y.weight_step, 0};
#pragma unroll 1
        for (int k = 0; k < c.depth; k += Tile::kDepth, stage.advance()) {
          Mbarrier& there = signals.there[stage.at()];
          wait_phase(signals.done[stage.at()], stage.parity() ^ 1);
          arrive_expecting(there, Tile::kStageBytes);
          load_pixels(store.image(stage.at()), from.image, there, k, at, offset);
          send_weight(store.weight(stage.at()), there, k, task.column, tap);
        }
      }
  }
}

// One of the two warpgroups that compute.
template <class T, class Tile, bool kTurned>
struct CorrelationConsumer {
  static constexpr int kColumns = Tile::kColumns, kAll = 128 * Tile::kGroups;
  static constexpr Deep kWeight = kTurned ? Deep::down_columns : Deep::along_rows;

  const Correlation& c;
  const CorrelationTarget<T>& to;
  const CorrelationStore<Tile> store;
  const int group;  // 0 or 1
  Stage<Tile::kStages> stage;
  WarpTile<kColumns> sums[Tile::kTall];

  __device__ __forceinline__ CorrelationConsumer(const Correlation& shape,
                                                 const CorrelationTarget<T>& target, int which)
      : c(shape), to(target), store{aligned_shared_memory()}, group(which) {}

  __device__ __forceinline__ void begin_slab() {
    const std::uint64_t image = rows_descriptor(shared_address(store.image(stage.at()))) +
                                down(64 * Tile::kTall) * static_cast<std::uint64_t>(group);
    const std::uint32_t at = shared_address(store.weight(stage.at()));
    const std::uint64_t weight =
        kTurned ? columns_descriptor(at, Tile::kDepth) : rows_descriptor(at);
    begin_products();
#pragma unroll
    for (int k = 0; k < Tile::kDepth; k += 16)
#pragma unroll
      for (int i = 0; i < Tile::kTall; ++i)
        begin_product<T, true, Deep::along_rows, kWeight>(
            sums[i], image + down(64 * i) + right(Tile::kRows, k),
            weight + (kTurned ? down(k) : right(kColumns, k)));
    commit_products();
  }

  __device__ __forceinline__ void multiply() {
    multiply_steps(sums, store.signals(), stage, c.slabs(), [this] { begin_slab(); });
  }

  // Each column's terms go where all will find them; two turns, so that nobody waits twice.
  __device__ __forceinline__ void put_terms(int column, int turn) const {
    CorrelationSignals<Tile>& signals = store.signals();
    for (int i = static_cast<int>(threadIdx.x); i < kColumns; i += kAll) {
      const bool inside = column + i < to.terms;
      signals.scale[turn][i] = inside ? to.scale[column + i] : 0.0f;
      signals.shift[turn][i] = inside ? to.shift[column + i] : 0.0f;
    }
  }

  // Where the results of a row of the tile begin; -1 behind the last pixel.
  __device__ __forceinline__ std::int64_t place(int pixel) const {
    if (pixel >= c.pixels) return -1;
    const int line = pixel / c.x.size;
    return to.places.first + line / c.y.size * to.places.n + line % c.y.size * to.places.y +
           pixel % c.x.size * to.places.x;
  }

  // `word`: the residual's pairs become the results'.
  __device__ __forceinline__ void finish(const WarpTile<kColumns>& sum, int n, int h, int turn,
                                         std::uint32_t (&word)[4]) const {
    const CorrelationSignals<Tile>& signals = store.signals();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float v[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int column = WarpTile<kColumns>::column(n + i, e);
        v[e] = fmaf(sum.at[n + i][2 * h + e], signals.scale[turn][column],
                    signals.shift[turn][column]) +
               element_of_pair<T>(word[i], e);
        if (to.relu) v[e] = v[e] <= 0 ? 0.0f : v[e];
      }
      word[i] = rounded_pair<T>(v[0], v[1]);
    }
  }

  __device__ __forceinline__ void write(const CorrelationTask<Tile>& task, int turn) const {
    using Vector = Pack<std::uint32_t, 4>;
    const int lane = WarpTile<kColumns>::lane();
#pragma unroll
    for (int i = 0; i < Tile::kTall; ++i) {
      const int row = task.pixel + 64 * (Tile::kTall * group + i) + warp_row(0) + lane / 4;
      const std::int64_t places[2] = {place(row), place(row + 8)};
#pragma unroll
      for (int n = 0; n < kColumns / 8; n += 4)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int column = task.column + 8 * n + 8 * (lane % 4);
          const bool inside = places[h] >= 0 && column < c.columns;
          const std::int64_t at = places[h] + column;
          Vector v{};
          if (to.residual) {
            if (inside) v = *reinterpret_cast<const Vector*>(to.residual + at);
            trade_columns(v.at);
          }
          finish(sums[i], n, h, turn, v.at);
          trade_columns(v.at);
          if (inside) *reinterpret_cast<Vector*>(to.out + at) = v;
        }
    }
  }

  __device__ __forceinline__ void run() {
    int turn = 0;
#pragma unroll 1
    for (int t = static_cast<int>(blockIdx.x); t < c.tiles; t += c.blocks, turn ^= 1) {
      const CorrelationTask<Tile> task(c, t);
      put_terms(task.column, turn);
      multiply();
      sync_named(1, kAll);
      write(task, turn);
    }
  }
};

template <class T, class Tile, bool kTurned, class Pixels, class Boxes>
PYFAST_KERNEL((Tile::kThreads), 1)
correlate_sm90a_kernel(const PYFAST_GRID_CONSTANT Correlation shape,
                       const PYFAST_GRID_CONSTANT CorrelationOperands<Pixels, Boxes> operands,
                       const PYFAST_GRID_CONSTANT CorrelationTarget<T> to) {
  const CorrelationStore<Tile> store{aligned_shared_memory()};
  if (threadIdx.x == 0) store.signals().begin(4 * Tile::kGroups);
  sync_block();
  const int group = uniform(static_cast<int>(threadIdx.x) / 128);
  if (group == Tile::kGroups) {
    keep_registers<Tile::kLoadRegisters>();
    if (threadIdx.x % 128 == 0) send_slabs<Tile, kTurned>(shape, operands);
  } else {
    claim_registers<Tile::kRegisters>();
    CorrelationConsumer<T, Tile, kTurned>(shape, to, group).run();
  }
}

// The epilogue's activation is none or relu; its linear is not written.
template <bool kTurned, class Pixels, class Boxes, class Launch>
void correlate_sm90a_into(const HopperCorrelations<Pixels, Boxes>& parts, const ConvEpilogue& e,
                          const TensorView& out, const Launch& launch) {
  const auto start = [&]<class T>() {
    for (const auto& part : parts)
      visit_conv_tile(part.tile, [&]<class Tile>() {
        const CorrelationTarget<T> to{out.as<T>(),
                                      e.residual.as<T>(),
                                      {e.scale, 1.0f},
                                      {e.bias, 0.0f},
                                      e.activation == Activation::relu,
                                      e.terms(part.shape.columns),
                                      part.shape.places};
        launch(&correlate_sm90a_kernel<T, Tile, kTurned, Pixels, Boxes>, part.shape.blocks,
               Tile::kThreads, CorrelationStore<Tile>::kBytes, part.shape, part.operands, to);
      });
  };
  if (out.dtype == DType::f16)
    start.template operator()<__half>();
  else
    start.template operator()<__nv_bfloat16>();
}

}  // namespace pyfast::cuda
