#!/usr/bin/env bash
# No inline function may be shared between baseline and per-ISA objects: the linker keeps one copy,
# and if that one was compiled with AVX the module crashes on older processors at import.
# Every weak symbol that a kernels_<isa> object defines must name its ISA's namespace.
set -euo pipefail
folder=${1:-build}
bad=0
while read -r object; do
  isa=${object##*kernels_}
  isa=${isa%%.dir*}
  shared=$(nm -C --defined-only "$object" | awk '$2 ~ /^[WVu]$/' | grep -v "pyfast::$isa::" || true)
  if [ -n "$shared" ]; then
    echo "$object defines weak symbols outside pyfast::$isa:"
    echo "$shared"
    bad=1
  fi
done < <(find "$folder" -path '*/kernels_*' -name '*.o')
exit $bad
