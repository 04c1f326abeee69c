// The cover of every square of a mask, so that blocks of scores that are wholly masked are skipped,
// and those that the mask leaves alone need not read it.
#pragma once

#include "cuda/core/launch.cuh"
#include "cuda/ops/attention/plan.h"

namespace pyfast::cuda {

// A block a square: threads look at elements, and two votes tell.
template <class T>
PYFAST_KERNEL(128)
classify_kernel(const PYFAST_GRID_CONSTANT AttentionProblem p,
                const PYFAST_GRID_CONSTANT MaskSquares squares, std::uint8_t* covers) {
  const std::int64_t square = blockIdx.x;
  const int i = static_cast<int>(square / squares.columns % squares.rows) * kMaskSquare;
  const int j = static_cast<int>(square % squares.columns) * kMaskSquare;
  const std::int64_t base = squares.masks.offset(square / squares.columns / squares.rows);
  const int rows = lesser(p.mask.row ? kMaskSquare : 1, p.queries - i);
  const int columns = lesser(p.mask.column ? kMaskSquare : 1, p.keys - j);
  bool passes = false, changes = false;
  for (int e = static_cast<int>(threadIdx.x); e < rows * columns; e += 128) {
    const std::int64_t at =
        base + (i + e / columns) * p.mask.row + (j + e % columns) * p.mask.column;
    if (p.mask_kind == AttentionMask::boolean) {
      const bool allowed = static_cast<const std::uint8_t*>(p.mask.data)[at] != 0;
      passes = passes || allowed;
      changes = changes || !allowed;
    } else {
      const float term = to_float(static_cast<const T*>(p.mask.data)[at]);
      passes = passes || term != -INFINITY;
      changes = changes || term != 0;
    }
  }
  passes = any_of_block(passes);
  changes = any_of_block(changes);
  if (threadIdx.x == 0)
    covers[square] = static_cast<std::uint8_t>(!passes   ? Cover::none
                                               : changes ? Cover::some
                                                         : Cover::all);
}

template <class Launch>
void classify_on(const AttentionPlan& plan, std::uint8_t* covers, const Launch& launch) {
  visit_gpu(plan.dtype, [&]<class T>() {
    launch(&classify_kernel<T>, plan.squares.size(), 128, 0, plan.problem, plan.squares, covers);
  });
}

}  // namespace pyfast::cuda
