// The machine's instructions that C++ has no words for: matrix fragments, copies into shared memory
// that run beside the arithmetic, shuffles. On a GPU they are PTX (sm_80 on); where the host
// compiler reads this, core/emulator.h plays them for tests.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#if defined(__CUDACC__)
#define PYFAST_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
#define PYFAST_GRID_CONSTANT __grid_constant__
#define PYFAST_NOINLINE __noinline__
#else
#include "cuda/core/emulator.h"
#define PYFAST_KERNEL(...) static void  // nvcc makes a function of the same name, which launches
#define PYFAST_GRID_CONSTANT
#define PYFAST_NOINLINE __attribute__((noinline))
#endif

#include "cuda/core/warp_tile.cuh"

namespace pyfast::cuda {

#if defined(__CUDACC__)

__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char pyfast_shared[];
  return pyfast_shared;
}

__device__ __forceinline__ void sync_block() { __syncthreads(); }
__device__ __forceinline__ void sync_warp() { __syncwarp(); }
__device__ __forceinline__ bool any_of_block(bool x) { return __syncthreads_or(x) != 0; }

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

// Four 8 x 8 matrices of 16-bit elements; lane 8 m + r names row r of matrix m. Register m holds of
// matrix m what lane 4 r + c gets of a tile's row r: columns 2 c and 2 c + 1.
template <class T>
__device__ __forceinline__ void load_matrices(std::uint32_t (&to)[4], const T* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

// The same of the transposed matrices.
template <class T>
__device__ __forceinline__ void load_transposed(std::uint32_t (&to)[4], const T* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

template <class T>
__device__ __forceinline__ void multiply_add(float (&c)[4], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[2]) {
  detail::mma(c, a, b, T());
}

// 16 bytes into shared memory: the first `bytes` of them copied, the others 0. `from` must be an
// address that can be read even if bytes is 0.
__device__ __forceinline__ void copy_async(void* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>  // all but the latest kPending groups of this thread have landed
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

template <class V>
__device__ __forceinline__ V from_lane(V x, int lane) {
  return __shfl_sync(0xffffffffu, x, lane);
}
template <class V>
__device__ __forceinline__ V from_lane_xor(V x, int bits) {
  return __shfl_xor_sync(0xffffffffu, x, bits);
}

__device__ __forceinline__ bool any_of_warp(bool x) { return __any_sync(0xffffffffu, x) != 0; }

__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#else

inline unsigned char* shared_memory() { return Emulator::self().shared(); }
inline void sync_block() { Emulator::self().sync_block(); }
inline void sync_warp() { Emulator::self().exchange(0); }
inline bool any_of_block(bool x) { return Emulator::self().any_of_block(x); }

namespace detail {

inline std::uint32_t two(std::uint16_t low, std::uint16_t high) {
  return low | static_cast<std::uint32_t>(high) << 16;
}
template <class T>
float half_of(std::uint32_t pair, int which) {
  const auto bits = static_cast<std::uint16_t>(pair >> (16 * which));
  return to_float(std::bit_cast<T>(bits));
}

}  // namespace detail

template <class T>
void load_matrices(std::uint32_t (&to)[4], const T* row) {
  const auto* rows = Emulator::self().exchange(reinterpret_cast<const std::uint16_t*>(row));
  const unsigned lane = threadIdx.x % 32;
  for (unsigned m = 0; m < 4; ++m) {
    const std::uint16_t* r = rows[8 * m + lane / 4];
    to[m] = detail::two(r[lane % 4 * 2], r[lane % 4 * 2 + 1]);
  }
}

template <class T>
void load_transposed(std::uint32_t (&to)[4], const T* row) {
  const auto* rows = Emulator::self().exchange(reinterpret_cast<const std::uint16_t*>(row));
  const unsigned lane = threadIdx.x % 32;
  for (unsigned m = 0; m < 4; ++m)
    to[m] =
        detail::two(rows[8 * m + lane % 4 * 2][lane / 4], rows[8 * m + lane % 4 * 2 + 1][lane / 4]);
}

template <class T>
void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  struct Share {
    std::uint32_t a[4], b[2];
  };
  Share mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  const Share* lanes = Emulator::self().exchange(mine);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int e = 0; e < 4; ++e) {
    const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
    for (int k = 0; k < 16; ++k)
      c[e] += detail::half_of<T>(lanes[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k % 2) *
              detail::half_of<T>(lanes[column * 4 + k % 8 / 2].b[k / 8], k % 2);
  }
}

inline void copy_async(void* to, const void* from, int bytes) {
  const auto n = static_cast<std::size_t>(bytes);
  Emulator::self().copy(to, from, n, 16 - n);
}
inline void commit_copies() { Emulator::self().commit(); }
template <int kPending>
void wait_copies() {
  Emulator::self().wait_copies(kPending);
}
template <class V>
V from_lane(V x, int lane) {
  return Emulator::self().exchange(x)[lane];
}
template <class V>
V from_lane_xor(V x, int bits) {
  return Emulator::self().exchange(x)[static_cast<int>(threadIdx.x % 32) ^ bits];
}
inline bool any_of_warp(bool x) {
  const bool* lanes = Emulator::self().exchange(x);
  return std::any_of(lanes, lanes + Emulator::kWarp, [](bool any) { return any; });
}
inline float power_of_two(float x) { return std::exp2(x); }

#endif

}  // namespace pyfast::cuda
