#!/usr/bin/env bash
# All that needs a GPU, in one go, inside ten minutes: build (or take a build that is there), test,
# sanitizers on small cases, benchmark. Results go to $1 (default: bench/results).
#
#   bench/gpu_session.sh [folder]          PYTHON=python3 SKIP_BUILD=1 SKIP_SANITIZERS=1 DRY_RUN=1
set -euo pipefail
cd "$(dirname "$0")/.."

results=${1:-bench/results}
python=${PYTHON:-python3}
dry=${DRY_RUN:-}
started=$SECONDS
failed=()

step() {  # step NAME SECONDS COMMAND...: a step that fails is noted, and the rest goes on
  local name=$1 limit=$2
  shift 2
  echo "== $name ($((SECONDS - started)) s in; at most $limit s)"
  if [[ -n $dry ]]; then
    printf '   %q' "$@"
    echo
  elif ! timeout "$limit" "$@"; then
    failed+=("$name")
  fi
}

build() {
  local architecture
  architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
  cmake -S . -B build/gpu -G Ninja -DPYFAST_INPLACE=ON -DPYFAST_CUDA=ON \
    "-DPYFAST_CUDA_ARCHITECTURES=${architecture}-real" \
    "-Dpybind11_DIR=$("$python" -m pybind11 --cmakedir)"
  ninja -C build/gpu
}

sanitize() {  # sanitize TOOL: the small cases of the tests, in one process
  compute-sanitizer --tool "$1" --error-exitcode 9 --launch-timeout 60 \
    "$python" -m pytest -q -p no:cacheprovider tests/test_cuda_device.py -k small
}

export -f build sanitize
export python

mkdir -p "$results"
if [[ -z ${SKIP_BUILD:-} ]]; then
  step build 300 bash -euo pipefail -c build
fi
step device 30 "$python" -c "import pyfast as pf; print(pf.cuda.why_not() or pf.cuda.device_info())"
step tests 180 "$python" -m pytest -q -rs tests/test_cuda.py tests/test_cuda_host.py tests/test_cuda_device.py
if [[ -z ${SKIP_SANITIZERS:-} ]] && command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck; do
    step "$tool" 60 bash -euo pipefail -c "sanitize $tool"
  done
else
  echo "== sanitizers: left out (no compute-sanitizer, or SKIP_SANITIZERS)"
fi
step benchmark 240 "$python" -m bench.gpu --output "$results/gpu.json"

echo "== $((SECONDS - started)) s"
if ((${#failed[@]})); then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
