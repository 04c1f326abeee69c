// What is done to gradients between backward and step: their norm, scaling, clamping.
#pragma once

#include <vector>

#include "core/tensor.h"

namespace pyfast {

void check_norm_type(const char* op, double norm_type);  // 1, 2 or infinity
void check_written_gradients(const char* op, const std::vector<TensorView>& gradients);

// *norm = the norm of all gradients taken as one vector; blocks are summed in double, in order.
void norm_of(const std::vector<TensorView>& gradients, double norm_type, double* norm);
// g *= factor, and g = min(max(g, -limit), limit); NaN stays. Gradients are C-contiguous.
void scale(const std::vector<TensorView>& gradients, double factor);
void clamp(const std::vector<TensorView>& gradients, double limit);

namespace reference {
void norm_of(const std::vector<TensorView>& gradients, double norm_type, double* norm);
void scale(const std::vector<TensorView>& gradients, double factor);
void clamp(const std::vector<TensorView>& gradients, double limit);
}  // namespace reference

}  // namespace pyfast
