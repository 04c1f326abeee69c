#include "gemm/plan.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"

namespace pyfast::gemm {

namespace {

// In bytes. The shared block lives in L3 and streams once per chunk; the others fit an L2 of 1 MiB.
constexpr std::int64_t kSharedBytes = 16 << 20;
constexpr std::int64_t kPrivateBytes = 256 << 10;
constexpr std::int64_t kSumsBytes = 1 << 20;
constexpr std::int64_t kPassBytes = 4 << 20;
constexpr std::int64_t kSplitBytes = 4 << 20;
// Beyond this depth the shared block would be too narrow to pay for packing the other operand.
constexpr std::int64_t kSharedDepth = 2304;
constexpr std::int64_t kGroupDepth = 1536;
// What it costs to pack an element, and to fetch one of a packed panel into L1, in multiply-adds.
constexpr double kPackCost = 12, kFetchCost = 2;
// And to read one from beyond L2: with few rows that is all the work.
constexpr double kReadCost = 8;
// A chunk stays below 50 ms, even on the scalar build (a lane does so many multiply-adds in it).
constexpr double kLaneWork = 32e6;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The size of equal pieces, none above `limit`, that cover `total`.
std::int64_t even(std::int64_t total, std::int64_t limit) {
  return std::max<std::int64_t>(1,
                                ceil_div(total, ceil_div(std::max<std::int64_t>(total, 1), limit)));
}

std::int64_t at_least_one(std::int64_t v) { return std::max<std::int64_t>(v, 1); }

double work_of(std::int64_t m, std::int64_t n, std::int64_t k) {
  return product_cost(m, n, k) + kReadCost * static_cast<double>(m + n) * static_cast<double>(k);
}

// Chunks that share the work well without being small: 4 for a product of 256 cubed, 32 of 2048.
// Three would keep two threads as long as four.
std::int64_t wanted_chunks(double cost) {
  const auto chunks = static_cast<std::int64_t>(std::cbrt(cost) / 64);
  return chunks == 3 ? 4 : at_least_one(chunks);
}

struct Chunking {  // in panels
  std::int64_t slice, block;
  double overhead;
};

// `slices` slices of the shared block's panels, and the rows to go with them.
Chunking chunking(const Plan& p, std::int64_t slices, std::int64_t k, std::int64_t shared_panels,
                  std::int64_t panels, double wanted, const Tile& tile) {
  const std::int64_t shared_tile = p.share_a ? p.rows : p.cols;
  const std::int64_t private_tile = p.share_a ? p.cols : p.rows;
  Chunking c;
  c.slice = ceil_div(shared_panels, slices);
  const std::int64_t width = c.slice * shared_tile;
  std::int64_t most = kPrivateBytes / (p.kc * private_tile * tile.item_size);
  if (k > p.kc) most = std::min(most, kSumsBytes / (width * private_tile * tile.item_size));
  const double work = work_of(width, private_tile, std::min(k, p.ks));
  most = std::min(most, static_cast<std::int64_t>(kLaneWork * tile.width / work));
  most =
      std::min(most, static_cast<std::int64_t>(
                         static_cast<double>(panels * ceil_div(shared_panels, c.slice)) / wanted));
  const std::int64_t least = static_cast<std::int64_t>(kMinChunk / work) + 1;
  c.block = even(panels, at_least_one(std::max(most, std::min(least, panels))));
  c.overhead = kPackCost / static_cast<double>(width) +
               kFetchCost / static_cast<double>(c.block * private_tile);
  return c;
}

// The chunks that cost least.
Chunking best_chunking(const Plan& p, double cost, std::int64_t k, std::int64_t shared,
                       std::int64_t other, const Tile& tile) {
  const std::int64_t shared_tile = p.share_a ? p.rows : p.cols;
  const std::int64_t private_tile = p.share_a ? p.cols : p.rows;
  const std::int64_t shared_panels = ceil_div(std::min(p.shared_block, shared), shared_tile);
  const std::int64_t panels = ceil_div(other, private_tile);
  const std::int64_t blocks = ceil_div(shared, p.shared_block);
  std::int64_t chunks = wanted_chunks(cost);
  // A shared operand of one panel stays in L1 however small the chunks are.
  if (shared_panels == 1)
    chunks = std::max(chunks, 2 * std::min<std::int64_t>(4, static_cast<std::int64_t>(cost / 4e6)));
  const double wanted = static_cast<double>(chunks) / static_cast<double>(blocks);
  Chunking best = chunking(p, 1, k, shared_panels, panels, wanted, tile);
  for (std::int64_t slices = 2; slices <= std::min<std::int64_t>(shared_panels, 16); ++slices) {
    const Chunking c = chunking(p, slices, k, shared_panels, panels, wanted, tile);
    if (c.overhead < best.overhead) best = c;
  }
  return best;
}

// Few chunks but much depth (a convolution's weight gradient): cut the depth, if the partial
// results fit and leave no piece too long for a chunk.
std::int64_t depth_splits(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t chunks,
                          const Tile& tile) {
  const double cost = product_cost(m, n, k);
  const std::int64_t wanted = wanted_chunks(work_of(m, n, k));
  if (2 * chunks >= wanted) return 1;
  const double longest = kLaneWork * tile.width;
  const std::int64_t most =
      std::min(k / tile.depth, kSplitBytes / at_least_one(m * n * tile.item_size));
  const std::int64_t needed =
      std::max(ceil_div(wanted, chunks), static_cast<std::int64_t>(cost / longest) + 1);
  const std::int64_t splits = std::min(most, needed);
  return splits < 2 || cost / static_cast<double>(splits) > 2 * longest ? 1 : splits;
}

}  // namespace

double product_cost(std::int64_t m, std::int64_t n, std::int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k + 8);
}

int panel_rows(std::int64_t m, const Tile& tile) { return static_cast<int>(even(m, tile.rows)); }
int panel_cols(std::int64_t n, const Tile& tile) {
  return static_cast<int>(even(ceil_div(n, tile.width), tile.vectors)) * tile.width;
}

std::int64_t group_depth(std::int64_t k, std::int64_t kc) {
  return kc * even(ceil_div(at_least_one(k), kc), at_least_one(kGroupDepth / kc));
}

std::int64_t panel_grain(std::int64_t m, std::int64_t n, std::int64_t k, const Tile& tile) {
  // A weight of this size is likely to be in L2 still: then arithmetic counts, not reading.
  constexpr std::int64_t kCached = 512 << 10;
  const bool cached = n * k * tile.item_size <= kCached;
  return grain_for(m * k * panel_cols(n, tile) / (cached ? 16 : 4));
}

Plan make_plan(std::int64_t m, std::int64_t n, std::int64_t k, const Tile& tile) {
  Plan p;
  p.rows = panel_rows(m, tile);
  p.cols = panel_cols(n, tile);
  p.kc = even(k, tile.depth);
  p.ks = p.kc * even(ceil_div(at_least_one(k), p.kc), at_least_one(kSharedDepth / p.kc));
  p.group = group_depth(k, p.kc);
  p.share_a = m < n;
  const std::int64_t shared = p.share_a ? m : n, other = p.share_a ? n : m;
  const std::int64_t shared_tile = p.share_a ? p.rows : p.cols;
  const std::int64_t private_tile = p.share_a ? p.cols : p.rows;
  const std::int64_t fits = kSharedBytes / (p.ks * shared_tile * tile.item_size);
  p.shared_block = shared_tile * even(ceil_div(shared, shared_tile), at_least_one(fits));
  const Chunking c = best_chunking(p, work_of(m, n, k), k, shared, other, tile);
  p.shared_slice = c.slice * shared_tile;
  p.private_block = c.block * private_tile;
  p.private_pass = other;
  if (k > p.ks) {
    const std::int64_t held = kPassBytes / (p.private_block * p.shared_block * tile.item_size);
    p.private_pass = p.private_block * at_least_one(held);
  }
  const std::int64_t chunks = ceil_div(other, p.private_block) * ceil_div(shared, p.shared_slice);
  p.splits = depth_splits(m, n, k, chunks, tile);
  return p;
}

}  // namespace pyfast::gemm
