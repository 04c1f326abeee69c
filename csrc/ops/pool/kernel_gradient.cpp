// Backward of pooling, for windows one or two columns apart: every input element collects what the
// windows that cover it hand back. A row of outputs is first laid out with zeros on both sides, so
// that no tap asks whether it lies inside; with stride 2 the even and the odd columns collect from
// different taps and are zipped together. Averages collect along the row once, then rows are added.
#include "ops/pool/kernel_fold.h"

namespace pyfast::PYFAST_ISA {

namespace {

constexpr int64_t kMostSlots = 32, kMostScratch = 1 << 16;

int64_t greatest(int64_t a, int64_t b) { return a > b ? a : b; }

// Column S m + p is tap c of output m + shift, for every c = (p + padding) mod S, where
// shift = (p + padding - c) / S.
struct Layout {
  int64_t left, width, slots;  // zeros in front, elements of a slot, rows that overlap

  Layout(const PoolAxis& rows, const PoolAxis& cols, int lanes) {
    const int64_t s = cols.stride, columns = (cols.in + s - 1) / s;
    left = (cols.kernel - 1) / s + 1;
    const int64_t right = (s - 1 + cols.padding) / s;
    width = left + greatest(cols.out, columns + lanes) + right + lanes;
    slots = (rows.kernel - 1) / rows.stride + 1;
  }
};

template <class T>
bool gathers(const PoolAxis& rows, const PoolAxis& cols) {
  if (rows.adaptive || cols.adaptive || rows.dilation != 1 || cols.dilation != 1) return false;
  if (rows.stride > kMostScratch || cols.stride > 2 || cols.kernel > 64 ||
      (rows.kernel - 1) / rows.stride >= kMostSlots)
    return false;
  const Layout layout(rows, cols, vec<T>::size);
  return layout.width < kMostScratch && 2 * layout.slots * layout.width < kMostScratch;
}

template <class T>
int64_t scratch(const PoolAxis& rows, const PoolAxis& cols) {
  const Layout layout(rows, cols, vec<T>::size);
  return (2 * layout.slots + 1) * greatest(layout.width, cols.in + vec<T>::size);
}

// body(o, r) for the output rows whose tap row r is input row i.
template <class Body>
PYFAST_INLINE void for_each_cover(const PoolAxis& rows, int64_t i, Body body) {
  const int64_t t = i + rows.padding;
  int64_t o = t / rows.stride;
  for (int64_t r = t - o * rows.stride; r < rows.kernel; r += rows.stride, --o)
    if (o >= 0 && o < rows.out) body(o, r);
}

// dx row = evens and odds (S = 2) or the one vector (S = 1), of columns S m and up
template <class T, int S>
PYFAST_INLINE void store_phases(T* dx, const vec<T> (&phase)[S], int64_t m, int64_t in) {
  constexpr int w = vec<T>::size;
  const int64_t rest = in - S * m;
  if constexpr (S == 1) {
    store(phase[0], dx + m, static_cast<int>(least(w, rest)));
  } else {
    store(zip_low(phase[0], phase[1]), dx + 2 * m, static_cast<int>(least(w, rest)));
    if (rest > w)
      store(zip_high(phase[0], phase[1]), dx + 2 * m + w, static_cast<int>(least(w, rest - w)));
  }
}

// Windows of K columns behind a border of P, which the compiler unrolls.
template <int K, int P>
struct Fixed {
  static constexpr int64_t kernel = K, padding = P;
};
struct Any {
  int64_t kernel, padding;
};

// body(window) with the sizes of the windows along a row.
template <class Body>
PYFAST_INLINE void with_window(const PoolAxis& a, Body body) {
  if (a.kernel == 3 && a.padding == 1) return body(Fixed<3, 1>{});
  if (a.kernel == 3 && a.padding == 0) return body(Fixed<3, 0>{});
  if (a.kernel == 2 && a.padding == 0) return body(Fixed<2, 0>{});
  body(Any{a.kernel, a.padding});
}

// body(c, shift) for every tap of phase p
template <int S, class Window, class Body>
PYFAST_INLINE void for_each_tap(const Window& window, int p, Body body) {
  const int64_t t = p + window.padding;
  int64_t shift = t / S;
#pragma GCC unroll 4
  for (int64_t c = t % S; c < window.kernel; c += S, --shift) body(c, shift);
}

// ---- windows of 2 x 2 side by side: each output alone decides its four inputs ----

PYFAST_INLINE bool side_by_side(const PoolAxis& a) {
  return a.kernel == 2 && a.stride == 2 && a.padding == 0 && 2 * a.out <= a.in;
}

template <class T>
PYFAST_INLINE void zero_row(T* dx, int64_t n) {
  for_each_vector<T>(n,
                     [&](int64_t i, int lanes) PYFAST_INLINED { store(vec<T>(), dx + i, lanes); });
}

// share(o, r, c): what outputs o, o + 1, ... hand to row r and column c of their windows.
template <class T, class Share>
PYFAST_INLINE void side_by_side_rows(T* dx, int64_t width, int64_t out, Share share) {
  for_each_vector<T>(out, [&](int64_t o, int lanes) PYFAST_INLINED {
#pragma GCC unroll 2
    for (int r = 0; r < 2; ++r) {
      const vec<T> pair[2] = {share(o, lanes, r, 0), share(o, lanes, r, 1)};
      store_phases<T, 2>(dx + r * width, pair, o, 2 * out);
    }
  });
  for (int64_t c = 2 * out; c < width; ++c) dx[c] = dx[width + c] = 0;
}

template <class T>
void max_side_by_side(T* dx, const T* g, const std::uint8_t* taps, const PoolAxis& rows,
                      const PoolAxis& cols, T* scratch) {
  for (int64_t o = 0; o < rows.out; ++o) {
    for (int64_t k = 0; k < cols.out; ++k)
      scratch[k] = static_cast<T>(static_cast<int>(taps[o * cols.out + k]));
    const T* from = g + o * cols.out;
    side_by_side_rows(dx + 2 * o * cols.in, cols.in, cols.out,
                      [&](int64_t i, int lanes, int r, int c) PYFAST_INLINED {
                        const vec<T> number(static_cast<T>(2 * r + c));
                        return select(load(scratch + i, lanes) == number, load(from + i, lanes),
                                      vec<T>());
                      });
  }
  zero_row(dx + 2 * rows.out * cols.in, (rows.in - 2 * rows.out) * cols.in);
}

template <class T>
void avg_side_by_side(T* dx, const T* g, const PoolAxis& rows, const PoolAxis& cols,
                      const PoolDivisor<T>& divisor) {
  const Average<T> average(divisor, 2);
  for (int64_t o = 0; o < rows.out; ++o) {
    const T* from = g + o * cols.out;
    side_by_side_rows(dx + 2 * o * cols.in, cols.in, cols.out,
                      [&](int64_t i, int lanes, int, int) PYFAST_INLINED {
                        return average.finish(load(from + i, lanes), i, lanes);
                      });
  }
  zero_row(dx + 2 * rows.out * cols.in, (rows.in - 2 * rows.out) * cols.in);
}

// ---- maximum ----

template <class T>
struct Cover {
  const T *g, *taps;  // output 0 of a row
  T first;            // the number of the tap that leads to it
};

template <class T, int S, class Window>
PYFAST_INLINE void max_row(T* dx, const Cover<T>* covers, int count, int64_t in,
                           const Window& window) {
  constexpr int w = vec<T>::size;
  for (int64_t m = 0; S * m < in; m += w) {
    vec<T> phase[S];
    for (int k = 0; k < count; ++k) {
      const Cover<T> cover = covers[k];
#pragma GCC unroll 2
      for (int p = 0; p < S; ++p)
        for_each_tap<S>(window, p, [&](int64_t c, int64_t shift) PYFAST_INLINED {
          const vec<T> g = vec<T>::load(cover.g + m + shift);
          const mask<T> here =
              vec<T>::load(cover.taps + m + shift) == vec<T>(cover.first + static_cast<T>(c));
          phase[p] = select(here, phase[p] + g, phase[p]);
        });
    }
    store_phases<T, S>(dx, phase, m, in);
  }
}

template <class T, int S, class Window>
PYFAST_INLINE void max_plane_by(T* dx, const T* g, const std::uint8_t* taps, const PoolAxis& rows,
                                const PoolAxis& cols, T* scratch, const Window& window) {
  const Layout layout(rows, cols, vec<T>::size);
  int64_t ready = 0;  // output rows laid out
  for (int64_t i = 0; i < rows.in; ++i) {
    for (; ready < rows.out && ready * rows.stride - rows.padding <= i; ++ready) {
      T* slot = scratch + ready % layout.slots * 2 * layout.width + layout.left;
      const T* from = g + ready * cols.out;
      const std::uint8_t* numbers = taps + ready * cols.out;
      map(slot, from, cols.out, [](vec<T> v) PYFAST_INLINED { return v; });
      for (int64_t k = 0; k < cols.out; ++k)
        slot[layout.width + k] = static_cast<T>(static_cast<int>(numbers[k]));
    }
    Cover<T> covers[kMostSlots];
    int count = 0;
    for_each_cover(rows, i, [&](int64_t o, int64_t r) PYFAST_INLINED {
      const T* slot = scratch + o % layout.slots * 2 * layout.width + layout.left;
      covers[count++] = {slot, slot + layout.width, static_cast<T>(r * cols.kernel)};
    });
    max_row<T, S>(dx + i * cols.in, covers, count, cols.in, window);
  }
}

template <class T>
void max_plane(T* dx, const T* g, const std::uint8_t* taps, const PoolAxis& rows,
               const PoolAxis& cols, T* scratch) {
  if (side_by_side(rows) && side_by_side(cols))
    return max_side_by_side(dx, g, taps, rows, cols, scratch);
  with_window(cols, [&](auto window) PYFAST_INLINED {
    if (cols.stride == 1)
      max_plane_by<T, 1>(dx, g, taps, rows, cols, scratch, window);
    else
      max_plane_by<T, 2>(dx, g, taps, rows, cols, scratch, window);
  });
}

// ---- average ----

// shares[o] = g[o] / divisor of o, for one row
template <class T>
PYFAST_INLINE void share_row(T* shares, const T* g, int64_t n, const Average<T>& average) {
  for_each_vector<T>(n, [&](int64_t o, int lanes) PYFAST_INLINED {
    store(average.finish(load(g + o, lanes), o, lanes), shares + o, lanes);
  });
}

template <class T, int S, class Window>
PYFAST_INLINE void collect_row(T* spread, const T* shares, int64_t in, const Window& window) {
  constexpr int w = vec<T>::size;
  for (int64_t m = 0; S * m < in; m += w) {
    vec<T> phase[S];
#pragma GCC unroll 2
    for (int p = 0; p < S; ++p)
      for_each_tap<S>(window, p, [&](int64_t, int64_t shift) PYFAST_INLINED {
        phase[p] += vec<T>::load(shares + m + shift);
      });
    store_phases<T, S>(spread, phase, m, in);
  }
}

template <class T, int S, class Window>
PYFAST_INLINE void avg_plane_by(T* dx, const T* g, const PoolAxis& rows, const PoolAxis& cols,
                                const PoolDivisor<T>& divisor, T* scratch, const Window& window) {
  const Layout layout(rows, cols, vec<T>::size);
  T* const shares = scratch + layout.left;  // zeros around it
  T* const slots = scratch + layout.width;
  int64_t ready = 0;  // output rows spread along the width
  for (int64_t i = 0; i < rows.in; ++i) {
    for (; ready < rows.out && ready * rows.stride - rows.padding <= i; ++ready) {
      share_row(shares, g + ready * cols.out, cols.out,
                Average<T>(divisor, extent_at(rows, ready, divisor.include_pad)));
      collect_row<T, S>(slots + ready % layout.slots * cols.in, shares, cols.in, window);
    }
    const T* covers[kMostSlots];
    int count = 0;
    for_each_cover(rows, i, [&](int64_t o, int64_t) PYFAST_INLINED {
      covers[count++] = slots + o % layout.slots * cols.in;
    });
    for_each_vector<T>(cols.in, [&](int64_t c, int lanes) PYFAST_INLINED {
      vec<T> sum;
      for (int k = 0; k < count; ++k) sum += load(covers[k] + c, lanes);
      store(sum, dx + i * cols.in + c, lanes);
    });
  }
}

template <class T>
void avg_plane(T* dx, const T* g, const PoolAxis& rows, const PoolAxis& cols,
               const PoolDivisor<T>& divisor, T* scratch) {
  if (side_by_side(rows) && side_by_side(cols)) return avg_side_by_side(dx, g, rows, cols, divisor);
  with_window(cols, [&](auto window) PYFAST_INLINED {
    if (cols.stride == 1)
      avg_plane_by<T, 1>(dx, g, rows, cols, divisor, scratch, window);
    else
      avg_plane_by<T, 2>(dx, g, rows, cols, divisor, scratch, window);
  });
}

// ---- other averages ----

template <class T>
void add_row(T* dx, const T* x, int64_t n) {
  map(dx, dx, x, n, [](vec<T> a, vec<T> b) PYFAST_INLINED { return a + b; });
}

template <class T>
void spread_window(T* dx, T g, PoolWindow window) {  // averages have no dilation
  T* first = dx + window.first;
  map(first, first, window.count, [=](vec<T> v) PYFAST_INLINED { return v + vec<T>(g); });
}

template <class T>
void spread_row(T* dx, T* shares, const T* g, int64_t row, const PoolAxis& rows,
                const PoolAxis& cols, const PoolDivisor<T>& divisor) {
  share_row(shares, g, cols.out, Average<T>(divisor, extent_at(rows, row, divisor.include_pad)));
  for (int64_t i = 0; i < cols.in; ++i) dx[i] = 0;
  for (int64_t o = 0; o < cols.out; ++o) spread_window(dx, shares[o], window_at(cols, o));
}

}  // namespace

template <class T>
const PoolGradientKernels<T>& pool_gradient_kernels() {
  static constexpr PoolGradientKernels<T> table{&gathers<T>,   &scratch<T>,    &max_plane<T>,
                                                &avg_plane<T>, &spread_row<T>, &add_row<T>};
  return table;
}

template const PoolGradientKernels<float>& pool_gradient_kernels<float>();
template const PoolGradientKernels<double>& pool_gradient_kernels<double>();

}  // namespace pyfast::PYFAST_ISA
