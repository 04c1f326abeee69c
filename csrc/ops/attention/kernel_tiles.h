// Scores on AMX tiles for backward, forward's to the last bit: queries and keys split into bfloat16
// parts (gemm/amx_kernel.h), a block of scores at a time.
// Included by this folder's kernel_*.cpp only; everything here belongs to their namespace.
#pragma once

#include "gemm/amx_kernel.h"
#include "ops/attention/kernel_mask.h"

namespace pyfast::PYFAST_ISA {
namespace {

// Where there are no tiles.
template <class T>
class TileProducts {
 public:
  static Index size(const AttentionHead<T>&, Index) { return 0; }
  TileProducts(const AttentionHead<T>&, Index, T*) {}
  void open(const Left<T>&, Index) {}
  void open_block() {}
  bool scores(const Block&, Index, bool, T*) { return false; }
  void clear_unseen(const Block&, T*) {}
};

#ifdef PYFAST_ISA_AVX512

// Every product that the magnitudes of its operands do not suit is refused, and so all that is not
// finite.
template <>
class TileProducts<float> {
 public:
  // Floats of scratch for `rows` queries.
  static Index size(const AttentionHead<float>& head, Index rows) {
    if (!head.tiles) return 0;
    return (rows + kAttentionKeys) * whole(head.width) * kParts / 2;
  }

  TileProducts(const AttentionHead<float>& head, Index rows, float* scratch)
      : head_(head),
        query_(reinterpret_cast<std::uint16_t*>(scratch)),
        keys_(query_ + kParts * rows * whole(head.width)) {}

  void open(const Left<float>& query, Index rows) {
    if (!head_.tiles) return;
    kernels_ = &amx::kernels();
    query_seen_ = {};
    for (Index r = 0; r < rows; r += kTile)
      kernels_->split_rows(query_ + r * whole(head_.width) * kParts, query.data + r * query.stride,
                           query.stride, static_cast<int>(least(kTile, rows - r)), wide(rows - r),
                           head_.width, kParts, query_seen_);
  }

  void open_block() { keys_split_ = false; }

  // The scores of the block's queries, `first` of the task's and on; false where they are refused.
  bool scores(const Block& b, Index first, bool plain, float* to) {
    if (!head_.tiles) return false;
    if (!keys_split_) split_keys(b);
    if (!gemm::amx_fits(query_seen_, keys_seen_, head_.width)) return false;
    const Index width = whole(head_.width);
    for (Index r = 0; r < b.rows; r += kTile) {
      const Keys seen = seen_by(b, r, plain);
      for (Index k = seen.begin; k < seen.end; k += kTile)
        multiply(width, query_ + (first + r) * width * kParts, b.rows - r,
                 keys_ + k * width * kParts, b.columns - k, to + r * kAttentionKeys + k,
                 kAttentionKeys, nullptr);
    }
    return true;
  }

  // What no query of a span sees becomes 0.
  void clear_unseen(const Block& b, float* scores) const {
    constexpr Index w = vec<float>::size;
    for (Index r = 0; r < b.rows; ++r, scores += kAttentionKeys) {
      const Index span = r / kAttentionRows * kAttentionRows;
      const Keys keys = visible(head_, b.part(span, least(kAttentionRows, b.rows - span)));
      const bool some = keys.begin < keys.end;
      const Index begin = some ? keys.begin / w : kAttentionKeys / w;
      const Index end = some ? ceil_div(keys.end, w) : kAttentionKeys / w;
      fill(scores, begin * w, 0.0f);
      fill(scores + end * w, kAttentionKeys - end * w, 0.0f);
    }
  }

 private:
  static constexpr int kParts = 3, kTile = 2 * kAmxTile;
  static Index whole(Index n) { return ceil_div(n, kAmxDepth) * kAmxDepth; }
  static int wide(Index left) { return left > kAmxTile ? kTile : kAmxTile; }

  static AmxOperand panel(const std::uint16_t* data, int tiles) {
    constexpr std::int64_t kBytes = 2 * kAmxTileItems;
    return {data, 64, kBytes, tiles * kBytes, kParts * tiles * kBytes};
  }

  void multiply(Index depth, const std::uint16_t* a, Index rows, const std::uint16_t* b,
                Index columns, float* c, Index ld, const float* factors) const {
    const int a_tiles = wide(rows) / kAmxTile, b_tiles = wide(columns) / kAmxTile;
    kernels_->multiply_into(depth / kAmxDepth, panel(a, a_tiles), a_tiles, panel(b, b_tiles),
                            b_tiles, c, ld, factors);
  }

  void split_keys(const Block& b) {
    keys_split_ = true;
    keys_seen_ = {};
    const float* from = head_.key.data + b.j * head_.key.row;
    for (Index k = 0; k < b.columns; k += kTile)
      kernels_->split_turned(keys_ + k * whole(head_.width) * kParts, from + k * head_.key.row,
                             head_.key.row, static_cast<int>(least(kTile, b.columns - k)),
                             wide(b.columns - k), head_.width, kParts, keys_seen_);
  }

  // Keys that some of the tile's queries from r on see, whole steps of them but for the last.
  Keys seen_by(const Block& b, Index r, bool plain) const {
    Keys all{b.columns, 0};
    if (plain) return {0, b.columns};
    const Index end = least(b.rows, r + kTile);
    for (r = r / kAttentionRows * kAttentionRows; r < end; r += kAttentionRows) {
      const Keys keys = visible(head_, b.part(r, least(kAttentionRows, b.rows - r)));
      if (keys.begin < keys.end) all = {least(all.begin, keys.begin), most(all.end, keys.end)};
    }
    return {all.begin / kTile * kTile, all.end};
  }

  const AttentionHead<float>& head_;
  const AmxKernels* kernels_ = nullptr;
  std::uint16_t *query_, *keys_;
  Magnitudes query_seen_, keys_seen_;
  bool keys_split_ = false;
};

#endif

}  // namespace
}  // namespace pyfast::PYFAST_ISA
