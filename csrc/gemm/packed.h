// A constant operand packed once: what a layer's weight is for inference.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <type_traits>

#include "core/memory.h"
#include "gemm/amx.h"
#include "gemm/gemm.h"

namespace pyfast::gemm {

// The right-hand operand B (K x N) of many products, given as its N rows of depth K, in the panels
// that the engine would pack it into, and on demand in those of the tiles. As a source it offers
// these panels and nothing is packed.
// (A convolution's weight: ops/conv/packed.h.)
template <class T>
class PackedMatrix {
 public:
  // Element (row, k) at data[row * row_stride + k * depth_stride]; nothing of it is kept.
  PackedMatrix(const T* data, std::int64_t row_stride, std::int64_t depth_stride, std::int64_t rows,
               std::int64_t depth);

  std::int64_t rows() const { return rows_; }
  std::int64_t depth() const { return depth_; }
  void pack(T* panel, std::int64_t row, int rows, int tile, std::int64_t k,
            std::int64_t depth) const;
  void lies(Source<T>& s) const { s.panels = panels_.data(); }
  // The same in the panels of the tiles, split at its first use at the precision of then.
  const AmxPanels* split() const
    requires std::is_same_v<T, float>
  {
    std::call_once(once_, [&] {
      if constexpr (std::is_same_v<T, float>)  // Clang before 16 instantiates it for double, too
        split_ = amx_split(source<T>(*this), rows_, depth_);
    });
    return split_.get();
  }

 private:
  std::int64_t rows_, depth_;
  int tile_;
  int unit_;  // panel widths are multiples of it
  Workspace<T> panels_;
  mutable std::once_flag once_;
  mutable std::unique_ptr<const AmxPanels> split_;
};

}  // namespace pyfast::gemm
