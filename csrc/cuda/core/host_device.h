// What the GPU computes and the host can test: functions marked PYFAST_HOST_DEVICE are compiled for
// both, and tests/test_cuda_host.py runs them on the CPU (csrc/cuda/core/host.cpp binds them).
#pragma once

#include <cmath>

#include "core/philox.h"
