// A kernel's threads run one after another on the CPU, so that tests execute the very source of a
// kernel where there is no GPU: each thread is a fibre that gives way at every barrier. Matrix
// instructions follow the layouts of the PTX ISA (sections "mma.m16n8k16" and "ldmatrix").
//
// What it finds beside wrong numbers: shared memory that was never written (it begins as NaN), a
// copy that nobody waited for (it lands only when waited for, or at once: both are tried), a
// barrier that not every thread reaches. hopper/emulator.h adds what sm_90a has. Compiled by the
// host compiler only.
#pragma once

#include <ucontext.h>
#include <vector_types.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace pyfast::cuda {

inline uint3 threadIdx{}, blockIdx{};

class Emulator {
 public:
  static constexpr int kWarp = 32;
  static Emulator& self() {
    static Emulator emulator;
    return emulator;
  }
  bool late_copies = true;   // a copy lands when it is waited for, not when it begins
  bool last_first = false;   // threads take turns from the last to the first
  bool whole_warps = false;  // a warp goes as far as it can before another has its turn

  void run(unsigned grid, int threads, std::size_t bytes, const std::function<void()>& body) {
    for (unsigned block = 0; block < grid; ++block) {
      blockIdx = {block, 0, 0};
      std::memset(shared_, 0xFF, sizeof shared_);
      if (bytes > sizeof shared_) throw std::logic_error("emulator: too much shared memory");
      run_block(threads, body);
    }
  }

  unsigned char* shared() { return shared_; }
  void sync_block() { wait(block_barrier_, static_cast<int>(threads_.size())); }

  bool any_of_block(bool x) {
    if (x) any_ = true;
    sync_block();
    const bool any = any_;
    sync_block();
    any_ = false;
    sync_block();
    return any;
  }

  // For waits that are loops: others go on until something has happened.
  void yield() { swapcontext(&threads_[threadIdx.x].context, &scheduler_); }
  void note_progress() { progress_ = true; }
  // What happens by itself, but as late as it may: when no thread can go on without it.
  void at_last(std::function<void()> event) { events_.push_back(std::move(event)); }
  // A kernel that does what the machine forbids; the run ends with an exception.
  void fail(const char* why) { failure_ = why; }
  long blocks_begun() const { return blocks_begun_; }

  // Every lane of the warp gives a value; all of them are seen afterwards.
  template <class V>
  const V* exchange(const V& mine) {
    Warp& warp = warps_[threadIdx.x / kWarp];
    Lane& lane = threads_[threadIdx.x];
    const std::size_t side = lane.exchanges++ % 2;  // the other side may still be read
    static_assert(sizeof(V) <= sizeof(Slot) && std::is_trivially_copyable_v<V>);
    V* slots = reinterpret_cast<V*>(warp.slots[side]);
    slots[threadIdx.x % kWarp] = mine;
    wait(warp.barrier, kWarp);
    return slots;
  }

  void copy(void* to, const void* from, std::size_t bytes, std::size_t fill) {
    const Copy c{to, from, bytes, fill};
    if (late_copies)
      threads_[threadIdx.x].copies.push_back(c);
    else
      c.land();
  }
  void commit() {
    Lane& lane = threads_[threadIdx.x];
    lane.groups.push_back(std::move(lane.copies));
    lane.copies.clear();
  }
  void wait_copies(std::size_t pending) {
    auto& groups = threads_[threadIdx.x].groups;
    for (; groups.size() > pending; groups.pop_front())
      for (const Copy& c : groups.front()) c.land();
  }

 private:
  struct Copy {
    void* to;
    const void* from;
    std::size_t bytes, fill;
    void land() const {
      std::memcpy(to, from, bytes);
      std::memset(static_cast<unsigned char*>(to) + bytes, 0, fill);
    }
  };
  struct Slot {
    std::uint64_t bits[4];
  };
  struct Barrier {
    int arrived = 0;
    long generation = 0;
  };
  struct Warp {
    Barrier barrier;
    Slot slots[2][kWarp];
  };
  struct Lane {
    ucontext_t context;
    std::vector<char> stack;
    std::vector<Copy> copies;
    std::deque<std::vector<Copy>> groups;
    std::size_t exchanges = 0;
    bool done = false;
  };

  static void enter() {
    Emulator& e = self();
    (*e.body_)();
    e.threads_[threadIdx.x].done = e.progress_ = true;
  }

  void run_block(int threads, const std::function<void()>& body) {
    body_ = &body;
    threads_ = std::vector<Lane>(static_cast<std::size_t>(threads));
    warps_ = std::vector<Warp>(static_cast<std::size_t>(threads / kWarp));
    block_barrier_ = {};
    events_.clear();
    ++blocks_begun_;
    for (Lane& lane : threads_) {
      lane.stack.resize(1 << 17);
      getcontext(&lane.context);
      lane.context.uc_stack.ss_sp = lane.stack.data();
      lane.context.uc_stack.ss_size = lane.stack.size();
      lane.context.uc_link = &scheduler_;
      makecontext(&lane.context, &enter, 0);
    }
    for (progress_ = true; progress_;) {
      progress_ = take_turns();
      if (failure_) throw std::logic_error(std::exchange(failure_, nullptr));
      if (progress_ || events_.empty()) continue;
      events_.front()();
      events_.pop_front();
      progress_ = true;
    }
    for (const Lane& lane : threads_)
      if (!lane.done) throw std::logic_error("emulator: a barrier that not every thread reaches");
  }

  // Each thread's turn, once or, in whole warps, again and again; whether anything has happened.
  bool take_turns() {
    const std::size_t all = threads_.size(), group = whole_warps ? kWarp : all;
    bool happened = false;
    for (std::size_t begin = 0; begin < all; begin += group) {
      do {
        progress_ = false;
        for (std::size_t i = begin; i < begin + group; ++i) {
          const std::size_t t = last_first ? all - 1 - i : i;
          if (threads_[t].done) continue;
          threadIdx.x = static_cast<unsigned>(t);
          swapcontext(&scheduler_, &threads_[t].context);
        }
        happened = happened || progress_;
      } while (whole_warps && progress_ && !failure_);
    }
    return happened;
  }

  void wait(Barrier& barrier, int count) {
    const unsigned me = threadIdx.x;
    const long generation = barrier.generation;
    if (++barrier.arrived == count) {
      barrier.arrived = 0;
      ++barrier.generation;
      progress_ = true;
      return;
    }
    while (barrier.generation == generation) swapcontext(&threads_[me].context, &scheduler_);
  }

  const std::function<void()>* body_ = nullptr;
  std::vector<Lane> threads_;
  std::vector<Warp> warps_;
  std::deque<std::function<void()>> events_;
  long blocks_begun_ = 0;
  const char* failure_ = nullptr;
  Barrier block_barrier_;
  ucontext_t scheduler_{};
  bool progress_ = false, any_ = false;
  alignas(1024) unsigned char shared_[232448];  // what a block may have on sm_90
};

}  // namespace pyfast::cuda
