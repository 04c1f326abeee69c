// Winograd's minimal filtering F(2 x 2, 3 x 3) (Lavin and Gray 2016): four neighbouring outputs of
// a 3 x 3 kernel with stride 1 from 16 products for 36.
//
// A tile of outputs sees 4 x 4 elements d of the source. With
//
//   B' = 1  0 -1  0    G =  1   0   0    A' = 1  1  1  0
//        0  1  1  0        1/2 1/2 1/2        0  1 -1 -1
//        0 -1  1  0        1/2-1/2 1/2
//        0  1  0 -1         0   0   1
//
// it is A' M A, where M(p) = sum over channels of (B' d B)(p) (G g G')(p), p < 16: sixteen products
// of tiles by channels with channels by filters. An output depends only on what its own kernel
// sees: rows and columns of the tile beyond that meet M only where A' has a 0.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "gemm/kernel.h"

namespace pyfast {

inline constexpr int kWinogradProducts = 16;
// Channels of a sum from zero in registers. Such sums are added up in pairs: with 16 channels, or
// one sum after the other, errors exceeded PyTorch's where data is non-negative.
inline constexpr int kWinogradDepth = 8;
// Sums waiting for their pair, of any depth.
inline constexpr int kWinogradLevels = 60;

// What was seen of numbers: decides whether they suit (winograd_fit.h).
struct WinogradNumbers {
  std::uint32_t largest = 0;  // bits of the largest magnitude
  std::uint32_t bits = 0;     // set in any
  std::int64_t nonzero = 0;
  double sum = 0, squares = 0;  // of magnitudes

  void add(const WinogradNumbers& other) {
    largest = largest > other.largest ? largest : other.largest;
    bits |= other.bits;
    nonzero += other.nonzero;
    sum += other.sum;
    squares += other.squares;
  }
};

// The same of a panel's filters, their squares plain and by how often a tap is seen by the
// sums (4, 2, 1 times at corners, edges, the middle).
struct WinogradFilters {
  std::uint32_t largest[kMaxRows], bits[kMaxRows];
  float nonzero[kMaxRows], sums[kMaxRows], squares[kMaxRows], weighed[kMaxRows];
};

// sums[p * lanes + l] = sum over d < depth of source[d * pitch + p] * weights[d * lanes + l]
template <class T>
using WinogradMicro = void (*)(std::int64_t depth, const T* source, std::int64_t pitch,
                               const T* weights, T* sums, T* waiting);

template <class T>
struct WinogradKernels {
  const WinogradMicro<T>* micro;  // for p points, v vectors: micro[(p - 1) * vectors + v - 1]
  // For `channels` of a panel: taps[(c * 9 + order[k]) * lanes + l] is filter l's weight k, row by
  // row; to[p * product + c * lanes + l] its transform.
  void (*weights)(const T* taps, const int* order, std::int64_t channels, int lanes, T* to,
                  std::int64_t product, WinogradFilters& seen);
  void (*look)(const T* x, std::int64_t n, WinogradNumbers& seen);
  // Rows of tiles of a plane whose rows are `pitch` apart: to[p * product + y * cols + x]. Reads
  // two vectors behind the last row.
  void (*source)(const T* plane, std::int64_t pitch, std::int64_t rows, std::int64_t cols, T* to,
                 std::int64_t product);
  // The outputs of `cols` columns of a row of tiles, one row or two of them, to[(y * cols + x) *
  // lanes + l], from sums[p * product + tile * lanes + l].
  void (*outputs)(const T* sums, std::int64_t product, int lanes, int rows, std::int64_t cols,
                  T* to);
};

PYFAST_KERNEL_TABLE(WinogradKernels, winograd_kernels)

}  // namespace pyfast
