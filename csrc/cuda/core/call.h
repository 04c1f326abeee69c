// Arrays in and out of a GPU op. Python objects are only seen through the caller's framework
// (pyfast/cuda/frameworks.py), which knows pointers, allocates outputs and names the stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "core/arguments.h"
#include "core/error.h"
#include "core/tensor.h"

namespace pyfast::cuda {

// What an array argument may hold.
enum class Kind : std::uint8_t {
  floating,  // float32, float16 or bfloat16
  index,     // int64 (other integers are converted by the framework)
  mask,      // bool or floating
  byte,      // uint8
  exact,     // float64: statistics
  any,
};

// One call of an op: its name, the framework, and the device that all its arrays must share.
class Call {
 public:
  Call(const char* op, py::handle framework) : op_(op), framework_(framework) {}
  const char* op() const { return op_; }
  py::handle framework() const { return framework_; }
  int device() const { return device_; }

  // The first array decides; ValueError for one that lives elsewhere.
  void join(const char* argument, int device);
  // The caller's current stream on that device.
  cudaStream_t stream() const;

 private:
  const char* op_;
  py::handle framework_;
  const char* first_ = nullptr;
  int device_ = -1;
};

// An array argument, seen where it lies. `contiguous` (the default) lets the framework make a copy
// in C order of an array that has other strides; kernels that take strides pass false.
class Input {
 public:
  Input(Call& call, py::handle array, const char* argument, Kind kind = Kind::floating,
        bool contiguous = true);
  // None gives a view with defined == false.
  static Input optional(Call& call, py::handle array, const char* argument,
                        Kind kind = Kind::floating, bool contiguous = true);
  // An array that the op writes where it lies: ValueError for one that is not C-contiguous, since
  // what is written to a copy would be lost.
  static Input written(Call& call, py::handle array, const char* argument);

  // In C order, or as it lies where its channels lie last (core/layout.h); else a copy in C order.
  static Input image(Call& call, py::handle array, const char* argument);
  // In the strides of `other`, which `view` shows: a copy where its own differ. Of another shape it
  // stays as it is.
  static Input like(Call& call, py::handle array, const char* argument, py::handle other,
                    const TensorView& view);

  operator const TensorView&() const { return view_; }
  const TensorView* operator->() const { return &view_; }
  const TensorView& view() const { return view_; }
  const py::object& object() const { return owner_; }

 private:
  Input() = default;
  py::object owner_;
  TensorView view_;
};

// A fresh C-contiguous array of the caller's framework, on the call's device. Also workspace.
class Output {
 public:
  Output(const Call& call, DType dtype, const Dims& shape);
  static Output optional(bool wanted, const Call& call, DType dtype, const Dims& shape) {
    return wanted ? Output(call, dtype, shape) : Output();
  }
  // Of another array's shape, dtype and order of axes (channels last, for one).
  Output(const Call& call, const Input& like);
  operator const TensorView&() const { return view_; }
  const TensorView& view() const { return view_; }
  py::object object() const { return object_; }

 private:
  Output() : object_(py::none()) {}
  py::object object_;
  TensorView view_;
};

// Whether an array of four axes has its channels last.
bool is_last(const TensorView& x);

// A fresh array of four axes, of which the second lies last where `last`; else in C order.
class OrderedOutput {
 public:
  OrderedOutput() = default;
  OrderedOutput(const Call& call, DType dtype, const Dims& shape, bool last);
  const py::object& object() const { return object_; }
  const TensorView& view() const { return view_; }

 private:
  py::object object_ = py::none();
  TensorView view_;
};

// The device of a call is current while this lives.
class DeviceGuard {
 public:
  explicit DeviceGuard(const Call& call);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = -1;
};

// Launches an op's kernels on the caller's stream, with the GIL released, and raises what the
// launch complains of. Nothing waits for the GPU.
template <class Launch, class... Args>
void run(const Call& call, Launch launch, const Args&... args);

// Raises RuntimeError (MemoryError when memory ended) that says what to do; cudaSuccess returns.
void check(const char* op, cudaError_t status);

template <class Launch, class... Args>
void run(const Call& call, Launch launch, const Args&... args) {
  const cudaStream_t stream = call.stream();
  const DeviceGuard guard(call);
  {
    const py::gil_scoped_release unlocked;
    launch(args..., stream);
  }
  check(call.op(), cudaGetLastError());  // also clears it: the next call starts clean
}

}  // namespace pyfast::cuda
