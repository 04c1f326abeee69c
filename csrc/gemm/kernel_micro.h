// The register tile: rows x vectors of C stay in registers while depth runs over packed panels.
//
// Each step loads `vectors` vectors of B, broadcasts `rows` elements of A and does rows * vectors
// FMAs. Tiles by register file, keeping one register for the broadcast:
//   AVX-512, 32 registers  14 x 2   28 sums, 16 loads for 28 FMAs (two of each a cycle)
//   AVX2,    16 registers   6 x 2   12 sums, 8 loads for 12 FMAs
//   NEON,    32 registers   8 x 3   24 sums
//   scalar,  16 registers   4 x 2    8 sums, and room for the product before it is added
// Smaller tiles serve the edges, and shapes that split evenly into them.
#pragma once

#include <type_traits>
#include <utility>

#include "gemm/kernel.h"
#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

namespace {

// Depth: sums of a block are one chain of multiply-adds. Of 256, and on AVX2 384, gradients of 1 x
// 1 kernels over 1,200 points had 1.1 to 1.2 times the error of PyTorch on one thread; 192 costs
// nothing that could be measured.
#if defined(PYFAST_ISA_AVX512)
constexpr int kRows = 14, kVectors = 2, kDepth = 192;
#elif defined(PYFAST_ISA_AVX2)
constexpr int kRows = 6, kVectors = 2, kDepth = 192;
#elif defined(PYFAST_ISA_NEON)
constexpr int kRows = 8, kVectors = 3, kDepth = 384;
#else
constexpr int kRows = 4, kVectors = 2, kDepth = 512;
#endif

static_assert(kRows * kVectors * vec<float>::size <= kMaxTile);
static_assert(kVectors * vec<float>::size <= kMaxRows);

// body(0), ..., body(n - 1) with constant arguments: sums[] must unroll into registers.
template <class Body, int... i>
PYFAST_INLINE void unrolled(std::integer_sequence<int, i...>, Body body) {
  (body(std::integral_constant<int, i>()), ...);
}
template <int n, class Body>
PYFAST_INLINE void unroll(Body body) {
  unrolled(std::make_integer_sequence<int, n>(), body);
}

// Few rows leave registers for several sums an element, which take turns along the depth: that
// hides the FMAs' latency, and short chains are more exact.
constexpr int chains(int rows) { return 4 * rows <= kRows ? 4 : 2 * rows <= kRows ? 2 : 1; }

// sums[0] = the first n of them, a power of two, added in pairs.
template <int n, class V, int all, int count>
PYFAST_INLINE void add_pairs(V (&sums)[all][count]) {
  if constexpr (n > 1) {
    unroll<n / 2>([&](auto c) PYFAST_INLINED {
      unroll<count>([&](auto i) PYFAST_INLINED { sums[c][i] = sums[c][i] + sums[c + n / 2][i]; });
    });
    add_pairs<n / 2>(sums);
  }
}

template <class T, int rows, int vectors>
PYFAST_INLINE void micro_step(typename vec<T>::native (&sums)[rows * vectors], const T* a,
                              const T* b) {
  typename vec<T>::native right[vectors];
  unroll<vectors>([&](auto j) PYFAST_INLINED { right[j] = vec<T>::load(b + j * vec<T>::size).v; });
  unroll<rows>([&](auto r) PYFAST_INLINED {
    const auto left = vec<T>(a[r]).v;
    unroll<vectors>([&](auto j) PYFAST_INLINED {
      sums[r * vectors + j] = backend::fma(left, right[j], sums[r * vectors + j]);
    });
  });
}

// The sums are the compiler's own vector type, each a variable of its own to it once unrolled:
// arrays of vec, whose store() takes an address, GCC 12 keeps in memory. Four steps a turn at
// least: the loop's own instructions share the ports of the FMAs (4 % of the speed with one step a
// turn), and a line each of what comes next is asked for (10 % of a product of 2048 cubed).
template <class T, int rows, int vectors>
void micro(std::int64_t depth, const T* a, const T* b, const T* start, T* out, std::int64_t ld,
           const MicroNext<T>& next) {
  constexpr int w = vec<T>::size, cols = vectors * w, line = 64 / sizeof(T), turn = 4;
  constexpr int n = chains(rows);
  typename vec<T>::native parts[n][rows * vectors] = {};
  const T *panel = next.panel, *slot = next.slot;
  const T* const slot_end = slot + rows * cols;
  std::int64_t d = 0;
  for (; d + turn <= depth; d += turn, a += turn * rows, b += turn * cols) {
    __builtin_prefetch(panel, 0, 2);
    panel += line;
    for (int i = 1; i < next.lines; ++i, panel += line) __builtin_prefetch(panel, 0, 2);
    if (slot < slot_end) {
      __builtin_prefetch(slot, 1, 3);
      slot += line;
    }
    unroll<turn>([&](auto i) PYFAST_INLINED {
      micro_step<T, rows, vectors>(parts[i % n], a + i * rows, b + i * cols);
    });
  }
  for (; d < depth; ++d, a += rows, b += cols) micro_step<T, rows, vectors>(parts[0], a, b);
  add_pairs<n>(parts);
  auto& sums = parts[0];
  // Sums of a block are added up: one long sum had 10 times PyTorch's error over 4446 non-negative
  // products.
  if (start)
    unroll<rows * vectors>([&](auto i) PYFAST_INLINED {
      sums[i] = (vec<T>(sums[i]) + vec<T>::load(start + i * w)).v;
    });
  unroll<rows>([&](auto r) PYFAST_INLINED {
    unroll<vectors>(
        [&](auto j) PYFAST_INLINED { vec<T>(sums[r * vectors + j]).store(out + r * ld + j * w); });
  });
}

template <class T, class Indices>
struct MicroTable;
template <class T, int... i>
struct MicroTable<T, std::integer_sequence<int, i...>> {
  static constexpr MicroKernel<T> entries[] = {&micro<T, i / kVectors + 1, i % kVectors + 1>...};
};

template <class T>
constexpr const MicroKernel<T>* micro_table() {
  return MicroTable<T, std::make_integer_sequence<int, kRows * kVectors>>::entries;
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
