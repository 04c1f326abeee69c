#!/usr/bin/env bash
# All that needs a GPU, in one go, inside ten minutes: build (or take a build that is there), test,
# benchmark, sanitizers on small cases in the time that is left. Results go to $1 (default:
# bench/results/<the device's name>; see the README there).
#
#   bench/gpu_session.sh [folder]          PYTHON=python3 SKIP_BUILD=1 SKIP_SANITIZERS=1 DRY_RUN=1
#                                          SECONDS_IN_ALL=600
set -euo pipefail
cd "$(dirname "$0")/.."

device=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 | tr ' ' '-' || true)
results=${1:-bench/results/${device:-unknown-device}}
python=${PYTHON:-python3}
dry=${DRY_RUN:-}
whole=${SECONDS_IN_ALL:-600}
started=$SECONDS
failed=()
unfinished=()

left() { echo $((whole - (SECONDS - started))); }

step() {  # step NAME SECONDS COMMAND...: a step that fails is noted, and the rest goes on
  local name=$1 limit=$2 status=0
  shift 2
  if (($(left) - 5 < limit)); then limit=$(($(left) - 5)); fi  # 5 s to kill and sum up
  if ((limit < 1)); then
    echo "== $name: no time left"
    unfinished+=("$name")
    return
  fi
  echo "== $name ($((SECONDS - started)) s in; at most $limit s)"
  if [[ -n $dry ]]; then
    printf '   %q' "$@"
    echo
    return
  fi
  timeout --kill-after 5 "$limit" "$@" || status=$?
  if ((status == 124 || status == 137)); then
    unfinished+=("$name")
  elif ((status)); then
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

sanitize() {  # sanitize TOOL: the small cases of one 16-bit type, in one process
  compute-sanitizer --tool "$1" --error-exitcode 9 --launch-timeout 60 \
    "$python" -m pytest -q -x -p no:cacheprovider tests/test_cuda_device.py -k "small and float16 and not bfloat16"
}

export -f build sanitize
export python

mkdir -p "$results"
if [[ -z ${SKIP_BUILD:-} ]]; then
  step build 240 bash -euo pipefail -c build
fi
step device 30 "$python" -c "import pyfast as pf; print(pf.cuda.why_not() or pf.cuda.device_info())"
step tests 120 "$python" -m pytest -q -rs tests/test_cuda.py tests/test_cuda_contraction.py \
  tests/test_cuda_host.py tests/test_cuda_hopper.py tests/test_cuda_hopper_conv.py \
  tests/test_cuda_ops.py tests/test_cuda_device.py
step benchmark 200 "$python" -m bench.gpu --budget 170 --output "$results/gpu.json"
if [[ -z ${SKIP_SANITIZERS:-} ]] && command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck; do
    step "$tool" 120 bash -euo pipefail -c "sanitize $tool"
  done
else
  echo "== sanitizers: left out (no compute-sanitizer, or SKIP_SANITIZERS)"
fi

echo "== $((SECONDS - started)) s"
if ((${#unfinished[@]})); then
  echo "unfinished: ${unfinished[*]}" >&2
fi
if ((${#failed[@]})); then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
