// The transforms of F(2 x 2, 3 x 3) and the register tile between them (winograd.h).
#include "gemm/kernel_micro.h"
#include "ops/conv/winograd.h"
#include "simd/deinterleave.h"
#include "simd/loop.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

// ---- products

template <class T, int points, int vectors>
PYFAST_INLINE void winograd_step(typename vec<T>::native (&sums)[points * vectors], const T* source,
                                 const T* weights) {
  typename vec<T>::native right[vectors];
  unroll<vectors>([&](auto j)
                      PYFAST_INLINED { right[j] = vec<T>::load(weights + j * vec<T>::size).v; });
  unroll<points>([&](auto r) PYFAST_INLINED {
    const auto left = vec<T>(source[r]).v;
    unroll<vectors>([&](auto j) PYFAST_INLINED {
      sums[r * vectors + j] = backend::fma(left, right[j], sums[r * vectors + j]);
    });
  });
}

// Sums of kWinogradDepth are added in pairs, as the bits of their number carry: waiting[i] holds
// that of 2^i of them.
template <class T, int points, int vectors>
void winograd_micro(std::int64_t depth, const T* source, std::int64_t pitch, const T* weights,
                    T* to, T* waiting) {
  constexpr int w = vec<T>::size, lanes = vectors * w, all = points * vectors;
  for (std::int64_t number = 0;; ++number) {
    typename vec<T>::native sums[all] = {};
    const std::int64_t n = depth < kWinogradDepth ? depth : kWinogradDepth;
    std::int64_t d = 0;
    for (; d + 2 <= n; d += 2, source += 2 * pitch, weights += 2 * lanes) {
      __builtin_prefetch(source + 2 * points - 1);  // of the next points
      __builtin_prefetch(source + pitch + 2 * points - 1);
      winograd_step<T, points, vectors>(sums, source, weights);
      winograd_step<T, points, vectors>(sums, source + pitch, weights + lanes);
    }
    if (d < n) winograd_step<T, points, vectors>(sums, source, weights);
    depth -= n;
    std::int64_t carry = number;
    T* level = waiting;
    for (; carry & 1 || (depth == 0 && carry > 0); carry >>= 1, level += all * w)
      if (carry & 1)
        unroll<all>([&](auto i) PYFAST_INLINED { sums[i] += vec<T>::load(level + i * w).v; });
    T* const out = depth == 0 ? to : level;
    unroll<all>([&](auto i) PYFAST_INLINED { vec<T>(sums[i]).store(out + i * w); });
    if (depth == 0) return;
  }
}

template <class T, class Indices>
struct WinogradTable;
template <class T, int... i>
struct WinogradTable<T, std::integer_sequence<int, i...>> {
  static constexpr WinogradMicro<T> entries[] = {
      &winograd_micro<T, i / kVectors + 1, i % kVectors + 1>...};
};

// ---- weights

// (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2)
template <class T>
PYFAST_INLINE void spread(vec<T> g0, vec<T> g1, vec<T> g2, vec<T>& x0, vec<T>& x1, vec<T>& x2,
                          vec<T>& x3) {
  const vec<T> half(T{0.5}), outer = g0 + g2;
  x0 = g0;
  x1 = half * (outer + g1);
  x2 = half * (outer - g1);
  x3 = g2;
}

PYFAST_INLINE void spread(const vec<double> (&g)[9], vec<double> (&to)[16]) {
  vec<double> rows[12];
  unroll<3>([&](auto x) PYFAST_INLINED {
    spread(g[x], g[3 + x], g[6 + x], rows[x], rows[3 + x], rows[6 + x], rows[9 + x]);
  });
  unroll<4>([&](auto y) PYFAST_INLINED {
    spread(rows[3 * y], rows[3 * y + 1], rows[3 * y + 2], to[4 * y], to[4 * y + 1], to[4 * y + 2],
           to[4 * y + 3]);
  });
}

PYFAST_INLINE void see_filters(const vec<float> (&g)[9], int l, WinogradFilters& seen) {
  using b = bits<float>;
  b::native largest, all;
  __builtin_memcpy(&largest, seen.largest + l, sizeof largest);
  __builtin_memcpy(&all, seen.bits + l, sizeof all);
  vec<float> nonzero, sum, corners, edges;
  unroll<9>([&](auto k) PYFAST_INLINED {
    const b::native x = b::of(g[k]) & ~b::kSign;
    largest = x > largest ? x : largest;
    all |= x;
    nonzero += select(g[k] != vec<float>(), vec<float>(1.0f), vec<float>());
    sum += abs(g[k]);
    constexpr bool row = k / 3 == 1, col = k % 3 == 1;
    if constexpr (!row && !col) corners = fma(g[k], g[k], corners);
    if constexpr (row != col) edges = fma(g[k], g[k], edges);
  });
  __builtin_memcpy(seen.largest + l, &largest, sizeof largest);
  __builtin_memcpy(seen.bits + l, &all, sizeof all);
  const auto add = [&](float* sum, vec<float> x)
                       PYFAST_INLINED { (vec<float>::load(sum + l) + x).store(sum + l); };
  const vec<float> middle = g[4] * g[4];
  add(seen.nonzero, nonzero);
  add(seen.sums, sum);
  add(seen.squares, middle + edges + corners);
  add(seen.weighed, middle + vec<float>(2.0f) * edges + vec<float>(4.0f) * corners);
}

// In double, rounded once.
void winograd_weights(const float* taps, const int* order, std::int64_t channels, int lanes,
                      float* to, std::int64_t product, WinogradFilters& seen) {
  for (std::int64_t c = 0; c < channels; ++c, taps += 9 * lanes, to += lanes)
    for (int l = 0; l < lanes; l += vec<float>::size) {
      vec<float> g[9];
      vec<double> low[9], high[9], x[16], y[16];
      for (int k = 0; k < 9; ++k) {
        g[k] = vec<float>::load(taps + order[k] * lanes + l);
        low[k] = widen_low(g[k]);
        high[k] = widen_high(g[k]);
      }
      spread(low, x);
      spread(high, y);
      for (int p = 0; p < 16; ++p) narrow(x[p], y[p]).store(to + p * product + l);
      see_filters(g, l, seen);
    }
}

// ---- source

template <class T>
void look(const T* x, std::int64_t n, WinogradNumbers& seen) {
  constexpr int w = vec<T>::size;
  std::uint32_t largest = seen.largest, all = seen.bits, zeros = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffffu;
    largest = bits > largest ? bits : largest;
    all |= bits;
    zeros += bits == 0 ? 1u : 0u;
  }
  seen.largest = largest;
  seen.bits = all;
  seen.nonzero += n - static_cast<std::int64_t>(zeros);
  vec<T> sums[2], squares[2];
  for (std::int64_t i = 0; i < n; i += 2 * w)
    for (int j = 0; j < 2; ++j) {
      const std::int64_t left = n - i - j * w;
      const vec<T> v = vec<T>::load(x + i + j * w, left > w   ? w
                                                   : left < 0 ? 0
                                                              : static_cast<int>(left));
      sums[j] += abs(v);
      squares[j] = fma(v, v, squares[j]);
    }
  seen.sum += lane_sum(sums[0] + sums[1]);
  seen.squares += lane_sum(squares[0] + squares[1]);
}

// B' along a row of the plane, for neighbouring tiles in the lanes.
template <class T>
PYFAST_INLINE void along(const T* row, vec<T> (&to)[4]) {
  constexpr int w = vec<T>::size;
  const vec<T> a = vec<T>::load(row), b = vec<T>::load(row + w);
  const vec<T> c = vec<T>::load(row + 2), d = vec<T>::load(row + w + 2);
  const vec<T> x0 = even(a, b), x1 = odd(a, b), x2 = even(c, d), x3 = odd(c, d);
  to[0] = x0 - x2;
  to[1] = x1 + x2;
  to[2] = x2 - x1;
  to[3] = x1 - x3;
}

template <class T>
PYFAST_INLINE void winograd_strip(const T* plane, std::int64_t pitch, std::int64_t rows,
                                  std::int64_t cols, T* to, std::int64_t product, int n) {
  vec<T> r0[4], r1[4], r2[4], r3[4];
  along(plane, r0);
  along(plane + pitch, r1);
  for (std::int64_t y = 0; y < rows; ++y, to += cols) {
    plane += 2 * pitch;
    along(plane, r2);
    along(plane + pitch, r3);
    unroll<4>([&](auto j) PYFAST_INLINED {
      T* const at = to + j * product;
      store(r0[j] - r2[j], at, n);
      store(r1[j] + r2[j], at + 4 * product, n);
      store(r2[j] - r1[j], at + 8 * product, n);
      store(r1[j] - r3[j], at + 12 * product, n);
      r0[j] = r2[j];
      r1[j] = r3[j];
    });
  }
}

template <class T>
void winograd_source(const T* plane, std::int64_t pitch, std::int64_t rows, std::int64_t cols,
                     T* to, std::int64_t product) {
  for_each_vector<T>(cols, [&](std::int64_t x, int n) {
    winograd_strip(plane + 2 * x, pitch, rows, cols, to + x, product, n);
  });
}

// ---- outputs

// A' x: what is largest where numbers have one sign, x1, is added last.
template <class T>
PYFAST_INLINE void gather(vec<T> x0, vec<T> x1, vec<T> x2, vec<T> x3, vec<T>& y0, vec<T>& y1) {
  y0 = (x0 + x2) + x1;
  y1 = x1 - (x2 + x3);
}

template <class T>
void winograd_outputs(const T* sums, std::int64_t product, int lanes, int rows, std::int64_t cols,
                      T* to) {
  constexpr int w = vec<T>::size;
  const std::int64_t row = cols * lanes;
  for (std::int64_t x = 0; x < cols; x += 2, to += lanes)
    for (int l = 0; l < lanes; l += w, sums += w, to += w) {
      vec<T> half[4][2], y[2][2];
      unroll<4>([&](auto i) PYFAST_INLINED {
        const T* const m = sums + 4 * i * product;
        gather(vec<T>::load(m), vec<T>::load(m + product), vec<T>::load(m + 2 * product),
               vec<T>::load(m + 3 * product), half[i][0], half[i][1]);
      });
      unroll<2>([&](auto j) PYFAST_INLINED {
        gather(half[0][j], half[1][j], half[2][j], half[3][j], y[0][j], y[1][j]);
      });
      y[0][0].store(to);
      if (x + 1 < cols) y[0][1].store(to + lanes);
      if (rows == 1) continue;
      y[1][0].store(to + row);
      if (x + 1 < cols) y[1][1].store(to + row + lanes);
    }
}

}  // namespace

template <class T>
const WinogradKernels<T>& winograd_kernels() {
  static constexpr WinogradKernels<T> table{
      WinogradTable<T, std::make_integer_sequence<int, kRows * kVectors>>::entries,
      &winograd_weights, &look<T>, &winograd_source<T>, &winograd_outputs<T>};
  return table;
}

template const WinogradKernels<float>& winograd_kernels<float>();

}  // namespace pyfast::PYFAST_ISA
