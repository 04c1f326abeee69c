// Where the pool's helpers run: not on their caller's core.
//
// The scheduler would see to that, but in a virtual machine it takes cores that are idle for busy
// with other guests, wakes a helper on the core of the caller that posts the job, and leaves both
// there for milliseconds. Does nothing where the system is not Linux.
#pragma once

#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

namespace pyfast {

int current_core();  // -1: unknown

class Placement {
 public:
  explicit Placement(std::thread& thread);
  // From now on the thread runs where it was allowed to, save on this core, unless it is the only
  // one. Cores that others give it stand; that they gave it those it has already cannot be seen.
  void avoid(int core);

#ifdef __linux__
 private:
  std::thread::native_handle_type thread_;
  cpu_set_t allowed_{}, given_{};  // by others; by us
#endif
};

}  // namespace pyfast
