// out(batch, i, j) = sum over k of a(batch, i, k) b(batch, j, k): how matrix products and
// convolutions are cut into tiles. An index map says where an operand's element lies:
//
//   std::int64_t at(std::int64_t batch, std::int64_t row, std::int64_t k) const;  // or kZero
//   bool rows_adjacent;  // neighbouring rows, rather than k, lie beside each other in memory
//
// For GPU and host: tests walk the same tiles on the CPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cuda/core/host_device.h"

namespace pyfast::cuda {

inline constexpr std::int64_t kZero = INT64_MIN;       // no place: the element is 0
inline constexpr int kTileRows = 64, kTileDepth = 32;  // of either operand

struct Contraction {
  std::int64_t batch, rows, columns, depth;
  std::int64_t splits = 1;  // of the depth, each summed apart

  PYFAST_HOST_DEVICE std::int64_t row_tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  PYFAST_HOST_DEVICE std::int64_t column_tiles() const {
    return (columns + kTileRows - 1) / kTileRows;
  }
  PYFAST_HOST_DEVICE std::int64_t tiles() const {
    return batch * splits * row_tiles() * column_tiles();
  }
  // Depth of a split, in whole slabs.
  PYFAST_HOST_DEVICE std::int64_t split_depth() const {
    const std::int64_t slabs = (depth + kTileDepth - 1) / kTileDepth;
    return (slabs + splits - 1) / splits * kTileDepth;
  }
};

struct ContractionTile {
  std::int64_t batch, split, row, column, begin, end;  // first row and column; depths

  PYFAST_HOST_DEVICE ContractionTile(const Contraction& c, std::int64_t index) {
    column = index % c.column_tiles() * kTileRows;
    index /= c.column_tiles();
    row = index % c.row_tiles() * kTileRows;
    index /= c.row_tiles();
    split = index % c.splits;
    batch = index / c.splits;
    begin = split * c.split_depth();
    end = begin + c.split_depth() < c.depth ? begin + c.split_depth() : c.depth;
  }
};

// Where element e of a slab belongs, so that neighbouring threads read neighbouring addresses.
struct SlabSlot {
  int row, k;
  PYFAST_HOST_DEVICE SlabSlot(int e, bool rows_adjacent)
      : row(rows_adjacent ? e % kTileRows : e / kTileDepth),
        k(rows_adjacent ? e / kTileRows : e % kTileDepth) {}
};

// As many splits as keep `blocks` blocks busy, from the shape alone: the same sums everywhere.
inline std::int64_t depth_splits(const Contraction& c, std::int64_t blocks = 264) {
  const std::int64_t tiles = c.batch * c.row_tiles() * c.column_tiles();
  const std::int64_t slabs = (c.depth + kTileDepth - 1) / kTileDepth;
  if (tiles == 0) return 1;
  return std::max<std::int64_t>(1, std::min(blocks / tiles, slabs / 8));
}

// What the kernel does, tile by tile, on the host.
template <class A, class B, class Put>
void contract_on_host(const Contraction& c, const float* a, const A& a_map, const float* b,
                      const B& b_map, Put put) {
  const auto load = [](std::vector<float>& slab, const float* data, const auto& map,
                       std::int64_t batch, std::int64_t row, std::int64_t rows, std::int64_t k,
                       std::int64_t end) {
    for (int e = 0; e < kTileRows * kTileDepth; ++e) {
      const SlabSlot s(e, map.rows_adjacent);
      const bool inside = row + s.row < rows && k + s.k < end;
      const std::int64_t at = inside ? map.at(batch, row + s.row, k + s.k) : kZero;
      slab[static_cast<std::size_t>(s.row * kTileDepth + s.k)] = at == kZero ? 0.0f : data[at];
    }
  };
  std::vector<float> left(kTileRows * kTileDepth), right(left.size());
  std::vector<float> whole(static_cast<std::size_t>(c.batch * c.rows * c.columns));
  for (std::int64_t index = 0; index < c.tiles(); ++index) {
    const ContractionTile t(c, index);
    for (std::int64_t k = t.begin; k < t.end; k += kTileDepth) {
      load(left, a, a_map, t.batch, t.row, c.rows, k, t.end);
      load(right, b, b_map, t.batch, t.column, c.columns, k, t.end);
      for (std::int64_t i = 0; i < kTileRows && t.row + i < c.rows; ++i)
        for (std::int64_t j = 0; j < kTileRows && t.column + j < c.columns; ++j)
          for (std::int64_t d = 0; d < kTileDepth; ++d)
            whole[static_cast<std::size_t>((t.batch * c.rows + t.row + i) * c.columns + t.column +
                                           j)] +=
                left[static_cast<std::size_t>(i * kTileDepth + d)] *
                right[static_cast<std::size_t>(j * kTileDepth + d)];
    }
  }
  std::size_t at = 0;
  for (std::int64_t n = 0; n < c.batch; ++n)
    for (std::int64_t i = 0; i < c.rows; ++i)
      for (std::int64_t j = 0; j < c.columns; ++j) put(n, i, j, whole[at++]);
}

}  // namespace pyfast::cuda
