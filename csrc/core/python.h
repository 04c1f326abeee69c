// Arrays in and out: the only file (with python.cpp) that knows NumPy's memory and the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <utility>

#include "core/arguments.h"
#include "core/error.h"
#include "core/shape.h"
#include "core/tensor.h"

namespace pyfast {

// What an array argument may hold.
enum class Kind : std::uint8_t {
  floating,  // float32 or float64
  index,     // any integer dtype, seen as int64 (converted when it is another)
  mask,      // bool, float32 or float64
  byte,      // uint8
};

// An array argument: keeps the Python object alive and shows it as a view.
// Arrays NumPy calls misaligned or byte-swapped are replaced by a plain copy.
class Input {
 public:
  Input(py::handle object, Where where, Kind kind = Kind::floating);
  // None gives a view with defined == false.
  static Input optional(py::handle object, Where where, Kind kind = Kind::floating);

  // For arrays an op writes into: ValueError when read-only, or when only a copy could be read.
  void require_writable(Where where) const;

  operator const TensorView&() const { return view_; }
  const TensorView* operator->() const { return &view_; }
  const TensorView& view() const { return view_; }

 private:
  Input() = default;
  py::object owner_;
  bool copied_ = false;
  TensorView view_;
};

// A fresh C-contiguous array; small ones live in NumPy's memory, larger ones in the pool.
class Output {
 public:
  Output(const char* op, DType dtype, const Dims& shape);
  // None, and a view with defined == false, where the result was not asked for.
  static Output optional(bool wanted, const char* op, DType dtype, const Dims& shape) {
    return wanted ? Output(op, dtype, shape) : Output();
  }
  operator const TensorView&() const { return view_; }
  const TensorView& view() const { return view_; }
  py::object object() const { return object_; }

 private:
  Output() : object_(py::none()) {}
  py::object object_;
  TensorView view_;
};

// Whether an array's memory is its own alone: NumPy's, or a block of the pool that only it holds.
bool owns_memory(py::handle array);

bool reference_mode();  // true: every op runs its naive reference (tests)
void set_reference_mode(bool on);

// The GIL is free while this lives; Ctrl-C is noticed by parallel_for through it.
class Unlocked {
 public:
  Unlocked();
  ~Unlocked();
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
};

void install_interrupt_poll();

// Runs an op's fast path, or its reference where tests ask for it, with the GIL released.
template <class Fast, class Reference, class... Args>
void run(Fast fast, Reference reference, const Args&... args) {
  const bool naive = reference_mode();
  try {
    Unlocked unlocked;
    naive ? reference(args...) : fast(args...);
  } catch (const Interrupted&) {
    throw py::error_already_set();  // parallel_for's poll has set KeyboardInterrupt
  }
}

}  // namespace pyfast
