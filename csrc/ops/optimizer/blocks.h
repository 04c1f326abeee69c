// Many tensors cut into blocks by their sizes, all in one parallel_for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/parallel.h"

namespace pyfast {

inline constexpr std::int64_t kOptimizerBlock = 1 << 14;  // elements a chunk takes of one tensor

// The number of the first block of each tensor, and behind them the number of all blocks.
inline std::vector<std::int64_t> first_blocks(const std::vector<std::int64_t>& sizes) {
  std::vector<std::int64_t> first{0};
  for (const std::int64_t n : sizes)
    first.push_back(first.back() + (n + kOptimizerBlock - 1) / kOptimizerBlock);
  return first;
}

// body(tensor, begin, n, block) for the blocks of every tensor.
template <class Body>
void for_each_numbered_block(const std::vector<std::int64_t>& sizes, Body body) {
  const std::vector<std::int64_t> first = first_blocks(sizes);
  parallel_for(first.back(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const auto next = std::upper_bound(first.begin(), first.end(), block);
      const std::size_t tensor = static_cast<std::size_t>(next - first.begin()) - 1;
      const std::int64_t at = (block - first[tensor]) * kOptimizerBlock;
      body(tensor, at, std::min(kOptimizerBlock, sizes[tensor] - at), block);
    }
  });
}

template <class Body>
void for_each_block(const std::vector<std::int64_t>& sizes, Body body) {
  for_each_numbered_block(sizes, [&](std::size_t tensor, std::int64_t at, std::int64_t n,
                                     std::int64_t) { body(tensor, at, n); });
}

}  // namespace pyfast
