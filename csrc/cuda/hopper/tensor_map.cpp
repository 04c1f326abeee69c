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
void* driver_function(const char* name) {
  void* found = nullptr;
  auto status = cudaDriverEntryPointSymbolNotFound;
  const bool asked = cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault,
                                                      &status) == cudaSuccess;
  cudaGetLastError();
  return asked && status == cudaDriverEntryPointSuccess ? found : nullptr;
}

PFN_cuTensorMapEncodeTiled_v12000 driver_encode_boxes() {
  static const auto function = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(
      driver_function("cuTensorMapEncodeTiled"));
  return function;
}
PFN_cuTensorMapEncodeIm2col_v12000 driver_encode_pixels() {
  static const auto function = reinterpret_cast<PFN_cuTensorMapEncodeIm2col_v12000>(
      driver_function("cuTensorMapEncodeIm2col"));
  return function;
}

CUtensorMapDataType element_of(DType dtype) {
  return dtype == DType::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

}  // namespace

bool tensor_maps_exist() { return driver_encode_boxes() && driver_encode_pixels(); }

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
  const auto call = driver_encode_boxes();
  if (!call) return false;
  const cuuint32_t box[TensorBoxes::kRank] = {kPanelColumns, boxes.box_rows, 1, 1, 1};
  const cuuint32_t every[TensorBoxes::kRank] = {1, 1, 1, 1, 1};
  cuuint64_t size[TensorBoxes::kRank], stride[TensorBoxes::kRank - 1];
  for (int i = 0; i < TensorBoxes::kRank; ++i) size[i] = boxes.size[i];
  for (int i = 1; i < TensorBoxes::kRank; ++i) stride[i - 1] = boxes.stride[i];
  return call(&to, element_of(boxes.dtype), TensorBoxes::kRank, const_cast<void*>(boxes.data), size,
              stride, box, every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
              CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
              CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

bool TensorPixels::fits() const {
  constexpr int kLeast = -128, kMost = 127, kLongestStep = 8;  // cuTensorMapEncodeIm2col, rank 4
  if (reinterpret_cast<std::uintptr_t>(data) % 16 != 0) return false;
  for (int i = 0; i < kRank; ++i) {
    if (size[i] < 1 || size[i] >= kLargestSize) return false;
    if (i > 0 && (stride[i] % 16 != 0 || stride[i] >= static_cast<std::uint64_t>(kLargestStride)))
      return false;
  }
  for (int i = 0; i < 2; ++i) {
    if (step[i] < 1 || step[i] > kLongestStep) return false;
    if (corner[i] < kLeast || corner[i] > kMost || end[i] < kLeast || end[i] > kMost) return false;
    if (static_cast<std::int64_t>(size[i + 1]) + end[i] <= corner[i]) return false;
  }
  return true;
}

bool encode(const TensorPixels& pixels, CUtensorMap& to) {
  const auto call = driver_encode_pixels();
  if (!call || !pixels.fits()) return false;
  const cuuint32_t steps[TensorPixels::kRank] = {1, static_cast<cuuint32_t>(pixels.step[0]),
                                                 static_cast<cuuint32_t>(pixels.step[1]), 1};
  cuuint64_t size[TensorPixels::kRank], stride[TensorPixels::kRank - 1];
  for (int i = 0; i < TensorPixels::kRank; ++i) size[i] = pixels.size[i];
  for (int i = 1; i < TensorPixels::kRank; ++i) stride[i - 1] = pixels.stride[i];
  return call(&to, element_of(pixels.dtype), TensorPixels::kRank, const_cast<void*>(pixels.data),
              size, stride, pixels.corner, pixels.end, kPanelColumns, pixels.pixels, steps,
              CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
              CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
              CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace pyfast::cuda
