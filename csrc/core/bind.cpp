#include <chrono>

#include "core/cpu.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "core/peak.h"
#include "core/precision.h"
#include "core/python.h"

namespace pyfast {

namespace {

py::dict cpu_info() {
  const CacheSizes caches = cache_sizes();
  py::list flags;
  for (const auto& flag : cpu_flags()) flags.append(flag);
  py::dict info;
  info["model"] = cpu_model();
  info["detected_isa"] = isa_name(detect_isa());
  info["cores"] = available_cores();
  info["l1d"] = caches.l1d;
  info["l2"] = caches.l2;
  info["l3"] = caches.l3;
  info["flags"] = flags;
  return info;
}

py::dict statistics() {
  const PoolStatistics now = pool_statistics();
  py::dict result;
  result["cached_bytes"] = now.cached_bytes;
  result["used_bytes"] = now.used_bytes;
  result["cache_limit"] = now.cache_limit;
  return result;
}

void set_cache_limit(py::handle bytes) {
  const std::int64_t limit = to_int(bytes, {"pool_set_cache_limit", "bytes"});
  if (limit < 0)
    throw ValueError(concat("pool_set_cache_limit: bytes must not be negative, got ", limit));
  pool_set_cache_limit(static_cast<std::size_t>(limit));
}

// The best of many short slices: other processes only ever make a slice slower.
double fma_peak(const std::string& dtype, double seconds) {
  if (dtype != "float32" && dtype != "float64")
    throw ValueError(concat("fma_peak: dtype must be float32 or float64, got ", dtype));
  if (!(seconds >= 0 && seconds <= 60))
    throw ValueError(concat("fma_peak: seconds must be in [0, 60], got ", seconds));
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  double best = 0;
  do {
    {
      const Unlocked unlocked;
      const double rate = fma_rate(dtype == "float32" ? DType::f32 : DType::f64);
      best = rate > best ? rate : best;
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  } while (Clock::now() < end);
  return best;
}

constexpr const char* kPrecisions[] = {"highest", "high", "medium"};

void set_precision(const std::string& name) {
  for (int i = 0; i < 3; ++i)
    if (name == kPrecisions[i]) return set_matmul_precision(static_cast<MatmulPrecision>(i));
  throw ValueError(
      concat("set_float32_matmul_precision: precision must be 'highest', 'high' or 'medium', got '",
             name, "'"));
}

}  // namespace

void register_core(py::module_& m) {
  m.def("num_threads", &num_threads);
  m.def(
      "set_num_threads", [](py::handle n) { set_num_threads(to_int(n, {"set_num_threads", "n"})); },
      py::arg("n"));
  m.def("pool_statistics", &statistics);
  m.def("pool_clear", [] {
    const Unlocked unlocked;
    pool_clear();
  });
  m.def("pool_set_cache_limit", &set_cache_limit, py::arg("bytes"));
  m.def("owns_memory", &owns_memory, py::arg("array"));
  m.def("use_reference", &set_reference_mode, py::arg("on"));
  m.def("set_float32_matmul_precision", &set_precision, py::arg("precision"));
  m.def("float32_matmul_precision",
        [] { return kPrecisions[static_cast<int>(matmul_precision())]; });
  m.def("isa", [] { return isa_name(active_isa()); });
  m.def("isa_env_problem", &isa_env_problem);
  m.def("cpu_info", &cpu_info);
  m.def("fma_peak", &fma_peak, py::arg("dtype"), py::arg("seconds"));
}

}  // namespace pyfast
