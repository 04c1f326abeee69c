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

enum class AttentionMask : std::uint8_t { none, boolean, additive };

// A side of a window that has no bound; leaves room to add positions to it.
inline constexpr std::int64_t kUnboundedWindow = INT64_MAX / 4;

// Of kAttentionRows rows of a mask and a block of kAttentionKeys keys: no pair outside begin ...
// end is allowed; `all`: every pair is, and its score stays as it is.
struct MaskSpan {
  std::uint8_t begin, end;
  bool all;
};

template <class T>
struct AttentionHead {
  std::int64_t queries, keys, width, value_width;
  Strided<T> query, key, value;
  std::int64_t output_row;  // elements from one query's output to the next one's
  T scale;
  std::int64_t before, after;  // query i sees keys i - before ... i + after, if the mask agrees
  AttentionMask mask;
  Strided<std::uint8_t> allowed;  // boolean
  Strided<T> bias;                // additive
  const MaskSpan* spans;          // [ceil(queries / kAttentionRows)][ceil(keys / kAttentionKeys)]
  // Dropout: the weight of (query i, key j) uses word j % 4 of Philox block
  // first_block + i * ceil(keys / 4) + j / 4; below `threshold` it is dropped, else scaled.
  bool dropout;
  std::uint64_t seed, offset, first_block, threshold;
  T keep_scale;
  bool tiles = false;  // products on AMX tiles
};

// Query heads that share keys and values, of which `head` is the first.
template <class T>
struct AttentionGroup {
  AttentionHead<T> head;
  std::int64_t heads, query_stride, mask_stride;  // elements from one head's to the next one's
};

}  // namespace pyfast
