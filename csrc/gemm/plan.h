// How a product is cut up: by its shape, the dtype and the register tile, and by nothing else.
//
// The operand with fewer rows is *shared*: a block of it is packed once, by all threads. The
// other's rows are cut into chunks; whoever takes a chunk packs it (it is *private*) and multiplies
// it with the whole shared block, depth block by depth block, so that
//   a panel of B (kc x cols)  stays in L1 while
//   a chunk of A (kc deep)    streams from L2,
// and sums that span several depth blocks wait in L2.
#pragma once

#include <cstdint>

namespace pyfast::gemm {

struct Tile {  // GemmKernels' figures
  int rows, vectors, width, depth, item_size;
};

struct Plan {
  int rows, cols;              // register tile: the largest, or smaller where that splits evenly
  std::int64_t kc;             // depth of a packed panel
  std::int64_t ks;             // depth packed of the shared operand at a time, a multiple of kc
  bool share_a;                // the shared operand is A
  std::int64_t shared_block;   // its rows packed at a time
  std::int64_t private_block;  // rows of the other in a chunk
  std::int64_t private_pass;   // rows of the other whose sums are held while depth goes on past ks
  std::int64_t splits;         // > 1: the depth is cut in that many products, added in order
};

Plan make_plan(std::int64_t m, std::int64_t n, std::int64_t k, const Tile& tile);

// Multiply-adds' worth of work in a product, storing it included.
double product_cost(std::int64_t m, std::int64_t n, std::int64_t k);

// A chunk's work: worth a thread's attention, and below 50 ms even on the scalar build.
inline constexpr double kMinChunk = 1e6, kMaxChunk = 128e6;

}  // namespace pyfast::gemm
