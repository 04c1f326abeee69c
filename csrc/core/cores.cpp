// How many cores this process may use: affinity and, on Linux, the cgroup's processor quota.
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include "core/cpu.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace pyfast {

namespace {

#ifdef __linux__

int affinity_cores() {
  for (int size = 1024; size <= (1 << 20); size *= 4) {  // EINVAL: the kernel's mask is larger
    cpu_set_t* set = CPU_ALLOC(size);
    if (!set) return 0;
    const std::size_t bytes = CPU_ALLOC_SIZE(size);
    const bool ok = sched_getaffinity(0, bytes, set) == 0;
    const int count = ok ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (ok) return count;
  }
  return 0;
}

// Quota over period in cores, rounded up; 0: no limit.
int whole_cores(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return 0;
  const double cores = quota / period;
  const int whole = cores < 1e6 ? static_cast<int>(cores) : 1000000;
  return whole < cores ? whole + 1 : whole;
}

int tighter(int a, int b) { return a == 0 || (b != 0 && b < a) ? b : a; }

int quota_v2(const std::string& folder) {  // cpu.max: "max 100000" or "150000 100000"
  std::ifstream file(folder + "/cpu.max");
  double quota = 0, period = 0;
  return file >> quota >> period ? whole_cores(quota, period) : 0;
}

int quota_v1(const std::string& folder) {
  double quota = 0, period = 0;
  std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
  std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  return whole_cores(quota, period);
}

// The tightest quota from this process's group up to the root of the hierarchy.
template <class Quota>
int tightest(const std::string& root, std::string group, Quota quota) {
  int cores = quota(root);
  while (group.size() > 1) {
    cores = tighter(cores, quota(root + group));
    group.resize(group.rfind('/'));
  }
  return cores;
}

// Lines of /proc/self/cgroup: "0::/user.slice" (v2) and "4:cpu,cpuacct:/docker/12" (v1).
int cgroup_cores() {
  std::ifstream groups("/proc/self/cgroup");
  int cores = 0;
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos || line[second + 1] != '/') continue;
    std::string controllers(1, ',');
    controllers.append(line, first + 1, second - first - 1) += ',';
    const std::string group = line.substr(second + 1);
    if (controllers == ",,")
      cores = tighter(cores, tightest("/sys/fs/cgroup", group, quota_v2));
    else if (controllers.find(",cpu,") != std::string::npos)
      cores = tighter(cores, tightest("/sys/fs/cgroup/cpu", group, quota_v1));
  }
  return cores;
}

#endif

}  // namespace

int available_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  cores = tighter(cores, affinity_cores());
  cores = tighter(cores, cgroup_cores());
#endif
  return cores < 1 ? 1 : cores;
}

}  // namespace pyfast
