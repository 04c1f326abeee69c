// Blocks of four sizes per power of two, kept in free lists when they come back.
//
// A 64-byte header in front of the data knows the block's class. From 2 MiB on, data starts on a
// huge-page boundary of a mapping of its own, the header on the page before it: a 4 MiB array
// is exactly two huge pages. Classes are spread over a few locks; a fork takes them all, so that
// the child finds whole lists. The state is never destroyed: blocks may come back at exit.
#include "core/memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#include <sys/sysinfo.h>
#endif
#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <pthread.h>
#include <unistd.h>
#endif

namespace pyfast {

namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kPage = std::size_t{64} << 10;  // a multiple of every system's page
constexpr std::size_t kHuge = std::size_t{2} << 20;
constexpr int kMinLog2 = 6;   // the smallest class: 64 bytes
constexpr int kMaxLog2 = 47;  // nothing larger can be addressed
constexpr int kClasses = (kMaxLog2 - kMinLog2) * 4 + 1;
constexpr int kShards = 16;

// 64, 80, 96, 112, 128, 160, ...: sizes grow by a fifth on average.
constexpr std::size_t class_bytes(int index) {
  return (std::size_t{4} + static_cast<std::size_t>(index % 4)) << (kMinLog2 - 2 + index / 4);
}

constexpr int class_of(std::size_t bytes) {  // the smallest class that holds them
  if (bytes <= class_bytes(0)) return 0;
  const int log2 = static_cast<int>(std::bit_width(bytes - 1)) - 1;
  return (log2 - kMinLog2) * 4 + static_cast<int>((bytes - 1) >> (log2 - 2)) - 3;
}

static_assert(class_bytes(4) == 128 && class_of(128) == 4 && class_of(129) == 5);
static_assert(class_of(64) == 0 && class_of(65) == 1 && class_of(81) == 2);
static_assert(class_of(class_bytes(60)) == 60 && class_of(class_bytes(60) + 1) == 61);

struct alignas(kAlignment) Block {
  int size_class;
  Block* newer;  // neighbours in the free list, when it is there
  Block* older;
  std::size_t bytes() const { return class_bytes(size_class); }
  void* data() { return this + 1; }
  static Block* of(void* data) { return static_cast<Block*>(data) - 1; }
};
static_assert(sizeof(Block) == kAlignment);

struct FreeList {
  Block* newest = nullptr;
  Block* oldest = nullptr;

  void push(Block* block) {
    block->newer = nullptr;
    block->older = newest;
    (newest ? newest->newer : oldest) = block;
    newest = block;
  }
  Block* pop_newest() {
    Block* block = newest;
    if (!block) return nullptr;
    newest = block->older;
    (newest ? newest->newer : oldest) = nullptr;
    return block;
  }
  Block* pop_oldest() {
    Block* block = oldest;
    if (!block) return nullptr;
    oldest = block->newer;
    (oldest ? oldest->older : newest) = nullptr;
    return block;
  }
};

std::size_t physical_bytes() {
#ifdef _WIN32
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  return GlobalMemoryStatusEx(&status) ? static_cast<std::size_t>(status.ullTotalPhys) : 0;
#else
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page)
                               : 0;
#endif
}

// Memory and swap together. Linux may promise more than that and kill the process when it is used.
std::size_t largest_block() {
  std::size_t bytes = class_bytes(kClasses - 1);
#ifdef __linux__
  struct sysinfo info;
  if (sysinfo(&info) == 0) {
    const std::size_t unit = info.mem_unit;
    bytes = std::min<std::size_t>(bytes, (info.totalram + info.totalswap) * unit);
  }
#endif
  return bytes;
}

std::size_t default_cache_limit() {
  std::size_t value = 0;
  if (const char* text = std::getenv("PYFAST_CACHE_BYTES")) {
    const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
    if (error == std::errc() && end != text && *end == '\0') return value;
  }
  return std::min<std::size_t>(physical_bytes() / 8, std::size_t{1} << 30);
}

#ifdef __linux__

// [page with the header][data on a huge-page boundary], the rest of the mapping cut off.
Block* map_block(std::size_t bytes) {
  const std::size_t total = bytes + kHuge + kPage;
  void* mapping = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  char* const start = static_cast<char*>(mapping);
  const std::size_t address = reinterpret_cast<std::uintptr_t>(start) + kPage;
  char* const data = start + kPage + (kHuge - address % kHuge) % kHuge;
  char* const first = data - kPage;
  if (first > start) munmap(start, static_cast<std::size_t>(first - start));
  char* const end = start + total;
  if (end > data + bytes) munmap(data + bytes, static_cast<std::size_t>(end - data) - bytes);
  madvise(data, bytes, MADV_HUGEPAGE);
  return Block::of(data);
}

#endif

Block* system_allocate(int size_class) {
  const std::size_t bytes = class_bytes(size_class);
  void* memory;
#ifdef __linux__
  if (bytes >= kHuge)
    memory = map_block(bytes);
  else
#endif
    memory = ::operator new(sizeof(Block) + bytes, std::align_val_t{kAlignment}, std::nothrow);
  return memory ? new (memory) Block{size_class, nullptr, nullptr} : nullptr;
}

void system_free(Block* block) {
#ifdef __linux__
  if (block->bytes() >= kHuge) {
    munmap(static_cast<char*>(block->data()) - kPage, block->bytes() + kPage);
    return;
  }
#endif
  ::operator delete(block, std::align_val_t{kAlignment});
}

class Cache {
 public:
  static Cache& instance() {
    static Cache* cache = new Cache;
    return *cache;
  }

  void* allocate(std::size_t bytes);
  void free(Block* block);
  void evict_down_to(std::size_t bytes);

  PoolStatistics statistics() const { return {cached_.load(), used_.load(), limit_.load()}; }
  void set_limit(std::size_t bytes) {
    limit_.store(bytes);
    evict_down_to(bytes);
  }

 private:
  Cache();
  std::mutex& lock_of(int size_class) {
    return locks_[static_cast<std::size_t>(size_class % kShards)];
  }
  FreeList& list_of(int size_class) { return lists_[static_cast<std::size_t>(size_class)]; }
  Block* take(int size_class);

  std::array<std::mutex, kShards> locks_;
  std::array<FreeList, kClasses> lists_;
  std::atomic<std::size_t> cached_{0}, used_{0}, limit_{default_cache_limit()};
  const std::size_t largest_ = largest_block();
};

Cache::Cache() {
#ifndef _WIN32
  pthread_atfork(
      [] {
        for (auto& lock : instance().locks_) lock.lock();
      },
      [] {
        for (auto& lock : instance().locks_) lock.unlock();
      },
      [] {
        for (auto& lock : instance().locks_) lock.unlock();
      });
#endif
}

Block* Cache::take(int size_class) {
  std::lock_guard guard(lock_of(size_class));
  Block* block = list_of(size_class).pop_newest();
  if (block) cached_.fetch_sub(block->bytes());
  return block;
}

void* Cache::allocate(std::size_t bytes) {
  if (bytes > largest_) throw std::bad_alloc();
  const int size_class = class_of(bytes);
  Block* block = take(size_class);
  if (!block && size_class + 1 < kClasses) block = take(size_class + 1);
  if (!block) block = system_allocate(size_class);
  if (!block) {
    evict_down_to(0);
    block = system_allocate(size_class);
  }
  if (!block) throw std::bad_alloc();
  used_.fetch_add(block->bytes());
  return block->data();
}

void Cache::free(Block* block) {
  const std::size_t bytes = block->bytes(), limit = limit_.load();
  used_.fetch_sub(bytes);
  if (bytes > limit) return system_free(block);
  evict_down_to(limit - bytes);
  {
    std::lock_guard guard(lock_of(block->size_class));
    list_of(block->size_class).push(block);
    cached_.fetch_add(bytes);
  }
  evict_down_to(limit);  // several threads may have made room for themselves at once
}

// The largest go first, among equals the oldest.
void Cache::evict_down_to(std::size_t bytes) {
  for (int c = kClasses - 1; c >= 0 && cached_.load() > bytes;) {
    Block* block;
    {
      std::lock_guard guard(lock_of(c));
      block = list_of(c).pop_oldest();
      if (block) cached_.fetch_sub(block->bytes());
    }
    if (block)
      system_free(block);
    else
      --c;
  }
}

}  // namespace

void* pool_allocate(std::size_t bytes) { return Cache::instance().allocate(bytes); }

void pool_free(void* block) noexcept {
  if (!block) return;
  Cache& cache = Cache::instance();
  cache.free(Block::of(block));
}

PoolStatistics pool_statistics() { return Cache::instance().statistics(); }
void pool_clear() { Cache::instance().evict_down_to(0); }
void pool_set_cache_limit(std::size_t bytes) { Cache::instance().set_limit(bytes); }

}  // namespace pyfast
