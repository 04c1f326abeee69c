// Depthwise correlation of planes so small that each is taken as one row, with an odd kernel that
// keeps their size: a tap is a shift of the whole plane. What a tap shifts over the ends of the
// plane's rows is masked out, of a column of taps at once, after its products are added up (an
// infinity there is masked with the rest). The plane is copied between zeros, for the taps above
// and below it, while the one before it is computed. Included by kernel.cpp only.
#pragma once

#include "gemm/kernel_micro.h"
#include "ops/conv/kernel.h"
#include "simd/loop.h"
#include "simd/sums.h"

namespace pyfast::PYFAST_ISA {

namespace {

template <class T>
PYFAST_INLINE typename vec<T>::native masked(typename vec<T>::native x, const T* mask) {
  return bits<T>::to(bits<T>::of(vec<T>(x)) & bits<T>::of(vec<T>::load(mask))).v;
}

// Whole vectors: what the last has too much is zero, as in the slack.
template <class T>
PYFAST_INLINE void copy_flat(const FlatShape<T>& s, T* scratch, const T* plane) {
  T* const to = scratch + s.slack;
  for_each_vector<T>(s.size, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    fetch_ahead(plane + i);
    load(plane + i, lanes).store(to + i);
  });
}

// body(plane, its copy) for each of the planes, the next of which is copied before.
template <class T, class Body>
PYFAST_INLINE void each_flat(const FlatShape<T>& s, std::int64_t planes, const T* source,
                             std::int64_t step, T* scratch, Body body) {
  copy_flat(s, scratch, source);
  for (std::int64_t p = 0; p < planes; ++p) {
    if (p + 1 < planes) copy_flat(s, scratch + (p + 1) % 2 * s.copy(), source + (p + 1) * step);
    body(p, static_cast<const T*>(scratch) + p % 2 * s.copy() + s.slack);
  }
}

// V vectors of outputs from position i on; x at the plane's start.
template <int K, int V, class T>
PYFAST_INLINE void flat_block(const FlatShape<T>& s, const T* x, const typename vec<T>::native* w,
                              T bias, std::int64_t i, typename vec<T>::native* total) {
  constexpr int size = vec<T>::size;
  const T* const first = x + i - K / 2 * (s.row_step + 1);
  unroll<V>([&](auto v) PYFAST_INLINED { total[v] = vec<T>(bias).v; });
  unroll<K>([&](auto tx) PYFAST_INLINED {
    typename vec<T>::native column[V] = {};
    unroll<K>([&](auto ty) PYFAST_INLINED {
      unroll<V>([&](auto v) PYFAST_INLINED {
        const auto from = vec<T>::load(first + ty * s.row_step + tx + v * size).v;
        column[v] = backend::fma(w[ty * K + tx], from, column[v]);
      });
    });
    unroll<V>([&](auto v) PYFAST_INLINED {
      if constexpr (tx != K / 2)
        column[v] = masked<T>(column[v], s.masks + tx * s.mask_pitch + i + v * size);
      total[v] += column[v];
    });
  });
}

template <int K, class T>
PYFAST_INLINE void flat_plane(const FlatShape<T>& s, const T* x, const T* weights, bool reversed,
                              T bias, T* out) {
  constexpr int size = vec<T>::size;
  typename vec<T>::native w[K * K], total[2];
  unroll<K * K>([&](auto t)
                    PYFAST_INLINED { w[t] = vec<T>(weights[reversed ? K * K - 1 - t : t]).v; });
  std::int64_t i = 0;
  for (; i + 2 * size <= s.size; i += 2 * size) {
    fetch_ahead(out + i), fetch_ahead(out + i + size);
    flat_block<K, 2>(s, x, w, bias, i, total);
    vec<T>(total[0]).store(out + i), vec<T>(total[1]).store(out + i + size);
  }
  for (; i < s.size; i += size) {
    flat_block<K, 1>(s, x, w, bias, i, total);
    store(vec<T>(total[0]), out + i, s.size - i < size ? static_cast<int>(s.size - i) : size);
  }
}

template <int K, class T>
void flat_planes(const FlatShape<T>& s, std::int64_t planes, const T* source, std::int64_t step,
                 const T* weights, bool reversed, const T* bias, T* out, std::int64_t out_step,
                 T* scratch) {
  each_flat(s, planes, source, step, scratch, [&](std::int64_t p, const T* x) PYFAST_INLINED {
    flat_plane<K>(s, x, weights + p * K * K, reversed, bias ? bias[p] : T{0}, out + p * out_step);
  });
}

// R rows of the kernel from `ty` on. Here the image is masked, not the products: zeros of the maps
// would not silence its infinities.
template <int K, int R, class T>
PYFAST_INLINE void flat_taps(const FlatShape<T>& s, const T* x, const T* maps, int ty, T* lanes) {
  constexpr int size = vec<T>::size;
  typename vec<T>::native sums[R * K];
  unroll<R * K>([&](auto t)
                    PYFAST_INLINED { sums[t] = vec<T>::load(lanes + (ty * K + t) * size).v; });
  const T* const first = x - K / 2 * (s.row_step + 1) + ty * s.row_step;
  for_each_vector<T>(s.size, [&](std::int64_t i, int count) PYFAST_INLINED {
    const auto map = load(maps + i, count).v;
    unroll<K>([&](auto tx) PYFAST_INLINED {
      unroll<R>([&](auto r) PYFAST_INLINED {
        auto from = load(first + r * s.row_step + tx + i, count).v;
        if constexpr (tx != K / 2) from = masked<T>(from, s.masks + tx * s.mask_pitch + i);
        sums[r * K + tx] = backend::fma(map, from, sums[r * K + tx]);
      });
    });
  });
  unroll<R * K>([&](auto t) PYFAST_INLINED { vec<T>(sums[t]).store(lanes + (ty * K + t) * size); });
}

template <int K, class T>
void flat_weights(const FlatShape<T>& s, std::int64_t planes, const T* image, std::int64_t step,
                  const T* maps, std::int64_t maps_step, T* lanes, T* scratch) {
  each_flat(s, planes, image, step, scratch, [&](std::int64_t p, const T* x) PYFAST_INLINED {
    T* const sums = lanes + p * K * K * vec<T>::size;
    const T* const map = maps + p * maps_step;
    if constexpr (K == 3)
      flat_taps<K, K>(s, x, map, 0, sums);
    else
      for (int ty = 0; ty < K; ++ty) flat_taps<K, 1>(s, x, map, ty, sums);
  });
}

// sums[i] += vector i of the lanes added up; the lanes become zero.
template <class T>
void fold_lanes(T* lanes, std::int64_t n, double* sums) {
  for (std::int64_t i = 0; i < n; ++i, lanes += vec<T>::size) {
    sums[i] += lane_sum(vec<T>::load(lanes));
    vec<T>().store(lanes);
  }
}

template <class T>
void any_flat_planes(const FlatShape<T>& s, std::int64_t planes, const T* source, std::int64_t step,
                     const T* weights, bool reversed, const T* bias, T* out, std::int64_t out_step,
                     T* scratch) {
  const auto run = s.kernel == 3 ? &flat_planes<3, T> : &flat_planes<5, T>;
  run(s, planes, source, step, weights, reversed, bias, out, out_step, scratch);
}
template <class T>
void any_flat_weights(const FlatShape<T>& s, std::int64_t planes, const T* image, std::int64_t step,
                      const T* maps, std::int64_t maps_step, T* lanes, T* scratch) {
  const auto run = s.kernel == 3 ? &flat_weights<3, T> : &flat_weights<5, T>;
  run(s, planes, image, step, maps, maps_step, lanes, scratch);
}

}  // namespace

}  // namespace pyfast::PYFAST_ISA
