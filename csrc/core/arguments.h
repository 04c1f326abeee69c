// Python numbers, names and shapes taken as C++ values, and C++ errors raised as Python ones:
// what the bindings of _core and _cuda share.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "core/activation.h"
#include "core/error.h"
#include "core/shape.h"
#include "core/tensor.h"

namespace pyfast {

namespace py = pybind11;

// An int, or a sequence of n ints: "stride=2", "stride=(2, 1)".
Dims to_dims(py::handle object, Where where, int n);
// A sequence of any number of ints.
Dims to_shape(py::handle object, Where where);
std::int64_t to_int(py::handle object, Where where);
double to_double(py::handle object, Where where);
std::string to_text(py::handle object, Where where);
// None, or an activation's name.
Activation to_activation(py::handle object, Where where);

// Lets Error, thrown in this module, be raised as `type`.
template <class Error>
void translate(PyObject* type) {
  static PyObject* python_type = type;
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      std::rethrow_exception(pointer);
    } catch (const Error& error) {
      PyErr_SetString(python_type, error.what());
    }
  });
}

}  // namespace pyfast
