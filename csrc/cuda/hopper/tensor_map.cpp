#include "cuda/hopper/tensor_map.h"

#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/hopper/device.h"
#include "cuda/hopper/swizzle.h"

namespace pyfast::cuda {

namespace {

constexpr std::uint64_t kLargestSize = std::uint64_t{1} << 32;
constexpr std::int64_t kLargestStride = std::int64_t{1} << 40;

bool steps_fit(std::int64_t elements) {
  return elements > 0 && elements % 8 == 0 && elements < kLargestStride / 2;
}

// The driver is not linked to: `_cuda` must load where there is none.
PFN_cuTensorMapEncodeTiled_v12000 driver_encode() {
  static const auto function = [] {
    void* found = nullptr;
    auto status = cudaDriverEntryPointSymbolNotFound;
    const bool asked = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                                        cudaEnableDefault, &status) == cudaSuccess;
    cudaGetLastError();
    const bool usable = asked && status == cudaDriverEntryPointSuccess;
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(usable ? found : nullptr);
  }();
  return function;
}

}  // namespace

bool tensor_maps_exist() { return driver_encode() != nullptr; }

bool batch_of_boxes(const void* data, DType dtype, std::int64_t rows, std::int64_t columns,
                    std::int64_t row_stride, const Axes& batch, int box_rows, BatchOfBoxes& to) {
  to = {};
  TensorBoxes& b = to.boxes;
  if (item_size(dtype) != 2 || rows < 1 || columns < 1 || !steps_fit(row_stride)) return false;
  if (reinterpret_cast<std::uintptr_t>(data) % 16 != 0) return false;
  b.data = data;
  b.dtype = dtype;
  b.size[0] = static_cast<std::uint64_t>(columns);
  b.size[1] = static_cast<std::uint64_t>(rows);
  b.stride[1] = static_cast<std::uint64_t>(row_stride) * 2;
  b.box_rows = static_cast<std::uint32_t>(box_rows);
  std::uint64_t before = 1;
  int axis = 0;
  for (int i = batch.rank - 1; i >= 0; --i) {
    const auto size = static_cast<std::uint64_t>(batch.size[i]);
    if (batch.stride[i] != 0) {
      if (axis == TensorBoxes::kBatchAxes || !steps_fit(batch.stride[i])) return false;
      b.size[axis + 2] = size;
      b.stride[axis + 2] = static_cast<std::uint64_t>(batch.stride[i]) * 2;
      to.batch.divisor[axis] = static_cast<std::uint32_t>(before);
      to.batch.size[axis++] = static_cast<std::uint32_t>(size);
    }
    before *= size;
  }
  for (const std::uint64_t size : b.size)
    if (size >= kLargestSize) return false;
  return before < kLargestSize / 2;
}

bool encode(const TensorBoxes& boxes, CUtensorMap& to) {
  const auto call = driver_encode();
  if (!call) return false;
  const cuuint32_t box[TensorBoxes::kRank] = {kPanelColumns, boxes.box_rows, 1, 1, 1};
  const cuuint32_t every[TensorBoxes::kRank] = {1, 1, 1, 1, 1};
  cuuint64_t size[TensorBoxes::kRank], stride[TensorBoxes::kRank - 1];
  for (int i = 0; i < TensorBoxes::kRank; ++i) size[i] = boxes.size[i];
  for (int i = 1; i < TensorBoxes::kRank; ++i) stride[i - 1] = boxes.stride[i];
  return call(&to,
              boxes.dtype == DType::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                        : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
              TensorBoxes::kRank, const_cast<void*>(boxes.data), size, stride, box, every,
              CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
              CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
              CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace pyfast::cuda
