#include "gemm/plan.h"

#include <algorithm>

namespace pyfast::gemm {

namespace {

// In bytes. The shared block lives in L3 and streams once per chunk; the others fit an L2 of 1 MiB.
constexpr std::int64_t kSharedBytes = 4 << 20;
constexpr std::int64_t kPrivateBytes = 256 << 10;
constexpr std::int64_t kSumsBytes = 512 << 10;
constexpr std::int64_t kPassBytes = 4 << 20;
constexpr std::int64_t kSplitBytes = 4 << 20;
// Beyond this depth the shared block would be too narrow to pay for packing the other operand.
constexpr std::int64_t kSharedDepth = 2048;
// Chunks that keep sixteen threads busy to the end.
constexpr std::int64_t kChunks = 32;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The size of equal pieces, none above `limit`, that cover `total`.
std::int64_t even(std::int64_t total, std::int64_t limit) {
  return std::max<std::int64_t>(1,
                                ceil_div(total, ceil_div(std::max<std::int64_t>(total, 1), limit)));
}

std::int64_t at_least_one(std::int64_t v) { return std::max<std::int64_t>(v, 1); }

// Tiles of the private operand in a chunk.
std::int64_t chunk_tiles(const Plan& p, std::int64_t k, std::int64_t tiles, std::int64_t tile,
                         std::int64_t item) {
  std::int64_t most = kPrivateBytes / (p.kc * tile * item);
  if (k > p.kc) most = std::min(most, kSumsBytes / (p.shared_block * tile * item));
  const double tile_cost = product_cost(p.shared_block, tile, std::min(k, p.ks));
  most = std::min(most, static_cast<std::int64_t>(kMaxChunk / tile_cost));
  const std::int64_t least = static_cast<std::int64_t>(kMinChunk / tile_cost) + 1;
  return even(tiles, at_least_one(std::min(most, std::max(least, tiles / kChunks))));
}

// Few chunks but much depth (a convolution's weight gradient): cut the depth, if the partial
// results fit and leave no piece too long for a chunk.
std::int64_t depth_splits(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t chunks,
                          const Tile& tile) {
  const double cost = product_cost(m, n, k);
  if (chunks >= kChunks / 2 || cost < 2 * kMinChunk) return 1;
  const std::int64_t most =
      std::min(k / tile.depth, kSplitBytes / at_least_one(m * n * tile.item_size));
  const std::int64_t fill = std::min(kChunks, static_cast<std::int64_t>(cost / kMinChunk));
  const std::int64_t needed =
      std::max(ceil_div(fill, chunks), static_cast<std::int64_t>(cost / kMaxChunk) + 1);
  const std::int64_t splits = std::min(most, needed);
  return splits < 2 || cost / static_cast<double>(splits) > 2 * kMaxChunk ? 1 : splits;
}

}  // namespace

double product_cost(std::int64_t m, std::int64_t n, std::int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k + 8);
}

Plan make_plan(std::int64_t m, std::int64_t n, std::int64_t k, const Tile& tile) {
  Plan p;
  p.rows = static_cast<int>(even(m, tile.rows));
  p.cols = static_cast<int>(even(ceil_div(n, tile.width), tile.vectors)) * tile.width;
  p.kc = even(k, tile.depth);
  p.ks = p.kc * even(ceil_div(at_least_one(k), p.kc), at_least_one(kSharedDepth / p.kc));
  p.share_a = m < n;
  const std::int64_t shared = p.share_a ? m : n, other = p.share_a ? n : m;
  const std::int64_t shared_tile = p.share_a ? p.rows : p.cols;
  const std::int64_t private_tile = p.share_a ? p.cols : p.rows;
  const std::int64_t fits = kSharedBytes / (p.ks * shared_tile * tile.item_size);
  p.shared_block = shared_tile * even(ceil_div(shared, shared_tile), at_least_one(fits));
  const std::int64_t tiles = ceil_div(other, private_tile);
  p.private_block = private_tile * chunk_tiles(p, k, tiles, private_tile, tile.item_size);
  p.private_pass = other;
  if (k > p.ks) {
    const std::int64_t held = kPassBytes / (p.private_block * p.shared_block * tile.item_size);
    p.private_pass = p.private_block * at_least_one(held);
  }
  p.splits = depth_splits(m, n, k, ceil_div(other, p.private_block), tile);
  return p;
}

}  // namespace pyfast::gemm
