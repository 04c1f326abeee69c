#include "core/arguments.h"

#include <pybind11/numpy.h>

namespace pyfast {

namespace {
bool is_array(py::handle object) {
  return PyObject_TypeCheck(object.ptr(), py::detail::npy_api::get().PyArray_Type_) != 0;
}
}  // namespace

std::int64_t to_int(py::handle object, Where where) {
  if (PyLong_CheckExact(object.ptr())) {  // what nearly every call gives, at a tenth of the time
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object.ptr(), &overflow);
    if (overflow == 0) return value;
  }
  if (!PyIndex_Check(object.ptr()) || is_array(object))
    throw TypeError(concat(where, " must be an int, got ", py::repr(object).cast<std::string>()));
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0)
    throw ValueError(
        concat(where, " does not fit 64 bits: ", py::repr(object).cast<std::string>()));
  return value;
}

double to_double(py::handle object, Where where) {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    throw TypeError(concat(where, " must be a number, got ", py::repr(object).cast<std::string>()));
  }
  return value;
}

std::string to_text(py::handle object, Where where) {
  Py_ssize_t size = 0;
  const char* text =
      PyUnicode_Check(object.ptr()) ? PyUnicode_AsUTF8AndSize(object.ptr(), &size) : nullptr;
  if (text) return {text, static_cast<std::size_t>(size)};
  PyErr_Clear();  // lone surrogates have no UTF-8
  throw TypeError(concat(where, " must be a str, got ", py::repr(object).cast<std::string>()));
}

Activation to_activation(py::handle object, Where where) {
  if (object.is_none()) return Activation::none;
  if (!PyUnicode_Check(object.ptr()))
    throw TypeError(
        concat(where, " must be None or a str, got ", py::repr(object).cast<std::string>()));
  return activation_from(where.op, to_text(object, where));
}

Dims to_shape(py::handle object, Where where) {
  if (!PySequence_Check(object.ptr()) || PyUnicode_Check(object.ptr()) || is_array(object))
    throw TypeError(
        concat(where, " must be a sequence of ints, got ", py::repr(object).cast<std::string>()));
  const auto sequence = py::reinterpret_borrow<py::sequence>(object);
  Dims dims;
  for (const auto& item : sequence) {
    if (dims.rank() == kMaxRank)
      throw ValueError(concat(where, " has too many entries: more than ", kMaxRank));
    dims.push_back(to_int(item, where));
  }
  return dims;
}

Dims to_dims(py::handle object, Where where, int n) {
  Dims dims;
  if (PyIndex_Check(object.ptr())) {
    const std::int64_t value = to_int(object, where);
    for (int i = 0; i < n; ++i) dims.push_back(value);
    return dims;
  }
  dims = to_shape(object, where);
  if (dims.rank() == 1 && n > 1)  // torch takes (k,) for k
    for (int i = 1; i < n; ++i) dims.push_back(dims[0]);
  if (dims.rank() != n)
    throw ValueError(concat(where, " must be an int or ", n, " ints, got ", dims));
  return dims;
}

}  // namespace pyfast
