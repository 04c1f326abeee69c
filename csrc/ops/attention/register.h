// Bindings of attention that module.cpp does not know of.
#pragma once

#include <pybind11/pybind11.h>

namespace pyfast {

void register_heads_attention(pybind11::module_& m);

}  // namespace pyfast
