// How a product is cut up: by its shape, the dtype and the register tile, and by nothing else.
//
// The operand with fewer rows is *shared*: a block of it is packed once, by all threads. The
// product is then cut into chunks in both directions: some rows of the other operand times a slice
// of the shared block. Whoever takes a chunk packs its rows (they are *private*) and multiplies
// them with the slice, depth block by depth block, so that
//   a panel of B (kc x cols)  stays in L1 while
//   a chunk of A (kc deep)    streams from L2,
// and sums that span several depth blocks wait in L2. Wide slices pay for packing private rows,
// many private rows pay for fetching the shared panels; the chunks are shaped to balance the two.
#pragma once

#include <cstdint>

#include "gemm/kernel.h"

namespace pyfast::gemm {

struct Tile {  // GemmKernels' figures
  int rows, vectors, width, depth, item_size;
};

template <class T>
Tile tile_of() {
  const auto& k = gemm_kernels<T>();
  return {k.rows, k.vectors, k.width, k.depth, static_cast<int>(sizeof(T))};
}

struct Plan {
  int rows, cols;              // register tile: the largest, or smaller where that splits evenly
  std::int64_t kc;             // depth of a packed panel
  std::int64_t ks;             // depth packed of the shared operand at a time, a multiple of kc
  std::int64_t group;          // depth summed up before it joins the total, a multiple of kc
  bool share_a;                // the shared operand is A
  std::int64_t shared_block;   // its rows packed at a time
  std::int64_t shared_slice;   // of which a chunk takes so many
  std::int64_t private_block;  // rows of the other in a chunk
  std::int64_t private_pass;   // rows of the other whose sums are held while depth goes on past ks
  std::int64_t splits;         // > 1: the depth is cut in that many products, added in order
};

// Rows of the panels that an operand with so many rows is packed in, as A and as B.
int panel_rows(std::int64_t m, const Tile& tile);
int panel_cols(std::int64_t n, const Tile& tile);

// Depth blocks of `kc` are summed up in groups, and the groups' sums added: one chain of additions
// through 8,192 depths errs more than PyTorch's sums, whose threads share out the depth.
std::int64_t group_depth(std::int64_t k, std::int64_t kc);

Plan make_plan(std::int64_t m, std::int64_t n, std::int64_t k, const Tile& tile);

// Panels of a packed B that a chunk takes where few rows are multiplied with it.
std::int64_t panel_grain(std::int64_t m, std::int64_t n, std::int64_t k, const Tile& tile);

// Multiply-adds' worth of work in a product, storing it included.
double product_cost(std::int64_t m, std::int64_t n, std::int64_t k);

// A product's worth a thread's attention.
inline constexpr double kMinChunk = 1e6;
// And where batches of products are shared out whole, the most of one.
inline constexpr double kMaxChunk = 128e6;

}  // namespace pyfast::gemm
