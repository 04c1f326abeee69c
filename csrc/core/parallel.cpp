// The pool: sleeping workers, and a list of the jobs that callers are running right now.
//
// A job lives on its caller's stack. Each thread claims chunks from a share of its own, a run of
// neighbours, and then what is left of the others': in a row of calls over the same arrays a thread
// meets again what its own cache holds. Every chunk below the lowest failure runs, so the
// exception that is kept is the same one whatever the timing. A worker enters and leaves a job
// under the pool's mutex; the caller takes its job off the list and waits there until nobody is
// inside. Workers are detached and the pool is never destroyed: nothing runs at process exit, and a
// forked child just starts another pool.
#include "core/parallel.h"

#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "core/cpu.h"
#include "core/error.h"
#include "core/placement.h"

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
// Waking a sleeper takes 15 to 50 us, more than many an op; so threads wait actively first, long
// enough for what Python does between two ops. After kPause others may have the core meanwhile.
constexpr auto kSpin = std::chrono::milliseconds(1);
constexpr auto kPause = std::chrono::microseconds(20);
constexpr int kMaxThreads = 1024;
constexpr int kMaxShares = 16;
constexpr std::size_t kMaxPlaced = 7;  // with more helpers, one more or less makes no difference

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

// Waits for a condition that is about to come true, without sleeping.
template <class Condition>
bool spin_until(Condition condition) {
  const auto start = Clock::now();
  for (Clock::duration waited{}; waited < kSpin; waited = Clock::now() - start) {
    if (waited > kPause) std::this_thread::yield();
    for (int i = 0; i < 16; ++i) {
      if (condition()) return true;
      relax();
    }
  }
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

// A run of chunks, from which whoever comes claims the next one.
struct alignas(64) Share {
  std::atomic<std::int64_t> next;
  std::int64_t end;
};

struct Job {
  Job(std::int64_t n, std::int64_t grain, detail::ChunkFn fn, void* context)
      : n(n), grain(grain), chunks((n - 1) / grain + 1), fn(fn), context(context) {}

  const std::int64_t n, grain, chunks;
  const detail::ChunkFn fn;
  void* const context;
  int shares = 0;  // of share[], the others are never looked at
  std::array<Share, kMaxShares> share;
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

  // For `threads` of them. The chunks themselves know nothing of it.
  void divide(int threads) {
    const std::int64_t most = threads < kMaxShares ? threads : kMaxShares;
    shares = static_cast<int>(chunks < most ? chunks : most);
    std::int64_t begin = 0;
    for (int i = 0; i < shares; ++i) {
      const std::int64_t end = begin + (chunks - begin) / (shares - i);
      share[i].next.store(begin, std::memory_order_relaxed);
      share[i].end = end;
      begin = end;
    }
  }

  bool wanted(const Share& s, std::int64_t chunk) const {
    return chunk < s.end && chunk < limit.load(std::memory_order_relaxed);
  }

  bool has_work() const {
    for (int i = 0; i < shares; ++i)
      if (wanted(share[i], share[i].next.load(std::memory_order_relaxed))) return true;
    return false;
  }

  // From the share at hand, or the next one with work left, which then is the one at hand. -1:
  // none.
  std::int64_t claim(int& at) {
    for (int i = 0; i < shares; ++i, at = at + 1 < shares ? at + 1 : 0) {
      Share& s = share[at];
      if (!wanted(s, s.next.load(std::memory_order_relaxed))) continue;
      const std::int64_t chunk = s.next.fetch_add(1, std::memory_order_relaxed);
      if (wanted(s, chunk)) return chunk;
    }
    return -1;
  }

  bool take_chunk(int& at) {  // false: none left
    const std::int64_t chunk = claim(at);
    if (chunk < 0) return false;
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
  void place();
  void work(int number);
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
  std::vector<Placement> placements_;  // of the first workers
  int avoided_core_ = -1;
  Clock::time_point placed_{};
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

void Pool::work(int number) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (Job* job = pick()) {
      job->helpers.fetch_add(1, std::memory_order_relaxed);
      ++active_;
      lock.unlock();
      int at = number % job->shares;
      while (job->take_chunk(at)) {
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
    placements_.reserve(kMaxPlaced);
    for (; workers_ < workers; ++workers_) {
      std::thread worker([this, number = workers_ + 1] { work(number); });
      if (placements_.size() < kMaxPlaced) placements_.emplace_back(worker);
      worker.detach();
    }
  } catch (const std::exception&) {
  }
  avoided_core_ = -1;
#ifndef _WIN32
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
#endif
}

// Under the mutex. Callers in turn on several cores must not drive the helpers about with every
// call.
void Pool::place() {
  const int core = current_core();
  if (core == avoided_core_ || !may_spin()) return;
  const auto now = Clock::now();
  if (avoided_core_ >= 0 && now - placed_ < kSpin) return;
  for (Placement& placement : placements_) placement.avoid(core);
  avoided_core_ = core;
  placed_ = now;
}

void Pool::post(Job& job, int threads) {
  const std::int64_t useful = job.chunks - 1;
  job.max_helpers = useful < threads - 1 ? static_cast<int>(useful) : threads - 1;
  int wake;
  {
    std::lock_guard lock(mutex_);
    limit_.store(threads - 1, std::memory_order_relaxed);
    if (workers_ < threads - 1) spawn(threads - 1);
    place();
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
  job.divide(threads);
  post(job, threads);
  int at = 0;
  while (job.take_chunk(at)) poll(job);
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

bool runs_parallel() { return !inside_chunk && num_threads() > 1; }

int num_threads() { return thread_count().load(std::memory_order_relaxed); }

void set_num_threads(std::int64_t n) {
  if (n < 1 || n > kMaxThreads)
    throw ValueError(concat("set_num_threads: n must be in [1, ", kMaxThreads, "], got ", n));
  thread_count().store(static_cast<int>(n), std::memory_order_relaxed);
}

void set_interrupt_poll(bool (*poll)()) { interrupt_poll.store(poll, std::memory_order_release); }

}  // namespace pyfast
