// Exceptions that become Python exceptions of the same name, and the text they carry.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace pyfast {

struct ValueError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct IndexError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// Thrown out of parallel_for when Ctrl-C was pressed; the Python error is already set.
struct Interrupted : std::exception {};

inline std::string str(std::string_view s) { return std::string(s); }
inline std::string str(const char* s) { return s; }
inline std::string str(const std::string& s) { return s; }
inline std::string str(bool b) { return b ? "True" : "False"; }
template <std::integral T>  // which type std::size_t is differs by platform
std::string str(T v) {
  return std::to_string(v);
}
std::string str(double v);
std::string str(std::span<const std::int64_t> values);  // as a Python tuple: (2, 3)

// concat("conv2d: stride must be positive, got ", stride)
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::string text;
  ((text += str(parts)), ...);
  return text;
}

}  // namespace pyfast
