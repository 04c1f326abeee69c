// Element types, and the one place where a runtime dtype becomes a compile-time type.
#pragma once

#include <cstdint>
#include <string_view>

namespace pyfast {

// f16 and bf16 are the GPU's: no array that _core takes has them.
enum class DType : std::uint8_t { f32, f64, i64, b8, u8, f16, bf16 };

template <class T>
inline constexpr DType dtype_of = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::i64;
template <>
inline constexpr DType dtype_of<bool> = DType::b8;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::u8;

constexpr std::string_view name(DType t) {
  switch (t) {
    case DType::f32: return "float32";
    case DType::f64: return "float64";
    case DType::i64: return "int64";
    case DType::b8: return "bool";
    case DType::u8: return "uint8";
    case DType::f16: return "float16";
    case DType::bf16: return "bfloat16";
  }
  return "?";
}

constexpr std::int64_t item_size(DType t) {
  switch (t) {
    case DType::f32: return 4;
    case DType::f64: return 8;
    case DType::i64: return 8;
    case DType::b8: return 1;
    case DType::u8: return 1;
    case DType::f16: return 2;
    case DType::bf16: return 2;
  }
  return 0;
}

constexpr bool is_floating(DType t) {
  return t == DType::f32 || t == DType::f64 || t == DType::f16 || t == DType::bf16;
}

// visit(x.dtype, [&]<class T>() { ... }) runs the body with T = float or double.
template <class F>
decltype(auto) visit(DType t, F&& body) {
  if (t == DType::f64) return body.template operator()<double>();
  return body.template operator()<float>();
}

}  // namespace pyfast
