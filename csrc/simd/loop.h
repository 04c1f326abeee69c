// Loops over contiguous values: whole vectors, then what is left in one partial vector.
#pragma once

#include <cstdint>

#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

// The first `lanes` values at p and `fill` in the other lanes; nothing beyond them is touched.
// Where `lanes` is known to be the vector's size, a plain load or store.
template <class T>
PYFAST_INLINE vec<T> load(const T* p, int lanes, T fill = T{0}) {
  return lanes == vec<T>::size ? vec<T>::load(p) : vec<T>::load(p, lanes, fill);
}
template <class T>
PYFAST_INLINE void store(vec<T> v, T* p, int lanes) {
  lanes == vec<T>::size ? v.store(p) : v.store(p, lanes);
}

// The vector at p + i of the n values at p, `fill` in lanes that lie beyond them.
template <class T>
PYFAST_INLINE vec<T> load_within(const T* p, std::int64_t i, std::int64_t n, T fill = T{0}) {
  if (i + vec<T>::size <= n) return vec<T>::load(p + i);
  return i < n ? vec<T>::load(p + i, static_cast<int>(n - i), fill) : vec<T>(fill);
}

// body(i, lanes) for every vector of n values; lanes is the vector's size in all but the last.
template <class T, class Body>
PYFAST_INLINE void for_each_vector(std::int64_t n, Body body) {
  constexpr int w = vec<T>::size;
  std::int64_t i = 0;
  for (; i + w <= n; i += w) body(i, w);
  const int rest = static_cast<int>(n - i);
  if (rest >= w) __builtin_unreachable();  // spares the tail the question whether it is whole
  if (rest > 0) body(i, rest);
}

// How far ahead of the loads a stream is fetched. Arrays of whole pages lie alike in their pages: a
// load then waits for the store one page behind it, if that is still queued for want of its line.
// Fetched in time, neither waits; without it copies of 8 MiB and more ran at 0.7 of the rate. The
// same for what will be written: its line from L2 holds up stores as one from memory does.
constexpr std::int64_t kAheadBytes = 1024;

template <class T>
PYFAST_INLINE void fetch(const T* p) {  // the cache line of p into L1; any address will do
  __builtin_prefetch(p, 0, 3);
}
template <class T>
PYFAST_INLINE void fetch_ahead(const T* p) {
  fetch(reinterpret_cast<const char*>(p) + kAheadBytes);
}

// y[i] = f(x[i]); y may be x.
template <class T, class F>
PYFAST_INLINE void map(T* y, const T* x, std::int64_t n, F f) {
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    fetch_ahead(x + i);
    fetch_ahead(y + i);
    store(f(load(x + i, lanes)), y + i, lanes);
  });
}

// y[i] = f(a[i], b[i]); y may be either.
template <class T, class F>
PYFAST_INLINE void map(T* y, const T* a, const T* b, std::int64_t n, F f) {
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) PYFAST_INLINED {
    fetch_ahead(a + i);
    fetch_ahead(b + i);
    fetch_ahead(y + i);
    store(f(load(a + i, lanes), load(b + i, lanes)), y + i, lanes);
  });
}

}  // namespace pyfast::PYFAST_ISA
