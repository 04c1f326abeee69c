#include "core/python.h"

#include <pybind11/numpy.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <thread>

#include "core/memory.h"
#include "core/parallel.h"

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace pyfast {

namespace {

using Api = py::detail::npy_api;

bool is_array(py::handle object) {
  return PyObject_TypeCheck(object.ptr(), Api::get().PyArray_Type_) != 0;
}

py::dtype dtype_of_array(py::handle array) {
  return py::reinterpret_borrow<py::dtype>(py::detail::array_proxy(array.ptr())->descr);
}

std::string type_text(py::handle object) {
  if (is_array(object)) return concat(py::str(dtype_of_array(object)).cast<std::string>());
  return concat(Py_TYPE(object.ptr())->tp_name);
}

bool matches(Kind kind, DType dtype) {
  switch (kind) {
    case Kind::floating: return is_floating(dtype);
    case Kind::index: return dtype == DType::i64;
    case Kind::mask: return dtype == DType::b8 || is_floating(dtype);
    case Kind::byte: return dtype == DType::u8;
  }
  return false;
}

const char* wanted(Kind kind) {
  switch (kind) {
    case Kind::floating: return " must be a float32 or float64 array, got ";
    case Kind::index: return " must be an array of integers, got ";
    case Kind::mask: return " must be a bool, float32 or float64 array, got ";
    case Kind::byte: return " must be a uint8 array, got ";
  }
  return "";
}

// The DType of a NumPy type number; false for the ones kernels don't take.
bool to_dtype(int type_num, DType& dtype) {
  if (type_num == Api::NPY_FLOAT_) return dtype = DType::f32, true;
  if (type_num == Api::NPY_DOUBLE_) return dtype = DType::f64, true;
  if (type_num == Api::NPY_BOOL_) return dtype = DType::b8, true;
  if (type_num == Api::NPY_UBYTE_) return dtype = DType::u8, true;
  const bool long_is_64 = sizeof(long) == 8;
  if (type_num == (long_is_64 ? Api::NPY_LONG_ : Api::NPY_LONGLONG_) ||
      type_num == Api::NPY_LONGLONG_)
    return dtype = DType::i64, true;
  return false;
}

bool native_byte_order(py::handle descr) {
  const char order = py::reinterpret_borrow<py::dtype>(descr).byteorder();
  return order != (std::endian::native == std::endian::little ? '>' : '<');
}

// Fills `view` when the array can be read in place: known dtype, native order, whole-element
// strides.
bool view_in_place(py::handle object, TensorView& view) {
  const auto* array = py::detail::array_proxy(object.ptr());
  const auto* descr = py::detail::array_descriptor_proxy(array->descr);
  DType dtype;
  if (array->nd > kMaxRank || !to_dtype(descr->type_num, dtype)) return false;
  if ((array->flags & Api::NPY_ARRAY_ALIGNED_) == 0 || !native_byte_order(array->descr))
    return false;
  const auto size = item_size(dtype);
  Dims shape, strides;
  for (int i = 0; i < array->nd; ++i) {
    if (array->strides[i] % size != 0 && array->dimensions[i] > 1) return false;
    shape.push_back(array->dimensions[i]);
    strides.push_back(array->strides[i] / size);
  }
  view = TensorView(array->data, dtype, shape, strides);
  return true;
}

// A well-behaved copy for the arrays view_in_place declines; None when the dtype is not wanted.
py::object plain_copy(py::handle object, Kind kind) {
  const py::dtype dtype = dtype_of_array(object);
  const char code = dtype.kind();
  const int type = dtype.num();
  int target = -1;
  if (kind == Kind::index && (code == 'i' || code == 'u')) target = Api::NPY_INT64_;
  if (kind == Kind::byte && type == Api::NPY_UBYTE_) target = type;
  if ((kind == Kind::floating || kind == Kind::mask) &&
      (type == Api::NPY_FLOAT_ || type == Api::NPY_DOUBLE_))
    target = type;
  if (kind == Kind::mask && type == Api::NPY_BOOL_) target = type;
  if (target < 0) return py::none();
  auto& api = Api::get();
  constexpr int kForce =
      Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_ | Api::NPY_ARRAY_FORCECAST_;
  PyObject* copy =
      api.PyArray_FromAny_(object.ptr(), api.PyArray_DescrFromType_(target), 0, 0, kForce, nullptr);
  if (!copy) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(copy);
}

thread_local PyThreadState* released_state = nullptr;

// A thread that asks for the GIL while the interpreter shuts down is ended by Python (before 3.14)
// through pthread_exit, which unwinds C++ frames as if by an exception. Helpers may still work on
// what lies in them: such a thread sleeps until the process is gone instead.
void take_gil(PyThreadState* state) noexcept {
#ifdef __GLIBCXX__
  try {
    PyEval_RestoreThread(state);
  } catch (const abi::__forced_unwind&) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
#else
  PyEval_RestoreThread(state);
#endif
}

// Runs Python's signal handlers; true when one raised (KeyboardInterrupt is then set).
bool poll_signals() {
  if (!released_state) return false;
  take_gil(released_state);
  const bool raised = PyErr_CheckSignals() != 0;
  released_state = PyEval_SaveThread();
  return raised;
}

std::atomic<bool> reference_flag{false};

constexpr std::int64_t kSmallOutput = 16 << 10;

void free_capsule(PyObject* capsule) { pool_free(PyCapsule_GetPointer(capsule, nullptr)); }

int type_number(DType dtype) {
  switch (dtype) {
    case DType::f32: return Api::NPY_FLOAT_;
    case DType::f64: return Api::NPY_DOUBLE_;
    case DType::i64: return Api::NPY_INT64_;
    case DType::b8: return Api::NPY_BOOL_;
    case DType::u8: return Api::NPY_UBYTE_;
    case DType::f16:
    case DType::bf16: break;
  }
  return -1;
}

}  // namespace

Input::Input(py::handle object, Where where, Kind kind) {
  if (!is_array(object)) throw TypeError(concat(where, wanted(kind), type_text(object)));
  owner_ = py::reinterpret_borrow<py::object>(object);
  if (view_in_place(owner_, view_) && matches(kind, view_.dtype)) return;
  if (py::detail::array_proxy(object.ptr())->nd > kMaxRank)
    throw ValueError(concat(where, " must have at most ", kMaxRank, " dimensions, got ",
                            py::detail::array_proxy(object.ptr())->nd));
  owner_ = plain_copy(object, kind);
  copied_ = true;
  if (owner_.is_none()) throw TypeError(concat(where, wanted(kind), type_text(object)));
  view_in_place(owner_, view_);
}

void Input::require_writable(Where where) const {
  if (!view_.defined) return;
  const int flags = py::detail::array_proxy(owner_.ptr())->flags;
  if (copied_ || (flags & Api::NPY_ARRAY_WRITEABLE_) == 0)
    throw ValueError(concat(where, " must be a writable array in native byte order"));
}

Input Input::optional(py::handle object, Where where, Kind kind) {
  return object.is_none() ? Input() : Input(object, where, kind);
}

Output::Output(const char* op, DType dtype, const Dims& shape) {
  const std::int64_t bytes = checked_numel(op, shape) * item_size(dtype);
  py::object owner;
  void* data = nullptr;
  if (bytes >= kSmallOutput) {
    data = pool_allocate(static_cast<std::size_t>(bytes));
    owner = py::reinterpret_steal<py::object>(PyCapsule_New(data, nullptr, free_capsule));
    if (!owner) {
      pool_free(data);
      throw py::error_already_set();
    }
  }
  auto& api = Api::get();
  Py_ssize_t dims[kMaxRank];
  for (int i = 0; i < shape.rank(); ++i) dims[i] = shape[i];
  PyObject* array = api.PyArray_NewFromDescr_(
      api.PyArray_Type_, api.PyArray_DescrFromType_(type_number(dtype)), shape.rank(), dims,
      nullptr, data, data ? Api::NPY_ARRAY_WRITEABLE_ | Api::NPY_ARRAY_ALIGNED_ : 0, nullptr);
  if (!array) throw py::error_already_set();
  object_ = py::reinterpret_steal<py::object>(array);
  if (owner && api.PyArray_SetBaseObject_(array, owner.release().ptr()) < 0)
    throw py::error_already_set();
  view_ = TensorView(py::detail::array_proxy(array)->data, dtype, shape);
}

bool owns_memory(py::handle array) {
  if (!is_array(array)) return false;
  const auto* proxy = py::detail::array_proxy(array.ptr());
  if (!proxy->base) return (proxy->flags & py::detail::npy_api::NPY_ARRAY_OWNDATA_) != 0;
  return PyCapsule_CheckExact(proxy->base) &&
         PyCapsule_GetDestructor(proxy->base) == &free_capsule && Py_REFCNT(proxy->base) == 1;
}

bool reference_mode() { return reference_flag.load(std::memory_order_relaxed); }
void set_reference_mode(bool on) { reference_flag.store(on, std::memory_order_relaxed); }

Unlocked::Unlocked() { released_state = PyEval_SaveThread(); }

Unlocked::~Unlocked() {
  PyThreadState* state = released_state;
  released_state = nullptr;
  take_gil(state);
}

void install_interrupt_poll() { set_interrupt_poll(&poll_signals); }

}  // namespace pyfast
