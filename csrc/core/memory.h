// The pooled allocator: warm, 64-byte aligned blocks, handed back instead of unmapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/error.h"

namespace pyfast {

// 64-byte aligned (2 MiB from 2 MiB on), uninitialised, never null (bytes = 0 included);
// std::bad_alloc when memory ends, and for more than the machine has with its swap.
// Any thread may free what another allocated; both work in a forked child.
void* pool_allocate(std::size_t bytes);
void pool_free(void* block) noexcept;

struct PoolStatistics {
  std::size_t cached_bytes;  // held back, ready for reuse; bounded by cache_limit
  std::size_t used_bytes;    // handed out
  std::size_t cache_limit;   // PYFAST_CACHE_BYTES
};
PoolStatistics pool_statistics();
void pool_clear();  // give every cached block back to the system
void pool_set_cache_limit(std::size_t bytes);

namespace detail {
// Bytes of n items; more than there can be (so that allocating throws) where that overflows.
inline std::size_t array_bytes(std::int64_t n, std::size_t item) {
  const std::size_t most = SIZE_MAX / 2 / item;
  return n < 0 || static_cast<std::size_t>(n) > most ? SIZE_MAX
                                                     : static_cast<std::size_t>(n) * item;
}
}  // namespace detail

// Scratch memory for one call: Workspace<float> packed(n); packed.data(). None: data() is null.
template <class T>
class Workspace {
 public:
  Workspace() = default;
  // Null where n is 0: threads would meet at the pool's lock for nothing.
  explicit Workspace(std::int64_t n)
      : data_(n == 0 ? nullptr : static_cast<T*>(pool_allocate(detail::array_bytes(n, sizeof(T))))),
        size_(n) {}
  Workspace(Workspace&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  Workspace& operator=(Workspace&&) = delete;
  ~Workspace() {
    if (data_) pool_free(data_);
  }
  T* data() const { return data_; }
  T& operator[](std::int64_t i) const { return data_[i]; }
  std::int64_t size() const { return size_; }

 private:
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace pyfast
