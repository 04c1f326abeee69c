// What every kernel of attention is told, and which pairs of query and key may meet; for GPU and
// host.
#pragma once

#include <cstdint>

#include "cuda/core/axes.h"
#include "cuda/core/host_device.h"
#include "ops/attention/head.h"

namespace pyfast::cuda {

inline constexpr float kLog2e = 1.44269504088896341f;
// Scores of a square of a mask are classified together: all forbidden, some, or none changed.
inline constexpr int kMaskSquare = 64;
// Queries and keys are counted in 32 bits, which leave room to add two of them and a tile's rows.
inline constexpr std::int64_t kMostRows = (1 << 30) - (1 << 10);

enum class Cover : std::uint8_t { none, some, all };  // of some scores, those allowed as they are

PYFAST_HOST_DEVICE int lesser(int a, int b) { return a < b ? a : b; }
PYFAST_HOST_DEVICE int greater(int a, int b) { return a > b ? a : b; }

// A matrix of every element of the batch.
struct AttentionOperand {
  const void* data = nullptr;
  Axes axes;  // of the batch
  std::int64_t row = 0, column = 0;
  bool vectors = false;  // every row may be read 16 bytes at a time
};

// Scores [query_begin, query_end) x [key_begin, key_end).
struct ScoreBlock {
  int query_begin, query_end, key_begin, key_end;
};

// Of one query, the keys from some key on (or of one key, the queries): those in begin ... end are
// within the band, and the mask's elements lie at `at`, at + step ...
struct MaskLine {
  int begin, end;
  std::int64_t at, step;
  PYFAST_HOST_DEVICE bool holds(int i) const { return i >= begin && i < end; }
};

struct AttentionProblem {
  std::int64_t batch = 0;
  int queries = 0, keys = 0, width = 0, value_width = 0;
  float scale = 1;
  int before = 0, after = 0;  // query i sees keys i - before ... i + after
  AttentionOperand query, key, value;
  AttentionMask mask_kind = AttentionMask::none;
  AttentionOperand mask;
  // Cover of each square of each distinct mask, rows of squares one after another.
  const std::uint8_t* squares = nullptr;
  Axes square_axes;
  std::int64_t square_row = 0, square_column = 0;  // from a square to the next; 0 if broadcast
  // Dropout: the weight of row r of all scores and key j uses word j % 4 of Philox block
  // r * ceil(keys / 4) + j / 4.
  bool dropout = false;
  std::uint64_t seed = 0, offset = 0, threshold = 0;
  float keep_scale = 1;

  // Whether any pair at all may be forbidden.
  PYFAST_HOST_DEVICE bool forbids() const {
    return mask_kind != AttentionMask::none || before < queries - 1 || after < keys - 1;
  }

  // Keys that some of these queries may see, as far as the band is concerned.
  PYFAST_HOST_DEVICE int first_key(int query_begin) const {
    return lesser(keys, greater(0, query_begin - before));
  }
  PYFAST_HOST_DEVICE int end_key(int query_end) const {
    return greater(0, lesser(keys, query_end + after));
  }
  // Queries that may see some of these keys.
  PYFAST_HOST_DEVICE int first_query(int key_begin) const {
    return lesser(queries, greater(0, key_begin - after));
  }
  PYFAST_HOST_DEVICE int end_query(int key_end) const {
    return greater(0, lesser(queries, key_end + before));
  }

  // Of a block that may reach beyond the last query or key; `square_at` is where the squares of
  // this element's mask begin.
  PYFAST_HOST_DEVICE Cover cover(const ScoreBlock& b, std::int64_t square_at) const {
    const int i_end = lesser(b.query_end, queries), j_end = lesser(b.key_end, keys);
    if (b.query_begin >= i_end || b.key_begin >= j_end) return Cover::none;
    if (b.key_begin > i_end - 1 + after || j_end - 1 < b.query_begin - before) return Cover::none;
    const bool inside = b.query_end <= queries && b.key_end <= keys;
    const bool all =
        inside && j_end - 1 <= b.query_begin + after && b.key_begin >= i_end - 1 - before;
    if (mask_kind == AttentionMask::none) return all ? Cover::all : Cover::some;
    const Cover masked = squares_cover(b.query_begin, i_end, b.key_begin, j_end, square_at);
    return masked == Cover::all && !all ? Cover::some : masked;
  }

  PYFAST_HOST_DEVICE Cover squares_cover(int i_begin, int i_end, int j_begin, int j_end,
                                         std::int64_t square_at) const {
    bool any = false, all = true;
    for (int i = i_begin / kMaskSquare; i <= (i_end - 1) / kMaskSquare; ++i)
      for (int j = j_begin / kMaskSquare; j <= (j_end - 1) / kMaskSquare; ++j) {
        const auto c = static_cast<Cover>(squares[square_at + i * square_row + j * square_column]);
        any = any || c != Cover::none;
        all = all && c == Cover::all;
      }
    return all ? Cover::all : any ? Cover::some : Cover::none;
  }

  // Keys from `key` on that query i may see. `most` bounds the numbers, not the line.
  PYFAST_HOST_DEVICE MaskLine keys_of(int i, int key, std::int64_t mask_at, int most) const {
    if (i >= queries) return {0, 0, 0, 0};
    return {within(i - before - key, most), within(lesser(keys, i + after + 1) - key, most),
            mask_at + i * mask.row + key * mask.column, mask.column};
  }
  // Queries from `query` on that may see key j.
  PYFAST_HOST_DEVICE MaskLine queries_of(int j, int query, std::int64_t mask_at, int most) const {
    if (j >= keys) return {0, 0, 0, 0};
    return {within(j - after - query, most), within(lesser(queries, j + before + 1) - query, most),
            mask_at + query * mask.row + j * mask.column, mask.row};
  }

  PYFAST_HOST_DEVICE std::uint64_t draws(std::int64_t row, int key) const {
    return static_cast<std::uint64_t>(row * ((keys + 3) / 4) + key / 4);
  }
  PYFAST_HOST_DEVICE bool keeps(std::int64_t row, int key) const {
    return philox_block(seed, offset, draws(row, key)).word[key % 4] >= threshold;
  }

 private:
  static PYFAST_HOST_DEVICE int within(int i, int most) { return lesser(most, greater(0, i)); }
};

// A row's maximum and its sum of exponentials, block after block; scores are in units of log 2.
struct OnlineRow {
  float max = -INFINITY, sum = 0;

  // What exponents are relative to: finite, so that a row of -inf has weights 0 and not NaN.
  PYFAST_HOST_DEVICE float shift() const { return max == -INFINITY ? 0.0f : max; }
  // Takes a block's maximum; what came before shrinks by 2^(the answer).
  PYFAST_HOST_DEVICE float raise(float top) {
    const float old = max;
    max = top > max ? top : max;
    return old - shift();
  }
};

// Rows that a block of forward computes side by side: queries of one head, or of `share` heads that
// have key, value and mask in common and few queries each.
struct SharedRows {
  int share = 1, queries = 0;
  std::int64_t query_head = 0;  // elements from a head to the next

  PYFAST_HOST_DEVICE int rows() const { return share * queries; }
  PYFAST_HOST_DEVICE int query(int row) const { return share == 1 ? row : row % queries; }
  PYFAST_HOST_DEVICE int head(int row) const { return share == 1 ? 0 : row / queries; }
  // The queries among rows begin ... end.
  PYFAST_HOST_DEVICE int query_begin(int begin) const { return share == 1 ? begin : 0; }
  PYFAST_HOST_DEVICE int query_end(int end) const {
    return share == 1 ? lesser(end, queries) : queries;
  }
};

}  // namespace pyfast::cuda
