#!/usr/bin/env bash
# All that needs a GPU, inside ten minutes: build (or take a build that is there), every case against
# float64, benchmark, sanitizers on small cases in the time that is left. Results go to $1 (default:
# bench/results/<the device's name>; see the README there).
#
#   bench/gpu_session.sh [folder]          PYTHON=python3 SKIP_BUILD=1 SKIP_SANITIZERS=1 DRY_RUN=1
#                                          SECONDS_IN_ALL=600
#                                          STEPS="build device cases benchmark sanitizers host"
#
# With more time than one run of ten minutes: STEPS="build device cases benchmark" first, then
# STEPS="sanitizers host", which has them whole. A build made elsewhere for this GPU, _core and
# _cuda beside the sources in pyfast/, saves the first minutes: SKIP_BUILD=1.
set -euo pipefail
cd "$(dirname "$0")/.."

device=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 | tr ' ' '-' || true)
results=${1:-bench/results/${device:-unknown-device}}
python=${PYTHON:-python3}
dry=${DRY_RUN:-}
whole=${SECONDS_IN_ALL:-600}
steps=" ${STEPS:-build device cases benchmark sanitizers host} "
[[ -z ${SKIP_BUILD:-} ]] || steps=${steps/ build / }
[[ -z ${SKIP_SANITIZERS:-} ]] || steps=${steps/ sanitizers / }
started=$SECONDS
failed=()
unfinished=()

wanted() { [[ $steps == *" $1 "* ]]; }
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

tests() { echo "$python" -m pytest -q -rs -p no:cacheprovider; }

for name in $steps; do
  case $name in
    build | device | cases | benchmark | sanitizers | host) ;;
    *)
      echo "STEPS: no step $name; there are build, device, cases, benchmark, sanitizers, host" >&2
      exit 2
      ;;
  esac
done
mkdir -p "$results"
if wanted build; then step build 300 bash -euo pipefail -c build; fi
if wanted device; then
  step device 30 "$python" -c \
    "import sys, pyfast as pf; w = pf.cuda.why_not(); print(w or pf.cuda.device_info()); sys.exit(bool(w))"
  if ((${#failed[@]})); then
    echo "failed: ${failed[*]}; without a device nothing else is run" >&2
    exit 1
  fi
fi
# shellcheck disable=SC2046  # words
if wanted cases; then step cases 200 $(tests) tests/test_cuda_device.py; fi
if wanted benchmark; then
  step benchmark 250 "$python" -m bench.gpu --budget 220 --output "$results/gpu.json"
fi
if wanted sanitizers; then
  if [[ -n $dry ]] || command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do
      step "$tool" 180 bash -euo pipefail -c "sanitize $tool"
    done
  else
    echo "== sanitizers: left out (no compute-sanitizer)"
  fi
fi
# What needs no GPU, with the build of the machine that has one.
# shellcheck disable=SC2046
if wanted host; then
  step host 300 $(tests) tests/test_cuda.py tests/test_cuda_contraction.py tests/test_cuda_host.py \
    tests/test_cuda_attention.py tests/test_cuda_conv.py tests/test_cuda_hopper.py \
    tests/test_cuda_hopper_conv.py tests/test_cuda_ops.py tests/test_cuda_pool.py \
    tests/test_cuda_tensor.py
fi

echo "== $((SECONDS - started)) s"
if ((${#unfinished[@]})); then
  echo "unfinished: ${unfinished[*]}" >&2
fi
if ((${#failed[@]})); then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
