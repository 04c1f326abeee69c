// A tile of the result is up to 128 pixels by 128 channels of a block of four warps. Slabs of the
// sum, 64 bytes deep, of one tap each, are copied 16 bytes a thread (cp.async), two ahead of the
// one that is multiplied: a tile of 128 by 128 does 64 operations for a byte that it copies. Where
// pixels lie is worked out once a tile, not once an element.
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/core/parameter.cuh"
#include "cuda/core/warp_product.cuh"
#include "cuda/ops/activation/functions.h"
#include "cuda/ops/conv/conv.h"
#include "cuda/ops/conv/correlate.h"

namespace pyfast::cuda {

// Warps stand kRowWarps by kColumnWarps; each has 16 kTall pixels by 64 channels.
template <class T, int kRowWarps_, int kTall_, int kColumnWarps_>
struct CorrelateTile {
  static constexpr int kRowWarps = kRowWarps_, kTall = kTall_, kColumnWarps = kColumnWarps_;
  static constexpr int kWarpColumns = 64, kThreads = 32 * kRowWarps * kColumnWarps, kStages = 3;
  static constexpr int kRows = 16 * kTall * kRowWarps, kColumns = kWarpColumns * kColumnWarps;
  static constexpr int kDepth = 64 / static_cast<int>(sizeof(T)), kPitch = tile_pitch<T>(kDepth);
  static constexpr int kStage = (kRows + kColumns) * kPitch;  // elements
  static_assert(kRows <= kThreads);
};

// Where a row of the tile is read, without a tap's offset; afterwards where its result begins, -1
// behind the last pixel.
struct alignas(16) PixelPlace {
  std::int64_t at;
  int y, x;
};

template <class T>
struct CorrelatePut {
  T *out, *linear;
  const T* residual;
  Parameter<T> scale, bias;
  Activation activation;

  // Sums of two neighbouring channels, from `channel` on, of the pixel whose result begins at `at`.
  __device__ __forceinline__ void two(const TileCorrelation& c, std::int64_t at, int channel,
                                      const Pack<float, 2>& sum) const {
    const std::int64_t places[2] = {at + channel * c.column_step,
                                    at + (channel + 1) * c.column_step};
    const int count = c.columns - channel < 2 ? 1 : 2;
    float before[2] = {}, after[2] = {};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (i == count) break;
      float v = fmaf(sum.at[i], scale[channel + i], bias[channel + i]);
      if (residual) v += to_float(residual[places[i]]);
      before[i] = v;
      after[i] = activation == Activation::none ? v : activate(activation, v);
    }
    put(out, c.pairs, places, count, after);
    if (linear) put(linear, c.pairs, places, count, before);
  }

 private:
  static __device__ __forceinline__ void put(T* to, bool pairs, const std::int64_t (&places)[2],
                                             int count, const float (&v)[2]) {
    if (pairs) return store(to + places[0], v);
    to[places[0]] = from_float<T>(v[0]);
    if (count == 2) to[places[1]] = from_float<T>(v[1]);
  }
};

// The next slab: which tap, and from which channel on.
struct SlabCursor {
  int y = 0, x = 0, k = 0;
  __device__ __forceinline__ void advance(const TileCorrelation& c, int depth) {
    k += depth;
    if (k < c.depth) return;
    k = 0;
    if (++x < c.x.taps) return;
    x = 0;
    ++y;
  }
};

template <class T, class Tile>
struct CorrelateBlock {
  const TileCorrelation& c;
  const T *read, *weight;
  int pixel, column;  // the tile's first
  T* const stages = reinterpret_cast<T*>(shared_memory());
  PixelPlace* const places =
      reinterpret_cast<PixelPlace*>(shared_memory() + sizeof(T) * Tile::kStages * Tile::kStage);
  static constexpr std::size_t kBytes =
      sizeof(T) * Tile::kStages * Tile::kStage + sizeof(PixelPlace) * Tile::kRows;
  static_assert(kBytes <= 99 << 10);

  // f(pixel of the row, its place on both axes and the image): a thread a row.
  template <class F>
  __device__ __forceinline__ void each_row(F f) const {
    const int row = static_cast<int>(threadIdx.x);
    if (row >= Tile::kRows) return;
    const int p = pixel + row, line = p / c.x.size;
    places[row] = f(p < c.pixels, p % c.x.size, line % c.y.size, line / c.y.size);
  }
  __device__ __forceinline__ void begin() const {
    each_row([&](bool inside, int x, int y, int image) {
      constexpr int kNowhere = INT32_MIN / 2;
      const int row = c.y.corner + y * c.y.step, at = c.x.corner + x * c.x.step;
      return PixelPlace{image * c.n + row * c.y_step + at * c.x_step, inside ? row : kNowhere, at};
    });
  }
  __device__ __forceinline__ void place_results() const {
    each_row([&](bool inside, int x, int y, int image) {
      const CorrelationPlaces& to = c.places;
      return PixelPlace{inside ? to.first + image * to.n + y * to.y + x * to.x : -1, 0, 0};
    });
  }

  // The loops are not unrolled: nothing waits for a copy, and the sums' registers are alive here.
  __device__ __forceinline__ void load(int stage, const SlabCursor& s) const {
    constexpr int kPacks = Tile::kDepth / kVector<T>, kEach = Tile::kThreads / kPacks;
    const int k = static_cast<int>(threadIdx.x) % kPacks * kVector<T>;
    const int first = static_cast<int>(threadIdx.x) / kPacks;
    T* to = stages + stage * Tile::kStage + k;
    const bool deep = s.k + k < c.depth;
    const int y = s.y * c.y.tap_step, x = s.x * c.x.tap_step;
    const T* from = read + (y * c.y_step + x * c.x_step + s.k + k);
#pragma unroll 1
    for (int r = first; r < Tile::kRows; r += kEach) {
      const PixelPlace p = places[r];
      const bool inside = deep &&
                          static_cast<unsigned>(p.y + y) < static_cast<unsigned>(c.height) &&
                          static_cast<unsigned>(p.x + x) < static_cast<unsigned>(c.width);
      copy_async(to + r * Tile::kPitch, inside ? from + p.at : read, inside ? 16 : 0);
    }
    to += Tile::kRows * Tile::kPitch;
    const T* row = weight + ((c.y.weight + s.y * c.y.weight_step) * c.weight_y +
                             (c.x.weight + s.x * c.x.weight_step) * c.weight_x + s.k + k);
#pragma unroll 1
    for (int r = first; r < Tile::kColumns; r += kEach) {
      const bool inside = deep && column + r < c.columns;
      copy_async(to + r * Tile::kPitch, inside ? row + (column + r) * c.weight_row : weight,
                 inside ? 16 : 0);
    }
  }

  __device__ __forceinline__ void multiply(
      WarpTile<Tile::kWarpColumns> (&sums)[Tile::kTall]) const {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int row = warp / Tile::kColumnWarps * 16 * Tile::kTall;
    const int across = warp % Tile::kColumnWarps * Tile::kWarpColumns;
    const int slabs = c.taps() * ((c.depth + Tile::kDepth - 1) / Tile::kDepth);
    SlabCursor next;
    const auto fetch = [&](int s) {
      if (s < slabs) {
        load(s % Tile::kStages, next);
        next.advance(c, Tile::kDepth);
      }
      commit_copies();
    };
#pragma unroll 1
    for (int s = 0; s < Tile::kStages - 1; ++s) fetch(s);
#pragma unroll 1
    for (int s = 0; s < slabs; ++s) {
      wait_copies<Tile::kStages - 2>();
      sync_block();  // this slab is there, and everyone is done with the one before
      fetch(s + Tile::kStages - 1);
      const T* a = stages + s % Tile::kStages * Tile::kStage;
      multiply_rows<Tile::kDepth>(sums, a + row * Tile::kPitch,
                                  a + (Tile::kRows + across) * Tile::kPitch);
    }
    wait_copies<0>();
    sync_block();
  }

  // By way of shared memory, sixteen pixels of a warp at a time, so that neighbouring threads write
  // neighbours: channels where those lie side by side, else pixels.
  __device__ __forceinline__ void write(WarpTile<Tile::kWarpColumns> (&sums)[Tile::kTall],
                                        const CorrelatePut<T>& put) const {
    constexpr int kPitch = Tile::kWarpColumns + 8;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = WarpTile<8>::lane();
    const int first = warp / Tile::kColumnWarps * 16 * Tile::kTall;
    const int across = column + warp % Tile::kColumnWarps * Tile::kWarpColumns;
    static_assert(4 * 16 * kPitch * sizeof(float) <= sizeof(T) * Tile::kStages * Tile::kStage);
    float* mine = reinterpret_cast<float*>(stages) + warp * 16 * kPitch;
    const bool by_channels = c.column_step == 1;
#pragma unroll
    for (int t = 0; t < Tile::kTall; ++t) {
      sync_warp();
      sums[t].each([&](int r, int k, float& v) { mine[r * kPitch + k] = v; });
      sync_warp();
#pragma unroll 1
      for (int i = lane; i < 16 * Tile::kWarpColumns / 2; i += 32) {
        const int r = by_channels ? i / (Tile::kWarpColumns / 2) : i % 16;
        const int k = by_channels ? i % (Tile::kWarpColumns / 2) * 2 : i / 16 * 2;
        const std::int64_t at = places[first + 16 * t + r].at;
        if (at >= 0 && across + k < c.columns)
          put.two(c, at, across + k,
                  *reinterpret_cast<const Pack<float, 2>*>(mine + r * kPitch + k));
      }
    }
  }
};

template <class T, class Tile>
PYFAST_KERNEL(Tile::kThreads)
correlate_kernel(const PYFAST_GRID_CONSTANT TileCorrelation c, const T* read, const T* weight,
                 const PYFAST_GRID_CONSTANT CorrelatePut<T> put) {
  const unsigned across = static_cast<unsigned>((c.columns + Tile::kColumns - 1) / Tile::kColumns);
  const CorrelateBlock<T, Tile> block{c, read, weight,
                                      static_cast<int>(blockIdx.x / across) * Tile::kRows,
                                      static_cast<int>(blockIdx.x % across) * Tile::kColumns};
  WarpTile<Tile::kWarpColumns> sums[Tile::kTall];
#pragma unroll
  for (int t = 0; t < Tile::kTall; ++t) sums[t].clear();
  block.begin();
  sync_block();
  block.multiply(sums);
  block.place_results();
  sync_block();
  block.write(sums, put);
}

// f.operator()<Tile>(): the largest of which there are enough to keep a GPU busy. By shape alone.
template <class T, class F>
void visit_correlate_tile(const TileCorrelation& c, F&& f) {
  constexpr std::int64_t kBusy = 128;
  const auto tiles = [&](int rows, int columns) {
    return std::int64_t{(c.pixels + rows - 1) / rows} * ((c.columns + columns - 1) / columns);
  };
  if constexpr (sizeof(T) == 2) {
    if (c.columns > 64 && tiles(128, 128) >= kBusy)
      return f.template operator()<CorrelateTile<T, 2, 4, 2>>();
    if (tiles(128, 64) >= kBusy) return f.template operator()<CorrelateTile<T, 4, 2, 1>>();
  }
  f.template operator()<CorrelateTile<T, 4, 1, 1>>();
}

template <class Launch>
void correlate_into(const std::vector<TileCorrelation>& parts, const TensorView& read,
                    const TensorView& weight, const ConvEpilogue& e, const TensorView& out,
                    const Launch& launch) {
  visit_gpu(out.dtype, [&]<class T>() {
    const CorrelatePut<T> put{out.as<T>(),     e.linear.as<T>(), e.residual.as<T>(),
                              {e.scale, 1.0f}, {e.bias, 0.0f},   e.activation};
    for (const TileCorrelation& c : parts)
      visit_correlate_tile<T>(c, [&]<class Tile>() {
        const std::int64_t blocks = std::int64_t{(c.pixels + Tile::kRows - 1) / Tile::kRows} *
                                    ((c.columns + Tile::kColumns - 1) / Tile::kColumns);
        launch(&correlate_kernel<T, Tile>, blocks, Tile::kThreads, CorrelateBlock<T, Tile>::kBytes,
               c, read.as<const T>(), weight.as<const T>(), put);
      });
  });
}

}  // namespace pyfast::cuda
