// parallel_for on a pool of our own: deterministic, fork-safe, interruptible.
//
// Contract. Work is cut into chunks by its size and `grain` alone, never by the number of threads,
// so every chunk computes the same values whoever runs it. The caller takes part. Called from
// inside a chunk it runs serially in place. Several threads may call at once. A chunk should take
// under 50 ms: between chunks Ctrl-C is noticed (Interrupted is thrown in the caller once all
// running chunks have returned). The exception of the lowest-numbered failing chunk is rethrown.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace pyfast {

namespace detail {
using ChunkFn = void (*)(void* context, std::int64_t begin, std::int64_t end);
void run_chunks(std::int64_t n, std::int64_t grain, ChunkFn fn, void* context);
}  // namespace detail

// body(begin, end) for consecutive ranges of at most `grain` items covering [0, n).
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, F&& body) {
  using Body = std::remove_reference_t<F>;
  detail::run_chunks(
      n, grain,
      [](void* context, std::int64_t begin, std::int64_t end) {
        (*static_cast<Body*>(context))(begin, end);
      },
      const_cast<void*>(static_cast<const void*>(std::addressof(body))));
}

// The grain at which a chunk is about 2^16 elementary operations (some 16 us: dear enough to share,
// far below 50 ms), given those of one item. An elementary operation takes about a quarter of a
// nanosecond: a float moved through the cache, a few FMAs, a tenth of an exp. Never below 1, and
// a function of its argument alone.
std::int64_t grain_for(std::int64_t cost_per_item);

// Whether parallel_for shares its chunks out where this is called. What is computed must not depend
// on it, but where copies are kept may.
bool runs_parallel();

int num_threads();
void set_num_threads(std::int64_t n);  // ValueError unless 1 <= n <= 1024

// Set by the binding layer: returns true when the running call should stop (a signal is pending).
// Called in the thread that called parallel_for, between chunks and while waiting for helpers, once
// this thread has been computing for 20 ms (in one call or many), and then every 20 ms.
void set_interrupt_poll(bool (*poll)());

}  // namespace pyfast
