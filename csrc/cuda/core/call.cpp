#include "cuda/core/call.h"

#include <new>

#include "cuda/core/device.h"
#include "cuda/core/layout.h"

namespace pyfast::cuda {

namespace {

struct Name {
  std::string_view text;
  DType dtype;
};
constexpr Name kNames[] = {{"float32", DType::f32},   {"float16", DType::f16},
                           {"bfloat16", DType::bf16}, {"int64", DType::i64},
                           {"bool", DType::b8},       {"uint8", DType::u8},
                           {"float64", DType::f64}};

const Name* find(std::string_view text) {
  for (const Name& n : kNames)
    if (n.text == text) return &n;
  return nullptr;
}

bool gpu_floating(DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16; }

bool matches(Kind kind, DType dtype) {
  switch (kind) {
    case Kind::floating: return gpu_floating(dtype);
    case Kind::index: return dtype == DType::i64;
    case Kind::mask: return dtype == DType::b8 || gpu_floating(dtype);
    case Kind::byte: return dtype == DType::u8;
    case Kind::exact: return dtype == DType::f64;
    case Kind::any: return true;
  }
  return false;
}

const char* wanted(Kind kind) {
  switch (kind) {
    case Kind::floating: return " must be float32, float16 or bfloat16 on a GPU, got ";
    case Kind::index: return " must be int64 on a GPU, got ";
    case Kind::mask: return " must be bool, float32, float16 or bfloat16 on a GPU, got ";
    case Kind::byte: return " must be uint8, got ";
    case Kind::exact: return " must be float64, got ";
    case Kind::any: return " must have a dtype that kernels take, got ";
  }
  return "";
}

const char* remedy(Kind kind, std::string_view dtype) {
  if (dtype != "float64" || (kind != Kind::floating && kind != Kind::mask)) return "";
  return "; convert it to float32, or move the arrays to the CPU, which takes float64";
}

// What framework.view(array) answers: (pointer, shape, strides in elements, dtype, device).
TensorView view_of(Call& call, py::handle array, const char* argument, Kind kind) {
  const Where where{call.op(), argument};
  const py::tuple seen = call.framework().attr("view")(array, call.op(), argument);
  const auto dtype = py::cast<std::string>(seen[3]);
  const Name* name = find(dtype);
  if (!name || !matches(kind, name->dtype))
    throw TypeError(concat(where, wanted(kind), dtype, remedy(kind, dtype)));
  call.join(argument, py::cast<int>(seen[4]));
  auto* pointer = reinterpret_cast<void*>(py::cast<std::uintptr_t>(seen[0]));
  return {pointer, name->dtype, to_shape(seen[1], where), to_shape(seen[2], where)};
}

}  // namespace

void Call::join(const char* argument, int device) {
  if (device_ < 0) {
    device_ = device;
    first_ = argument;
  } else if (device != device_) {
    throw ValueError(concat(op_, ": ", argument, " is on cuda:", device, ", but ", first_,
                            " on cuda:", device_, "; move them to one device"));
  }
}

cudaStream_t Call::stream() const {
  const py::object handle = framework_.attr("stream")(device_);
  return reinterpret_cast<cudaStream_t>(py::cast<std::uintptr_t>(handle));
}

Input::Input(Call& call, py::handle array, const char* argument, Kind kind, bool contiguous)
    : owner_(py::reinterpret_borrow<py::object>(array)) {
  if (kind == Kind::index) owner_ = call.framework().attr("as_index")(owner_);
  view_ = view_of(call, owner_, argument, kind);
  if (!contiguous || view_.contiguous()) return;
  owner_ = call.framework().attr("contiguous")(owner_);
  view_ = view_of(call, owner_, argument, kind);
}

Input Input::optional(Call& call, py::handle array, const char* argument, Kind kind,
                      bool contiguous) {
  return array.is_none() ? Input() : Input(call, array, argument, kind, contiguous);
}

Input Input::written(Call& call, py::handle array, const char* argument) {
  Input x = optional(call, array, argument, Kind::floating, false);
  if (x->defined && !x->contiguous())
    throw ValueError(concat(call.op(), ": ", argument,
                            " must be C-contiguous on a GPU, got strides ", x->strides,
                            " for shape ", x->shape));
  return x;
}

Input Input::image(Call& call, py::handle array, const char* argument) {
  Input as_it_is(call, array, argument, Kind::floating, false);
  if (as_it_is->contiguous() || (as_it_is->rank() > 2 && channels_last(as_it_is))) return as_it_is;
  return Input(call, array, argument);
}

Input Input::like(Call& call, py::handle array, const char* argument, py::handle other,
                  const TensorView& view) {
  Input as_it_is(call, array, argument, Kind::floating, false);
  if (!(as_it_is->shape == view.shape) || as_it_is->strides == view.strides) return as_it_is;
  return Input(call, call.framework().attr("ordered_like")(array, other), argument, Kind::floating,
               false);
}

Output::Output(const Call& call, DType dtype, const Dims& shape) {
  checked_numel(call.op(), shape);
  py::tuple sizes(static_cast<std::size_t>(shape.rank()));
  for (int i = 0; i < shape.rank(); ++i) sizes[static_cast<std::size_t>(i)] = shape[i];
  const auto& framework = call.framework();
  object_ = framework.attr("empty")(sizes, name(dtype), call.device());
  const auto pointer = py::cast<std::uintptr_t>(framework.attr("pointer")(object_));
  view_ = TensorView(reinterpret_cast<void*>(pointer), dtype, shape);
}

Output::Output(const Call& call, const Input& like) {
  const auto& framework = call.framework();
  object_ = framework.attr("empty_like")(like.object());
  const auto pointer = py::cast<std::uintptr_t>(framework.attr("pointer")(object_));
  view_ = TensorView(reinterpret_cast<void*>(pointer), like->dtype, like->shape, like->strides);
}

bool is_last(const TensorView& x) { return x.rank() == 4 && channels_last(x); }

OrderedOutput::OrderedOutput(const Call& call, DType dtype, const Dims& s, bool last) {
  const Output out(call, dtype, last ? Dims{s[0], s[2], s[3], s[1]} : s);
  object_ = out.object();
  view_ = out.view();
  if (!last) return;
  object_ = object_.attr("swapaxes")(1, 3).attr("swapaxes")(2, 3);
  const Dims& t = out.view().strides;
  view_ = TensorView(out.view().data, dtype, s, {t[0], t[3], t[1], t[2]});
}

DeviceGuard::DeviceGuard(const Call& call) {
  check(call.op(), cudaGetDevice(&previous_));
  if (previous_ == call.device()) {
    previous_ = -1;
  } else {
    check(call.op(), cudaSetDevice(call.device()));
  }
}

DeviceGuard::~DeviceGuard() {
  if (previous_ >= 0) cudaSetDevice(previous_);
}

void check(const char* op, cudaError_t status) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that stays would be blamed on the next call
  const std::string text = concat(op, ": ", describe(status));
  if (status != cudaErrorMemoryAllocation) throw std::runtime_error(text);
  PyErr_SetString(PyExc_MemoryError, text.c_str());
  throw py::error_already_set();
}

}  // namespace pyfast::cuda
