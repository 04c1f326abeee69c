#!/usr/bin/env bash
# Writes pyfast/_core.pyi from the built module. Arrays go in and out as Any: their dtype and shape
# are checked at run time, by check.cpp.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m pybind11_stubgen pyfast._core -o "$folder" --ignore-all-errors
sed -E -e 's/\b(typing\.Any|object|handle)\b/typing.Any/g' \
  -e 's/\b(list|dict|tuple)\b([,)]| = |:$| ->)/\1[typing.Any, ...]\2/g' \
  -e 's/(list)\[typing.Any, \.\.\.\]/list[typing.Any]/g' \
  -e 's/(dict)\[typing.Any, \.\.\.\]/dict[str, typing.Any]/g' "$folder/pyfast/_core.pyi" > pyfast/_core.pyi
ruff check -q --fix --unsafe-fixes --select I,UP,F401 pyfast/_core.pyi
ruff format -q pyfast/_core.pyi
