#include <iterator>
#include <string>

#include "core/activation.h"
#include "core/error.h"

namespace pyfast {

namespace {

// In the order of the enum.
constexpr std::string_view kNames[] = {"",         "relu", "relu6",     "leaky_relu", "elu",
                                       "sigmoid",  "tanh", "gelu",      "gelu_tanh",  "silu",
                                       "softplus", "mish", "hardswish", "hardsigmoid"};

}  // namespace

Activation activation_from(const char* op, std::string_view name) {
  std::string known;
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<Activation>(i);
    if (i > 0) known += concat(i > 1 ? ", " : "", kNames[i]);
  }
  throw ValueError(concat(op, ": activation must be None or one of ", known, ", got '", name, "'"));
}

std::string_view name_of(Activation a) { return kNames[static_cast<std::size_t>(a)]; }

bool saves_input(Activation a) { return a > Activation::tanh; }

}  // namespace pyfast
