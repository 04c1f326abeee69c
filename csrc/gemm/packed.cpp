#include "gemm/packed.h"

#include <algorithm>

#include "gemm/kernel.h"
#include "gemm/plan.h"

namespace pyfast::gemm {

namespace {

std::int64_t round_up(std::int64_t v, std::int64_t unit) { return (v + unit - 1) / unit * unit; }

}  // namespace

template <class T>
PackedMatrix<T>::PackedMatrix(const T* data, std::int64_t row_stride, std::int64_t depth_stride,
                              std::int64_t rows, std::int64_t depth)
    : rows_(rows),
      depth_(depth),
      tile_(panel_cols(rows, tile_of<T>())),
      unit_(gemm_kernels<T>().width),
      panels_(round_up(rows, unit_) * depth) {
  const MatrixSource<T> source(data, row_stride, depth_stride);
  parallel_for((rows + tile_ - 1) / tile_, grain_for(depth * tile_),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t r = begin * tile_; r < std::min(end * tile_, rows); r += tile_) {
                   const int here = static_cast<int>(std::min<std::int64_t>(tile_, rows - r));
                   if (depth > 0)
                     source.pack(panels_.data() + r * depth, r, here,
                                 static_cast<int>(round_up(here, unit_)), 0, depth);
                 }
               });
}

template <class T>
void PackedMatrix<T>::pack(T* panel, std::int64_t row, int rows, int tile, std::int64_t k,
                           std::int64_t depth) const {
  for (int r = 0; r < tile; ++r) {
    const std::int64_t at = (row + r) / tile_ * tile_, column = row + r - at;
    const std::int64_t width = std::min<std::int64_t>(tile_, round_up(rows_ - at, unit_));
    const T* const from = panels_.data() + at * depth_ + k * width + column;
    for (std::int64_t d = 0; d < depth; ++d)
      panel[d * tile + r] = r < rows ? from[d * width] : T{0};
  }
}

template class PackedMatrix<float>;
template class PackedMatrix<double>;

}  // namespace pyfast::gemm
