// The digits' part of AmxKernels (amx_kernel.h).
#pragma once

#include "gemm/amx_kernel.h"

namespace pyfast::amx {

void look_along(float* units, const float* rows, std::int64_t stride, int count, std::int64_t depth,
                DigitSpread& seen);
void look_across(float* units, const float* source, std::int64_t stride, int count,
                 std::int64_t depth, DigitSpread& seen);
void digits_along(std::int8_t* panel, const float* rows, std::int64_t stride, int count, int width,
                  std::int64_t depth, const float* units, bool left);
void digits_across(std::int8_t* panel, const float* source, std::int64_t stride, int count,
                   int width, std::int64_t depth, const float* units, bool left);
void multiply_digits(std::int64_t steps, const std::int8_t* a, const float* a_units, int a_tiles,
                     std::int64_t a_next, const std::int8_t* b, const float* b_units, int b_tiles,
                     int products, std::int64_t count, float* tile, std::int64_t next,
                     bool accumulate, const void* ahead, std::int64_t bytes);

void digits_row(std::int8_t* items, std::int64_t digit, const float* row, std::int64_t n,
                float unit);
void digits_turned(std::int8_t* panel, const float* rows, std::int64_t stride, int count,
                   std::int64_t depth, const float* units);
void multiply_shifted(std::int64_t steps, const AmxShifted* lefts, std::int64_t count,
                      std::int64_t row, std::int64_t digit, const std::int8_t* b,
                      const float* b_units, int products, std::int64_t ld, bool accumulate);

}  // namespace pyfast::amx
