// How 16-bit tiles lie in shared memory, where TMA writes them and wgmma reads them; for GPU and
// host. A tile is panels of 64 columns, one after another; a row of a panel is 128 bytes, whose
// eight chunks of 16 bytes change places within every eight rows, so that neither eight rows of a
// column of chunks nor a row meet in a bank (PTX ISA, "128B swizzle mode"). Panels begin at
// multiples of 1024 bytes: the permutation is one of address bits.
#pragma once

#include <cstdint>

#include "cuda/core/host_device.h"

namespace pyfast::cuda {

inline constexpr int kPanelColumns = 64;
inline constexpr std::uint32_t kPanelRow = 128, kPanelAlignment = 1024;  // bytes
inline constexpr std::uint32_t kEightRows = 8 * kPanelRow;

PYFAST_HOST_DEVICE constexpr std::uint32_t panel_bytes(int rows) {
  return static_cast<std::uint32_t>(rows) * kPanelRow;
}
PYFAST_HOST_DEVICE constexpr std::uint32_t tile_bytes(int rows, int columns) {
  return panel_bytes(rows) * static_cast<std::uint32_t>(columns / kPanelColumns);
}

// Where the byte lies that would lie at `address` if nothing were permuted.
PYFAST_HOST_DEVICE std::uint32_t swizzled(std::uint32_t address) {
  return address ^ (address >> 3 & 0x70);
}

// What wgmma is told of an operand: bits 0-13 the address, 16-29 the leading and 32-45 the stride
// offset, all in units of 16 bytes, 62-63 the mode, 1 for 128 bytes (PTX ISA, "matrix descriptor").
// An offset of the address is therefore added to the descriptor itself, over 16.
PYFAST_HOST_DEVICE std::uint64_t matrix_descriptor(std::uint32_t address, std::uint32_t leading,
                                                   std::uint32_t stride) {
  return (address & 0x3FFFF) >> 4 | std::uint64_t{leading >> 4} << 16 |
         std::uint64_t{stride >> 4} << 32 | std::uint64_t{1} << 62;
}

// An operand whose rows are those of the product (or its columns) and whose columns are summed
// over: the next eight rows lie at the stride. The leading offset is not used.
PYFAST_HOST_DEVICE std::uint64_t rows_descriptor(std::uint32_t tile) {
  return matrix_descriptor(tile, 16, kEightRows);
}
// An operand whose rows are summed over ("transposed"): the next eight rows lie at the stride, the
// next 64 columns at the leading offset.
PYFAST_HOST_DEVICE std::uint64_t columns_descriptor(std::uint32_t tile, int tile_rows) {
  return matrix_descriptor(tile, panel_bytes(tile_rows), kEightRows);
}
// What to add to a descriptor for the rows from `rows` on, a multiple of eight, and for the columns
// from `columns` on, one of 16 in an operand by rows, of 64 in one by columns.
PYFAST_HOST_DEVICE constexpr std::uint64_t down(int rows) { return panel_bytes(rows) >> 4; }
PYFAST_HOST_DEVICE constexpr std::uint64_t right(int tile_rows, int columns) {
  return (static_cast<std::uint32_t>(columns / kPanelColumns) * panel_bytes(tile_rows) +
          static_cast<std::uint32_t>(columns % kPanelColumns) * 2) >>
         4;
}

}  // namespace pyfast::cuda
