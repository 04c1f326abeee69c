// One (batch, head) of attention: what a kernel sees, whatever the operands' layout.
#pragma once

#include <cstdint>

namespace pyfast {

// Element (i, j) is data[i * row + j * column].
template <class T>
struct Strided {
  const T* data = nullptr;
  std::int64_t row = 0, column = 0;
};

enum class AttentionMask : std::uint8_t { none, causal, boolean, additive };

template <class T>
struct AttentionHead {
  std::int64_t queries, keys, width, value_width;
  Strided<T> query, key, value;
  T scale;
  AttentionMask mask;
  Strided<std::uint8_t> allowed;  // boolean
  Strided<T> bias;                // additive
  // Dropout: the weight of (query i, key j) uses word j % 4 of Philox block
  // first_block + i * ceil(keys / 4) + j / 4; below `threshold` it is dropped, else scaled.
  bool dropout;
  std::uint64_t seed, offset, first_block, threshold;
  T keep_scale;
};

}  // namespace pyfast
