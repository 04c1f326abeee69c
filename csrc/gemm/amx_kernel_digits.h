// The digits' part of AmxKernels (amx_kernel.h).
#pragma once

#include "gemm/amx_kernel.h"

namespace pyfast::amx {

void digit_rows(std::int8_t* panel, const float* rows, std::int64_t stride, int count, int width,
                std::int64_t depth, DigitSpread& seen);
void digit_left(std::int8_t* panel, const float* source, std::int64_t stride, int count, int width,
                std::int64_t depth, DigitSpread& seen);
void digit_right(std::int8_t* panel, const float* source, std::int64_t stride, int count, int width,
                 std::int64_t depth, DigitSpread& seen);
void digit_turned(std::int8_t* panel, const float* source, std::int64_t stride, int count,
                  int width, std::int64_t depth, DigitSpread& seen);
void multiply_digits(std::int64_t steps, const std::int8_t* a, int a_tiles, std::int64_t a_next,
                     const std::int8_t* b, int b_tiles, int products, std::int64_t count,
                     float* tile, std::int64_t next, bool accumulate, const void* ahead,
                     std::int64_t bytes);

}  // namespace pyfast::amx
