// TensorView: a pointer, a shape, strides (in elements, any sign) and a dtype. Owns nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "core/dtype.h"

namespace pyfast {

inline constexpr int kMaxRank = 16;

// A short list of sizes with no allocation: shapes, strides, kernel sizes.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<std::int64_t> v) : rank_(static_cast<int>(v.size())) {
    std::copy(v.begin(), v.end(), data_.begin());
  }
  explicit Dims(std::span<const std::int64_t> v) : rank_(static_cast<int>(v.size())) {
    std::copy(v.begin(), v.end(), data_.begin());
  }
  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return data_[static_cast<std::size_t>(i)]; }
  std::int64_t& operator[](int i) { return data_[static_cast<std::size_t>(i)]; }
  std::int64_t back() const { return data_[static_cast<std::size_t>(rank_ - 1)]; }
  void push_back(std::int64_t v) { data_[static_cast<std::size_t>(rank_++)] = v; }
  std::span<const std::int64_t> span() const {
    return {data_.data(), static_cast<std::size_t>(rank_)};
  }
  operator std::span<const std::int64_t>() const { return span(); }
  // Number of elements; the shape has been checked for overflow where it entered (core/shape.h).
  std::int64_t numel() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= (*this)[i];
    return n;
  }
  friend bool operator==(const Dims& a, const Dims& b) {
    const auto x = a.span(), y = b.span();  // no std::ranges: libc++ 14 has none
    return std::equal(x.begin(), x.end(), y.begin(), y.end());
  }

 private:
  std::array<std::int64_t, kMaxRank> data_{};
  int rank_ = 0;
};

inline Dims contiguous_strides(const Dims& shape) {
  Dims strides(shape.span());
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

struct TensorView {
  void* data = nullptr;
  DType dtype = DType::f32;
  bool defined = false;  // false: the optional argument was None
  Dims shape;
  Dims strides;

  TensorView() = default;
  TensorView(void* p, DType t, const Dims& s) : TensorView(p, t, s, contiguous_strides(s)) {}
  TensorView(void* p, DType t, const Dims& s, const Dims& st)
      : data(p), dtype(t), defined(true), shape(s), strides(st) {}

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  int rank() const { return shape.rank(); }
  std::int64_t numel() const { return shape.numel(); }
  bool contiguous() const {  // C order; axes of length 1 may have any stride
    std::int64_t step = 1;
    for (int i = rank() - 1; i >= 0; --i) {
      if (shape[i] != 1 && strides[i] != step) return numel() == 0;
      step *= shape[i];
    }
    return true;
  }
};

}  // namespace pyfast
