// The pool: sleeping workers, and a list of the jobs that callers are running right now.
//
// A job lives on its caller's stack. Chunks are claimed in order from an atomic counter, so when
// chunk k fails every lower chunk has been claimed already; claimed chunks below the lowest failure
// still run, and the exception that is kept is the same one whatever the timing. A worker enters
// and leaves a job under the pool's mutex; the caller takes its job off the list and waits there
// until nobody is inside. Workers are detached and the pool is never destroyed: nothing runs at
// process exit, and a forked child just starts another pool.
#include "core/parallel.h"

#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "core/cpu.h"
#include "core/error.h"

#ifndef _WIN32
#include <pthread.h>
#include <signal.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace pyfast {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPollInterval = std::chrono::milliseconds(20);
constexpr auto kSpin = std::chrono::microseconds(20);
constexpr int kMaxThreads = 1024;

std::atomic<bool (*)()> interrupt_poll{nullptr};
thread_local bool inside_chunk = false;

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("yield");
#else
  std::this_thread::yield();
#endif
}

// Waits a moment for a condition that is about to come true, without giving the core away.
template <class Condition>
bool spin_until(Condition condition) {
  const auto end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; ++i) {
      if (condition()) return true;
      relax();
    }
  } while (Clock::now() < end);
  return condition();
}

// Asks the poll hook at most every 20 ms. One per thread: an op made of many short calls is as
// interruptible as one long call. A thread that was elsewhere for 20 ms starts counting anew.
class Poller {
 public:
  void begin() {
    const auto now = Clock::now();
    if (now - last_seen_ >= kPollInterval) last_poll_ = now;
    last_seen_ = now;
  }
  bool interrupted() {
    last_seen_ = Clock::now();
    if (last_seen_ - last_poll_ < kPollInterval) return false;
    const auto poll = interrupt_poll.load(std::memory_order_acquire);
    const bool stop = poll && poll();
    last_seen_ = last_poll_ = Clock::now();
    return stop;
  }

 private:
  Clock::time_point last_seen_{}, last_poll_{};
};

thread_local Poller poller;

struct Job {
  Job(std::int64_t n, std::int64_t grain, detail::ChunkFn fn, void* context)
      : n(n), grain(grain), chunks((n - 1) / grain + 1), fn(fn), context(context) {}

  const std::int64_t n, grain, chunks;
  const detail::ChunkFn fn;
  void* const context;
  std::atomic<std::int64_t> next{0};
  // Chunks from here on are skipped: the lowest one that failed, 0 once interrupted.
  std::atomic<std::int64_t> limit{std::numeric_limits<std::int64_t>::max()};
  std::mutex failure_mutex;
  std::int64_t failed_chunk = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr failure;

  bool interrupted = false;  // the caller's own

  // Under the pool's mutex, but for reads of `helpers` while spinning.
  std::atomic<int> helpers{0};
  int max_helpers = 0;
  Job* previous = nullptr;
  Job* following = nullptr;

  void run_chunk(std::int64_t chunk) const {
    const std::int64_t begin = chunk * grain;
    fn(context, begin, n - begin > grain ? begin + grain : n);
  }

  bool has_work() const {
    const std::int64_t at = next.load(std::memory_order_relaxed);
    return at < chunks && at < limit.load(std::memory_order_relaxed);
  }

  bool take_chunk() {  // false: none left
    const std::int64_t chunk = next.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= chunks || chunk >= limit.load(std::memory_order_relaxed)) return false;
    inside_chunk = true;
    try {
      run_chunk(chunk);
    } catch (...) {
      fail(chunk, std::current_exception());
    }
    inside_chunk = false;
    return true;
  }

  void fail(std::int64_t chunk, std::exception_ptr error) {
    std::lock_guard lock(failure_mutex);
    if (chunk >= failed_chunk) return;
    failed_chunk = chunk;
    failure = std::move(error);
    if (chunk < limit.load(std::memory_order_relaxed)) limit.store(chunk);
  }

  void cancel() {
    std::lock_guard lock(failure_mutex);
    limit.store(0);
    interrupted = true;
  }
};

class Pool {
 public:
  void run(Job& job, int threads);

 private:
  void post(Job& job, int threads);
  void withdraw(Job& job);
  void poll(Job& job);
  void spawn(int workers);
  void work();
  Job* pick();
  bool may_spin() const { return limit_.load(std::memory_order_relaxed) < cores_; }

  const int cores_ = available_cores();
  std::mutex mutex_;
  std::condition_variable posted_;  // workers wait here
  std::condition_variable left_;    // callers wait here for the helpers of their job
  std::atomic<std::uint64_t> posts_{0};
  std::atomic<int> limit_{0};  // helpers that may be active at once: threads - 1 of the last call
  int workers_ = 0, sleeping_ = 0, active_ = 0;
  Job* jobs_ = nullptr;
};

std::atomic<Pool*> current_pool{nullptr};

Pool& pool() {
  Pool* existing = current_pool.load(std::memory_order_acquire);
  if (existing) return *existing;
#ifndef _WIN32
  // The child has none of the workers, and locks in any state: it leaves that pool alone.
  [[maybe_unused]] static const int registered =
      pthread_atfork(nullptr, nullptr, [] { current_pool.store(nullptr); });
#endif
  Pool* fresh = new Pool;
  if (current_pool.compare_exchange_strong(existing, fresh)) return *fresh;
  delete fresh;
  return *existing;
}

// The job that most needs a helper, or null.
Job* Pool::pick() {
  if (active_ >= limit_.load(std::memory_order_relaxed)) return nullptr;
  Job* best = nullptr;
  int fewest = std::numeric_limits<int>::max();
  for (Job* job = jobs_; job; job = job->following) {
    const int helpers = job->helpers.load(std::memory_order_relaxed);
    if (helpers < job->max_helpers && helpers < fewest && job->has_work()) {
      best = job;
      fewest = helpers;
    }
  }
  return best;
}

void Pool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (Job* job = pick()) {
      job->helpers.fetch_add(1, std::memory_order_relaxed);
      ++active_;
      lock.unlock();
      while (job->take_chunk()) {
      }
      lock.lock();
      --active_;
      if (job->helpers.fetch_sub(1, std::memory_order_release) == 1) left_.notify_all();
      continue;
    }
    const std::uint64_t seen = posts_.load(std::memory_order_relaxed);
    const auto news = [&] { return posts_.load(std::memory_order_relaxed) != seen; };
    if (may_spin()) {
      lock.unlock();
      const bool found = spin_until(news);
      lock.lock();
      if (found || news()) continue;
    }
    ++sleeping_;
    posted_.wait(lock, news);
    --sleeping_;
  }
}

// Under the mutex. Where the system gives no more threads, fewer do the same work.
void Pool::spawn(int workers) {
#ifndef _WIN32
  sigset_t all, old;  // signals are for the threads that know what to do with them
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
#endif
  try {
    for (; workers_ < workers; ++workers_) std::thread([this] { work(); }).detach();
  } catch (const std::exception&) {
  }
#ifndef _WIN32
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
#endif
}

void Pool::post(Job& job, int threads) {
  const std::int64_t useful = job.chunks - 1;
  job.max_helpers = useful < threads - 1 ? static_cast<int>(useful) : threads - 1;
  int wake;
  {
    std::lock_guard lock(mutex_);
    limit_.store(threads - 1, std::memory_order_relaxed);
    if (workers_ < threads - 1) spawn(threads - 1);
    job.following = jobs_;
    if (jobs_) jobs_->previous = &job;
    jobs_ = &job;
    posts_.fetch_add(1, std::memory_order_relaxed);
    wake = job.max_helpers < sleeping_ ? job.max_helpers : sleeping_;
  }
  for (; wake > 0; --wake) posted_.notify_one();
}

// Cancels the job on Ctrl-C. A signal handler may even have forked: in the child nobody will ever
// finish the chunks that helpers had taken.
void Pool::poll(Job& job) {
  if (job.interrupted) return;
  if (poller.interrupted()) job.cancel();
  if (current_pool.load(std::memory_order_relaxed) != this)
    throw std::runtime_error("fork() in a signal handler during a parallel call");
}

// Off the list, then until the last helper has left.
void Pool::withdraw(Job& job) {
  const auto alone = [&] { return job.helpers.load(std::memory_order_acquire) == 0; };
  std::unique_lock lock(mutex_);
  (job.previous ? job.previous->following : jobs_) = job.following;
  if (job.following) job.following->previous = job.previous;
  while (!alone()) {
    lock.unlock();
    if (may_spin()) spin_until(alone);
    poll(job);
    lock.lock();
    left_.wait_for(lock, kPollInterval, alone);
  }
}

void Pool::run(Job& job, int threads) {
  post(job, threads);
  while (job.take_chunk()) poll(job);
  withdraw(job);
  if (job.interrupted) throw Interrupted();
  if (job.failure) std::rethrow_exception(job.failure);
}

// The first number in an environment variable ("4", or "4,2" as OpenMP has it), 0 if none.
int threads_from(const char* variable) {
  const char* text = std::getenv(variable);
  if (!text) return 0;
  int value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  const bool whole = error == std::errc() && (*end == '\0' || *end == ',');
  return whole && value >= 1 && value <= kMaxThreads ? value : 0;
}

int default_threads() {
  for (const char* variable : {"PYFAST_NUM_THREADS", "OMP_NUM_THREADS"})
    if (const int threads = threads_from(variable)) return threads;
  const int cores = available_cores();
  return cores < kMaxThreads ? cores : kMaxThreads;
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count{default_threads()};
  return count;
}

}  // namespace

namespace detail {

void run_chunks(std::int64_t n, std::int64_t grain, ChunkFn fn, void* context) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  if (n <= grain) return fn(context, 0, n);
  Job job(n, grain, fn, context);
  if (inside_chunk) {
    for (std::int64_t chunk = 0; chunk < job.chunks; ++chunk) job.run_chunk(chunk);
    return;
  }
  poller.begin();
  const int threads = num_threads();
  if (threads > 1) return pool().run(job, threads);
  for (std::int64_t chunk = 0; chunk < job.chunks; ++chunk) {
    job.run_chunk(chunk);
    if (poller.interrupted()) throw Interrupted();
  }
}

}  // namespace detail

std::int64_t grain_for(std::int64_t cost_per_item) {
  constexpr std::int64_t kOperationsPerChunk = 1 << 16;
  if (cost_per_item < 1) cost_per_item = 1;
  const std::int64_t items = kOperationsPerChunk / cost_per_item;
  return items < 1 ? 1 : items;
}

int num_threads() { return thread_count().load(std::memory_order_relaxed); }

void set_num_threads(std::int64_t n) {
  if (n < 1 || n > kMaxThreads)
    throw ValueError(concat("set_num_threads: n must be in [1, ", kMaxThreads, "], got ", n));
  thread_count().store(static_cast<int>(n), std::memory_order_relaxed);
}

void set_interrupt_poll(bool (*poll)()) { interrupt_poll.store(poll, std::memory_order_release); }

}  // namespace pyfast
