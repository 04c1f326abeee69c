#!/usr/bin/env bash
# Cross-compiles everything but CUDA and what knows Python for 64-bit ARM: baseline once, kernels for
# scalar and NEON (AMX tiles are x86 only). Needs a cross compiler (Debian: g++-aarch64-linux-gnu).
set -euo pipefail
cd "$(dirname "$0")/.."
compiler=${CXX_ARM:-aarch64-linux-gnu-g++}
flags="-std=c++20 -O1 -fPIC -ffp-contract=off -fno-math-errno -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror -Icsrc"
count=0
while read -r file; do
  case $file in
    */bind*.cpp | */core/arguments.cpp | */python.cpp | */module.cpp | */amx_kernel*.cpp) continue ;;
    */kernel*.cpp)
      for isa in scalar neon; do
        $compiler $flags -DPYFAST_ISA=$isa -DPYFAST_ISA_"${isa^^}" -c "$file" -o /dev/null
        count=$((count + 1))
      done ;;
    *)
      $compiler $flags -c "$file" -o /dev/null
      count=$((count + 1)) ;;
  esac
done < <(find csrc -path csrc/cuda -prune -o -name '*.cpp' -print | sort)
echo "$count objects cross-compiled for 64-bit ARM"
