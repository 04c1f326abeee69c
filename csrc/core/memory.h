// The pooled allocator: warm, 64-byte aligned blocks, handed back instead of unmapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/error.h"

namespace pyfast {

// 64-byte aligned, uninitialised, never null (bytes = 0 included); std::bad_alloc when memory ends.
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

// Scratch memory for one call: Workspace<float> packed(n); packed.data().
template <class T>
class Workspace {
 public:
  explicit Workspace(std::int64_t n)
      : data_(static_cast<T*>(pool_allocate(static_cast<std::size_t>(n) * sizeof(T)))), size_(n) {}
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
  T* data_;
  std::int64_t size_;
};

}  // namespace pyfast
