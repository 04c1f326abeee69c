// sm_90a's instructions that C++ has no words for: barriers that count arrivals and bytes, TMA, and
// the products of a warpgroup (four warps). On a GPU they are PTX; where the host compiler reads
// this, hopper/emulator.h plays them.
//
// A product is 64 rows by kColumns, 16 deep. Its sums are WarpTiles, one a warp, sixteen rows each,
// as mma.sync leaves them, and so is a left operand in registers. It runs on its own:
// begin_products, some of them, commit_products, and after wait_products<n> all but the latest n
// commits are done. Until then nobody touches its sums, its registers, or the tiles that it reads;
// settle() keeps the compiler from reading sums before they have been waited for.
#pragma once

#include "cuda/core/machine.cuh"
#include "cuda/hopper/swizzle.h"
#include "cuda/hopper/tensor_map.h"
#if !defined(__CUDACC__)
#include "cuda/hopper/emulator.h"
#endif

namespace pyfast::cuda {

// How a product's operands lie: rows of 64 columns that are summed over, or columns of them.
enum class Deep : std::uint8_t { along_rows, down_columns };

// Two elements, rounded to nearest even, the first in the low half.
template <class T>
__device__ __forceinline__ std::uint32_t rounded_pair(float low, float high) {
  const auto pair = [&] {
    if constexpr (std::is_same_v<T, __half>)
      return __floats2half2_rn(low, high);
    else
      return __floats2bfloat162_rn(low, high);
  }();
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

template <class T>
__device__ __forceinline__ float element_of_pair(std::uint32_t pair, int which) {
  return to_float(std::bit_cast<T>(static_cast<std::uint16_t>(pair >> (16 * which))));
}

#if defined(__CUDACC__)

struct alignas(8) Mbarrier {
  std::uint64_t state;
};

__device__ __forceinline__ unsigned char* aligned_shared_memory() {
  extern __shared__ __align__(1024) unsigned char pyfast_panels[];
  return pyfast_panels;
}

// The same in every lane of a warp, which the compiler then knows.
__device__ __forceinline__ int uniform(int x) { return __shfl_sync(0xffffffffu, x, 0); }

// x, about which the compiler knows nothing: it computes anew what hangs on it instead of keeping
// that in a register.
__device__ __forceinline__ int opaque(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

__device__ __forceinline__ void begin_barrier(Mbarrier& b, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&b)), "r"(arrivals)
               : "memory");
}
// By the thread that began them, before a barrier of the block.
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" ::
                   : "memory");
}
__device__ __forceinline__ void arrive(Mbarrier& b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&b)) : "memory");
}
__device__ __forceinline__ void arrive_expecting(Mbarrier& b, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&b)),
               "r"(bytes)
               : "memory");
}
// Until the phase of this parity has ended; a barrier begins in phase 0.
__device__ __forceinline__ void wait_phase(Mbarrier& b, std::uint32_t parity) {
  std::uint32_t ended = 0;
  while (!ended)
    asm volatile(
        "{\n\t.reg .pred p;\n\t"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
        "selp.u32 %0, 1, 0, p;\n\t}"
        : "=r"(ended)
        : "r"(shared_address(&b)), "r"(parity)
        : "memory");
}

// A panel of map.box_rows rows from (column, row) on, of the matrix at `batch`; by one thread.
__device__ __forceinline__ void load_panel(void* to, const CUtensorMap& map, Mbarrier& b,
                                           int column, int row, const int (&batch)[3]) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(&b)), "r"(column), "r"(row), "r"(batch[0]), "r"(batch[1]),
      "r"(batch[2])
      : "memory");
}

// A panel of map.pixels pixels from place `at` (x, y, image) of the walk on, read a tap's offset
// (x, y) further, from 0 to 255; by one thread.
__device__ __forceinline__ void load_pixels(void* to, const CUtensorMap& map, Mbarrier& b,
                                            int channel, const int (&at)[3], const int (&tap)[2]) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(&b)), "r"(channel), "r"(at[0]), "r"(at[1]), "r"(at[2]),
      "h"(static_cast<std::uint16_t>(tap[0])), "h"(static_cast<std::uint16_t>(tap[1]))
      : "memory");
}

// Bytes as they lie, a multiple of 16 from and to multiples of 16; by one thread.
__device__ __forceinline__ void load_bytes(void* to, const void* from, std::uint32_t bytes,
                                           Mbarrier& b) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(&b))
      : "memory");
}

// Barriers of some of the block's threads, by number from 1 on.
__device__ __forceinline__ void sync_named(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void arrive_named(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// A warpgroup's threads keep, or get, so many registers each.
template <int kRegisters>
__device__ __forceinline__ void keep_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void claim_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

__device__ __forceinline__ void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
template <int kColumns>
__device__ __forceinline__ void settle(WarpTile<kColumns>& c) {
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) asm volatile("" : "+f"(c.at[n][e])::"memory");
}

namespace detail {

#define PYFAST_SUMS8(n)                                                                         \
  "+f"(c.at[n][0]), "+f"(c.at[n][1]), "+f"(c.at[n][2]), "+f"(c.at[n][3]), "+f"(c.at[n + 1][0]), \
      "+f"(c.at[n + 1][1]), "+f"(c.at[n + 1][2]), "+f"(c.at[n + 1][3])
#define PYFAST_SUMS32(n) \
  PYFAST_SUMS8(n), PYFAST_SUMS8(n + 2), PYFAST_SUMS8(n + 4), PYFAST_SUMS8(n + 6)
#define PYFAST_SUMS24 PYFAST_SUMS8(0), PYFAST_SUMS8(2), PYFAST_SUMS8(4)
#define PYFAST_PLACES24 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23"
#define PYFAST_PLACES32                                                                        \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24," \
  "%25,%26,%27,%28,%29,%30,%31"
#define PYFAST_PLACES128                                                                        \
  PYFAST_PLACES64                                                                               \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,"   \
  "%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106," \
  "%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,"  \
  "%125,%126,%127"
#define PYFAST_PLACES64                                                       \
  PYFAST_PLACES32                                                             \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49," \
  "%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
// wgmma's last operands: whether sums are added to, signs, and how operands in memory lie.
#define PYFAST_WGMMA_SHARED(columns, type, places, a, b, adds, left, right, ...)                \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type " {" places \
               "}, %" a ", %" b ", %" adds ", 1, 1, %" left ", %" right ";"                     \
               : __VA_ARGS__                                                                    \
               : "l"(x), "l"(y), "n"(kAdds), "n"(kLeft), "n"(kRight))
#define PYFAST_WGMMA_REGISTERS(columns, type, places, p, q, r, s, b, right, ...)                \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type " {" places \
               "}, {%" p ", %" q ", %" r ", %" s "}, %" b ", 1, 1, 1, %" right ";"              \
               : __VA_ARGS__                                                                    \
               : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "l"(y), "n"(kRight))

template <class T, bool kAdds, bool kLeft, bool kRight, int kColumns>
__device__ __forceinline__ void wgmma(WarpTile<kColumns>& c, std::uint64_t x, std::uint64_t y) {
  static_assert(kColumns == 48 || kColumns == 64 || kColumns == 128 || kColumns == 256);
  constexpr bool kHalf = std::is_same_v<T, __half>;
  if constexpr (kColumns == 48 && kHalf)
    PYFAST_WGMMA_SHARED("48", "f16", PYFAST_PLACES24, "24", "25", "26", "27", "28", PYFAST_SUMS24);
  else if constexpr (kColumns == 48)
    PYFAST_WGMMA_SHARED("48", "bf16", PYFAST_PLACES24, "24", "25", "26", "27", "28", PYFAST_SUMS24);
  else if constexpr (kColumns == 64 && kHalf)
    PYFAST_WGMMA_SHARED("64", "f16", PYFAST_PLACES32, "32", "33", "34", "35", "36",
                        PYFAST_SUMS32(0));
  else if constexpr (kColumns == 64)
    PYFAST_WGMMA_SHARED("64", "bf16", PYFAST_PLACES32, "32", "33", "34", "35", "36",
                        PYFAST_SUMS32(0));
  else if constexpr (kColumns == 256 && kHalf)
    PYFAST_WGMMA_SHARED("256", "f16", PYFAST_PLACES128, "128", "129", "130", "131", "132",
                        PYFAST_SUMS32(0), PYFAST_SUMS32(8), PYFAST_SUMS32(16), PYFAST_SUMS32(24));
  else if constexpr (kColumns == 256)
    PYFAST_WGMMA_SHARED("256", "bf16", PYFAST_PLACES128, "128", "129", "130", "131", "132",
                        PYFAST_SUMS32(0), PYFAST_SUMS32(8), PYFAST_SUMS32(16), PYFAST_SUMS32(24));
  else if constexpr (kHalf)
    PYFAST_WGMMA_SHARED("128", "f16", PYFAST_PLACES64, "64", "65", "66", "67", "68",
                        PYFAST_SUMS32(0), PYFAST_SUMS32(8));
  else
    PYFAST_WGMMA_SHARED("128", "bf16", PYFAST_PLACES64, "64", "65", "66", "67", "68",
                        PYFAST_SUMS32(0), PYFAST_SUMS32(8));
}

template <class T, bool kRight, int kColumns>
__device__ __forceinline__ void wgmma(WarpTile<kColumns>& c, const std::uint32_t (&x)[4],
                                      std::uint64_t y) {
  static_assert(kColumns == 64 || kColumns == 128);
  constexpr bool kHalf = std::is_same_v<T, __half>;
  if constexpr (kColumns == 64 && kHalf)
    PYFAST_WGMMA_REGISTERS("64", "f16", PYFAST_PLACES32, "32", "33", "34", "35", "36", "37",
                           PYFAST_SUMS32(0));
  else if constexpr (kColumns == 64)
    PYFAST_WGMMA_REGISTERS("64", "bf16", PYFAST_PLACES32, "32", "33", "34", "35", "36", "37",
                           PYFAST_SUMS32(0));
  else if constexpr (kHalf)
    PYFAST_WGMMA_REGISTERS("128", "f16", PYFAST_PLACES64, "64", "65", "66", "67", "68", "69",
                           PYFAST_SUMS32(0), PYFAST_SUMS32(8));
  else
    PYFAST_WGMMA_REGISTERS("128", "bf16", PYFAST_PLACES64, "64", "65", "66", "67", "68", "69",
                           PYFAST_SUMS32(0), PYFAST_SUMS32(8));
}

#undef PYFAST_SUMS8
#undef PYFAST_SUMS32
#undef PYFAST_SUMS24
#undef PYFAST_PLACES24
#undef PYFAST_PLACES32
#undef PYFAST_PLACES64
#undef PYFAST_PLACES128
#undef PYFAST_WGMMA_SHARED
#undef PYFAST_WGMMA_REGISTERS

}  // namespace detail

// c += a b, or c = a b without kAdds: both operands by their descriptors.
template <class T, bool kAdds, Deep kLeft, Deep kRight, int kColumns>
__device__ __forceinline__ void begin_product(WarpTile<kColumns>& c, std::uint64_t a,
                                              std::uint64_t b) {
  detail::wgmma<T, kAdds, kLeft == Deep::down_columns, kRight == Deep::down_columns>(c, a, b);
}
// c += a b: a in registers.
template <class T, Deep kRight, int kColumns>
__device__ __forceinline__ void begin_product(WarpTile<kColumns>& c, const std::uint32_t (&a)[4],
                                              std::uint64_t b) {
  detail::wgmma<T, kRight == Deep::down_columns>(c, a, b);
}

__device__ __forceinline__ std::uint32_t from_lane_xor(std::uint32_t x, int bits) {
  return __shfl_xor_sync(0xffffffffu, x, bits);
}

#else

inline unsigned char* aligned_shared_memory() { return Emulator::self().shared(); }
inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(static_cast<const unsigned char*>(p) -
                                    Emulator::self().shared());
}
inline int uniform(int x) { return Emulator::self().exchange(x)[0]; }
inline int opaque(int x) { return x; }
inline void begin_barrier(Mbarrier& b, int arrivals) { HopperEmulator::begin_barrier(b, arrivals); }
inline void publish_barriers() {}
inline void arrive(Mbarrier& b) { HopperEmulator::change(b, 1, 0); }
inline void arrive_expecting(Mbarrier& b, std::uint32_t bytes) {
  HopperEmulator::change(b, 1, static_cast<std::int32_t>(bytes));
}
inline void wait_phase(Mbarrier& b, std::uint32_t parity) { HopperEmulator::wait_phase(b, parity); }
inline void load_panel(void* to, const TensorBoxes& map, Mbarrier& b, int column, int row,
                       const int (&batch)[3]) {
  HopperEmulator::load_box(to, map, b, {column, row, batch[0], batch[1], batch[2]});
}
inline void load_pixels(void* to, const TensorPixels& map, Mbarrier& b, int channel,
                        const int (&at)[3], const int (&tap)[2]) {
  HopperEmulator::load_pixels(to, map, b, channel, {at[0], at[1], at[2]}, {tap[0], tap[1]});
}
inline void load_bytes(void* to, const void* from, std::uint32_t bytes, Mbarrier& b) {
  HopperEmulator::load_bytes(to, from, bytes, b);
}
inline void sync_named(int id, int threads) { HopperEmulator::self().sync_named(id, threads); }
inline void arrive_named(int id, int threads) { HopperEmulator::self().arrive_named(id, threads); }
template <int>
void keep_registers() {}
template <int>
void claim_registers() {}
inline void begin_products() {}
inline void commit_products() { HopperEmulator::self().commit(); }
template <int kPending>
void wait_products() {
  HopperEmulator::self().wait_products(kPending);
}
template <int kColumns>
void settle(WarpTile<kColumns>&) {}

namespace detail {

// A lane's share of a product: `left` gives two rows of the left operand, 16 deep.
template <class T, int kColumns, class Left>
void add_product(WarpTile<kColumns>& c, const Left& left, std::uint64_t right, bool transposed) {
  float a[2][16];
  left(a);
  for (int n = 0; n < kColumns / 8; ++n)
    for (int pair = 0; pair < 2; ++pair)
      for (std::uint32_t k = 0; k < 16; ++k) {
        const auto column = static_cast<std::uint32_t>(c.column(n, pair));
        const float b = HopperEmulator::element<T>(right, transposed, column, k);
        for (int h = 0; h < 2; ++h) c.at[n][2 * h + pair] += a[h][k] * b;
      }
}

}  // namespace detail

template <class T, bool kAdds, Deep kLeft, Deep kRight, int kColumns>
void begin_product(WarpTile<kColumns>& c, std::uint64_t a, std::uint64_t b) {
  const unsigned first = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
  HopperEmulator::self().begin_product([=, &c] {
    if (!kAdds) c.clear();
    const auto rows = [&](float (&to)[2][16]) {
      for (std::uint32_t h = 0; h < 2; ++h)
        for (std::uint32_t k = 0; k < 16; ++k)
          to[h][k] = HopperEmulator::element<T>(a, kLeft == Deep::down_columns, first + 8 * h, k);
    };
    detail::add_product<T>(c, rows, b, kRight == Deep::down_columns);
  });
}

template <class T, Deep kRight, int kColumns>
void begin_product(WarpTile<kColumns>& c, const std::uint32_t (&a)[4], std::uint64_t b) {
  using Four = std::array<std::uint32_t, 4>;
  const Four mine{a[0], a[1], a[2], a[3]};
  const unsigned quad = threadIdx.x % 32 / 4 * 4;
  std::array<Four, 4> lanes;
  const Four* all = Emulator::self().exchange(mine);
  for (unsigned i = 0; i < 4; ++i) lanes[i] = all[quad + i];
  HopperEmulator::self().begin_product([=, &c, &a] {
    for (std::size_t i = 0; i < 4; ++i)
      if (a[i] != mine[i])
        Emulator::self().fail("emulator: the operand of a running product changed");
    const auto rows = [&](float (&to)[2][16]) {
      for (std::size_t h = 0; h < 2; ++h)
        for (std::size_t k = 0; k < 16; ++k)
          to[h][k] = detail::half_of<T>(lanes[k % 8 / 2][h + k / 8 * 2], k % 2);
    };
    detail::add_product<T>(c, rows, b, kRight == Deep::down_columns);
  });
}

inline std::uint32_t from_lane_xor(std::uint32_t x, int bits) {
  return Emulator::self().exchange(x)[static_cast<int>(threadIdx.x % 32) ^ bits];
}

#endif

}  // namespace pyfast::cuda
