#include "core/placement.h"

#ifdef __linux__
#include <pthread.h>

#include <cstddef>
#endif

namespace pyfast {

#ifdef __linux__

int current_core() { return sched_getcpu(); }

Placement::Placement(std::thread& thread) : thread_(thread.native_handle()) {}

void Placement::avoid(int core) {
  cpu_set_t now;
  if (core < 0 || pthread_getaffinity_np(thread_, sizeof now, &now) != 0) return;
  if (!CPU_EQUAL(&now, &given_)) allowed_ = now;  // somebody else's wish, which stands
  cpu_set_t others = allowed_;
  CPU_CLR(static_cast<std::size_t>(core), &others);
  if (CPU_COUNT(&others) == 0 || pthread_setaffinity_np(thread_, sizeof others, &others) != 0)
    return;
  given_ = others;
}

#else

int current_core() { return -1; }
Placement::Placement(std::thread&) {}
void Placement::avoid(int) {}

#endif

}  // namespace pyfast
