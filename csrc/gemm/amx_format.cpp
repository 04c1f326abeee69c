#include "gemm/amx_format.h"

namespace pyfast::gemm {

void PartFormat::pack(Item* panel, const AmxRows& rows, Seen& seen) const {
  const auto& k = amx::kernels();
  const auto split = rows.left ? (rows.along ? k.split_rows : k.split_left)
                               : (rows.along ? k.split_turned : k.split_right);
  split(panel, rows.from, rows.stride, rows.count, rows.width, rows.depth, parts, seen);
}

void PartFormat::multiply(const AmxRun<Item>& run) const {
  const int a_tiles = run.a_width / kAmxTile, b_tiles = run.b_width / kAmxTile;
  amx::kernels().multiply_row(ceil_div(run.depth, kAmxDepth),
                              AmxOperand::panel(run.a, a_tiles, parts), a_tiles, 2 * run.a_next,
                              AmxOperand::panel(run.b, b_tiles, parts), b_tiles, 0, parts,
                              run.count, run.tiles, kAmxSlot, run.accumulate, run.ahead, run.bytes);
}

void PartFormat::otherwise(const Problem<float>& block) const { fma_gemm(block); }

void DigitFormat::otherwise(const Problem<float>& block) const {
  amx_gemm_by_parts(block);
  amx::kernels().begin();  // the tiles are still the caller's
}

void DigitFormat::pack(Item* panel, const AmxRows& rows, Seen& seen) const {
  const auto& k = amx::kernels();
  const auto split = rows.left ? (rows.along ? k.pack_rows : k.pack_left)
                               : (rows.along ? k.pack_turned : k.pack_right);
  split(panel, rows.from, rows.stride, rows.count, rows.width, rows.depth, seen);
}

bool DigitFormat::hopeless(const Seen& seen, std::int64_t depth) const {
  Seen even;  // what could not be easier
  even.rows = 1;
  even.gap = 1;
  even.filled = even.least = depth;
  even.largest = even.smallest = 0x3f800000;
  return amx_digit_products(seen, even, depth) == 0;
}

void DigitFormat::multiply(const AmxRun<Item>& run) const {
  amx::kernels().multiply_digits(ceil_div(run.depth, kAmxDigitDepth), run.a, run.a_width / kAmxTile,
                                 run.a_next, run.b, run.b_width / kAmxTile, run.products, run.count,
                                 run.tiles, kAmxSlot, run.accumulate, run.ahead, run.bytes);
}

}  // namespace pyfast::gemm
