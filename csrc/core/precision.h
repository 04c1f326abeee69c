// How exact float32 products must be: pf.set_float32_matmul_precision.
#pragma once

#include <cstdint>

namespace pyfast {

enum class MatmulPrecision : std::uint8_t {
  highest,  // as float32 FMA arithmetic, or better
  high,     // about 16 mantissa bits
  medium,   // bfloat16 products, summed in float32
};

MatmulPrecision matmul_precision();
void set_matmul_precision(MatmulPrecision precision);

}  // namespace pyfast
