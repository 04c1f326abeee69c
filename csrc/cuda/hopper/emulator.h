// What core/emulator.h needs to play sm_90a: barriers that count arrivals and bytes, boxes copied
// by TMA, products of a warpgroup that run beside everything else. Layouts are the PTX ISA's
// ("mbarrier", "wgmma": register fragments, shared memory layouts and matrix descriptors).
//
// With late_copies, a box lands when no thread can go on without it, else at once; with
// late_products, a product reads its tiles and changes its sums when it is waited for, else at
// once. A kernel that is not right in every combination has forgotten to wait for something.
// Compiled by the host compiler only.
#pragma once

#include <array>

#include "cuda/core/machine.cuh"
#include "cuda/hopper/swizzle.h"
#include "cuda/hopper/tensor_map.h"

namespace pyfast::cuda {

struct Mbarrier {
  std::int16_t count, pending;
  std::int32_t bytes;  // announced and not yet there, times two, plus the phase's parity
};

class HopperEmulator {
 public:
  static HopperEmulator& self() {
    static HopperEmulator emulator;
    emulator.renew();
    return emulator;
  }

  bool late_products = true;

  static void begin_barrier(Mbarrier& b, int arrivals) {
    b.count = b.pending = static_cast<std::int16_t>(arrivals);
    b.bytes = 0;
  }
  static void change(Mbarrier& b, int arrivals, std::int32_t bytes) {
    if (b.pending < arrivals || b.count <= 0) Emulator::self().fail("emulator: a stray arrival");
    b.pending = static_cast<std::int16_t>(b.pending - arrivals);
    b.bytes += 2 * bytes;
    if (b.pending == 0 && b.bytes >> 1 == 0) {
      b.pending = b.count;
      b.bytes ^= 1;
    }
    Emulator::self().note_progress();
  }
  static void wait_phase(const Mbarrier& b, std::uint32_t parity) {
    while (static_cast<std::uint32_t>(b.bytes & 1) == parity) Emulator::self().yield();
  }

  static void load_box(void* to, const TensorBoxes& map, Mbarrier& b,
                       const std::array<int, TensorBoxes::kRank>& at) {
    land([=, &map, &b] {
      copy_box(static_cast<unsigned char*>(to), map, at);
      change(b, 0, -static_cast<std::int32_t>(panel_bytes(static_cast<int>(map.box_rows))));
    });
  }
  static void load_pixels(void* to, const TensorPixels& map, Mbarrier& b, int channel,
                          const std::array<int, 3>& at, const std::array<int, 2>& tap) {
    if (tap[0] < 0 || tap[0] > 255 || tap[1] < 0 || tap[1] > 255)
      Emulator::self().fail("emulator: a tap's offset that im2col mode has no bits for");
    land([=, &map, &b] {
      copy_pixels(static_cast<unsigned char*>(to), map, channel, at, tap);
      change(b, 0, -static_cast<std::int32_t>(panel_bytes(static_cast<int>(map.pixels))));
    });
  }
  static void load_bytes(void* to, const void* from, std::uint32_t bytes, Mbarrier& b) {
    const auto odd = reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from);
    if ((odd | bytes) % 16 != 0) Emulator::self().fail("emulator: bytes that are not 16-aligned");
    land([=, &b] {
      std::memcpy(to, from, bytes);
      change(b, 0, -static_cast<std::int32_t>(bytes));
    });
  }

  void begin_product(std::function<void()> product) {
    if (late_products)
      running_[threadIdx.x].products.push_back(std::move(product));
    else
      product();
  }
  void commit() {
    Thread& t = running_[threadIdx.x];
    t.groups.push_back(std::move(t.products));
    t.products.clear();
  }
  void wait_products(std::size_t pending) {
    auto& groups = running_[threadIdx.x].groups;
    for (; groups.size() > pending; groups.pop_front())
      for (const auto& product : groups.front()) product();
    sync_warp();  // a warp waits as one
  }

  void arrive_named(int id, int threads) {
    Named& b = named_[static_cast<std::size_t>(id)];
    if (++b.arrived < threads) return;
    b.arrived = 0;
    ++b.generation;
    Emulator::self().note_progress();
  }
  void sync_named(int id, int threads) {
    const Named& b = named_[static_cast<std::size_t>(id)];
    const long generation = b.generation;
    arrive_named(id, threads);
    while (b.generation == generation) Emulator::self().yield();
  }

  // An element of an operand in shared memory, by its descriptor: row of the product (or column)
  // and depth.
  template <class T>
  static float element(std::uint64_t descriptor, bool transposed, std::uint32_t row,
                       std::uint32_t k) {
    const auto field = [&](int bit) {
      return static_cast<std::uint32_t>(descriptor >> bit & 0x3FFF) << 4;
    };
    if (descriptor >> 62 != 1)
      Emulator::self().fail("emulator: a swizzle that is not of 128 bytes");
    const std::uint32_t leading = field(16), stride = field(32);
    const std::uint32_t at =
        field(0) + (transposed ? row / 64 * leading + row % 64 * 2 + k / 8 * stride + k % 8 * 128
                               : row / 8 * stride + row % 8 * 128 + k * 2);
    T value;
    std::memcpy(&value, Emulator::self().shared() + swizzled(at), sizeof value);
    return to_float(value);
  }

 private:
  static void land(std::function<void()> copy) {
    if (Emulator::self().late_copies)
      Emulator::self().at_last(std::move(copy));
    else
      copy();
  }

  struct Named {
    int arrived = 0;
    long generation = 0;
  };
  struct Thread {
    std::vector<std::function<void()>> products;
    std::deque<std::vector<std::function<void()>>> groups;
  };

  void renew() {
    if (block_ == Emulator::self().blocks_begun()) return;
    block_ = Emulator::self().blocks_begun();
    running_ = {};
    named_ = {};
  }

  static void copy_box(unsigned char* to, const TensorBoxes& map,
                       const std::array<int, TensorBoxes::kRank>& at) {
    const auto begin = static_cast<std::uint32_t>(to - Emulator::self().shared());
    for (std::uint32_t r = 0; r < map.box_rows; ++r)
      for (std::uint32_t c = 0; c < kPanelColumns; ++c) {
        const std::int64_t place[] = {at[0] + std::int64_t{c}, at[1] + std::int64_t{r}, at[2],
                                      at[3], at[4]};
        put_element(begin + r * kPanelRow + 2 * c, map, place);
      }
  }

  // At `at` (x, y, image) of the walk, on to the next pixels.
  static void copy_pixels(unsigned char* to, const TensorPixels& map, int channel,
                          std::array<int, 3> at, const std::array<int, 2>& tap) {
    const auto begin = static_cast<std::uint32_t>(to - Emulator::self().shared());
    const auto past = [&](std::size_t i) {
      return at[i] >= static_cast<int>(map.size[i + 1]) + map.end[i];
    };
    for (std::uint32_t p = 0; p < map.pixels; ++p) {
      for (std::uint32_t c = 0; c < kPanelColumns; ++c) {
        const std::int64_t place[] = {channel + std::int64_t{c}, at[0] + tap[0], at[1] + tap[1],
                                      at[2]};
        put_element(begin + p * kPanelRow + 2 * c, map, place);
      }
      at[0] += map.step[0];
      if (!past(0)) continue;
      at[0] = map.corner[0];
      at[1] += map.step[1];
      if (!past(1)) continue;
      at[1] = map.corner[1];
      ++at[2];
    }
  }

  template <class Map>
  static void put_element(std::uint32_t address, const Map& map,
                          const std::int64_t (&place)[Map::kRank]) {
    const auto* from = static_cast<const unsigned char*>(map.data);
    bool inside = true;
    for (std::size_t i = 0; i < Map::kRank; ++i) {
      inside = inside && place[i] >= 0 && static_cast<std::uint64_t>(place[i]) < map.size[i];
      from += place[i] * static_cast<std::int64_t>(map.stride[i]);
    }
    const std::uint16_t zero = 0;
    std::memcpy(Emulator::self().shared() + swizzled(address),
                inside ? from : reinterpret_cast<const unsigned char*>(&zero), sizeof zero);
  }

  long block_ = 0;
  std::array<Thread, 1024> running_;
  std::array<Named, 16> named_;
};

}  // namespace pyfast::cuda
