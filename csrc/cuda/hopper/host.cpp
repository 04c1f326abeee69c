// Swizzles, descriptors, boxes and single products on the CPU, for tests/test_cuda_hopper.py.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <vector>

#include "core/error.h"
#include "cuda/core/launch.cuh"
#include "cuda/hopper/machine.cuh"

namespace pyfast::cuda {

namespace {

namespace py = pybind11;
using Halves = py::array_t<std::uint16_t, py::array::c_style>;

struct Operand {
  TensorBoxes map;
  int rows, columns;  // of its tile: as many boxes as that needs
};

void send(unsigned char* to, const Operand& x, Mbarrier& there) {
  arrive_expecting(there, tile_bytes(x.rows, x.columns));
  const int origin[3] = {0, 0, 0};
  for (int c = 0; c < x.columns; c += kPanelColumns, to += panel_bytes(x.rows))
    load_panel(to, x.map, there, c, 0, origin);
}

// Two tiles by TMA, then a product by wgmma, 64 deep: the smallest kernel that uses both.
template <Deep kLeft, Deep kRight, int kColumns>
void product_kernel(const Operand& left, const Operand& right, bool left_in_registers,
                    float* result) {
  unsigned char* a = aligned_shared_memory();
  unsigned char* b = a + tile_bytes(left.rows, left.columns);
  auto& there = *reinterpret_cast<Mbarrier*>(b + tile_bytes(right.rows, right.columns));
  if (threadIdx.x == 0) begin_barrier(there, 2);
  sync_block();
  if (threadIdx.x == 0) {
    send(a, left, there);
    send(b, right, there);
  }
  wait_phase(there, 0);
  const auto describe = [](Deep deep, unsigned char* tile, int rows) {
    return deep == Deep::along_rows ? rows_descriptor(shared_address(tile))
                                    : columns_descriptor(shared_address(tile), rows);
  };
  const auto step = [](Deep deep, int rows, int k) {
    return deep == Deep::along_rows ? pyfast::cuda::right(rows, k) : down(k);
  };
  WarpTile<kColumns> sums;
  std::uint32_t words[4][4];
  sums.clear();
  begin_products();
  for (int k = 0; k < 64; k += 16) {
    const std::uint64_t y = describe(kRight, b, right.rows) + step(kRight, right.rows, k);
    if (left_in_registers) {
      const unsigned warp = threadIdx.x % 128 / 32, lane = threadIdx.x % 32;
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned r = 16 * warp + lane / 4 + i % 2 * 8;
        const unsigned c = static_cast<unsigned>(k) + lane % 4 * 2 + i / 2 * 8;
        std::memcpy(&words[k / 16][i],
                    Emulator::self().shared() + swizzled(shared_address(a) + r * kPanelRow + c * 2),
                    4);
      }
      begin_product<__half, kRight>(sums, words[k / 16], y);
    } else {
      const std::uint64_t x = describe(kLeft, a, left.rows) + step(kLeft, left.rows, k);
      if (k == 0)
        begin_product<__half, false, kLeft, kRight>(sums, x, y);
      else
        begin_product<__half, true, kLeft, kRight>(sums, x, y);
    }
  }
  commit_products();
  wait_products<0>();
  const int first = static_cast<int>(threadIdx.x) / 32 * 16;
  sums.each([&](int r, int c, float& v) { result[(first + r) * kColumns + c] = v; });
}

Operand operand(const Halves& x, bool transposed, int length) {
  Operand o;
  o.rows = transposed ? 64 : length;
  o.columns = transposed ? length : 64;
  BatchOfBoxes made;
  if (!batch_of_boxes(x.data(), DType::f16, x.shape(0), x.shape(1), x.shape(1), Axes(), o.rows,
                      made))
    throw ValueError("host: TMA does not take this");
  o.map = made.boxes;
  return o;
}

// left (64, 64) or (64, 64) transposed, right (columns, 64) or (64, columns); smaller ones are
// filled up with zeros.
py::array_t<float> product(const Halves& left, bool left_transposed, bool left_in_registers,
                           const Halves& right, bool right_transposed, int columns) {
  const Operand a = operand(left, left_transposed, 64);
  const Operand b = operand(right, right_transposed, columns);
  py::array_t<float> result({64, columns});
  const auto start = [&]<Deep kLeft, Deep kRight, int kColumns>() {
    Emulator::self().run(1, 128, 0, [&] {
      product_kernel<kLeft, kRight, kColumns>(a, b, left_in_registers, result.mutable_data());
    });
  };
  const auto by_columns = [&]<Deep kLeft, Deep kRight>() {
    if (columns == 64)
      start.template operator()<kLeft, kRight, 64>();
    else
      start.template operator()<kLeft, kRight, 128>();
  };
  constexpr Deep kRows = Deep::along_rows, kDown = Deep::down_columns;
  if (left_transposed && right_transposed)
    by_columns.template operator()<kDown, kDown>();
  else if (left_transposed)
    by_columns.template operator()<kDown, kRows>();
  else if (right_transposed)
    by_columns.template operator()<kRows, kDown>();
  else
    by_columns.template operator()<kRows, kRows>();
  return result;
}

// Where each element of a box of rows x 64 lies in shared memory, from 1024-aligned `begin` on.
py::array_t<int> box_places(int rows, int begin) {
  Halves numbers({rows, 64});
  for (int i = 0; i < rows * 64; ++i) numbers.mutable_data()[i] = static_cast<std::uint16_t>(i);
  const Operand o = operand(numbers, false, rows);
  py::array_t<int> places({rows, 64});
  Emulator::self().run(1, 32, 0, [&] {
    unsigned char* shared = aligned_shared_memory();
    auto& there = *reinterpret_cast<Mbarrier*>(shared + (64 << 10));
    if (threadIdx.x == 0) {
      begin_barrier(there, 1);
      send(shared + begin, o, there);
      wait_phase(there, 0);
      for (int i = 0; i < rows * 64; ++i) {
        std::uint16_t number;
        std::memcpy(&number, shared + begin + 2 * i, 2);
        places.mutable_data()[number] = begin + 2 * i;
      }
    }
  });
  return places;
}

// (batch coordinates, sizes, strides in bytes), or None where TMA does not take it.
py::object boxes(std::int64_t rows, std::int64_t columns, std::int64_t row_stride,
                 const std::vector<std::pair<std::int64_t, std::int64_t>>& batch,
                 std::uint32_t element) {
  Axes axes;
  for (const auto& [size, stride] : batch) axes.push(size, stride);
  BatchOfBoxes made;
  if (!batch_of_boxes(nullptr, DType::bf16, rows, columns, row_stride, axes, 64, made))
    return py::none();
  std::vector<int> at;
  for (int i = 0; i < TensorBoxes::kBatchAxes; ++i) at.push_back(made.batch.at(element, i));
  const auto list = [](const std::uint64_t (&values)[TensorBoxes::kRank]) {
    return std::vector<std::uint64_t>(values, values + TensorBoxes::kRank);
  };
  return py::make_tuple(at, list(made.boxes.size), list(made.boxes.stride), axes.offset(element));
}

}  // namespace

void register_hopper_host(py::module_& host) {
  host.def("swizzled", &swizzled);
  host.def("matrix_descriptor", &matrix_descriptor);
  host.def("rows_descriptor", &rows_descriptor);
  host.def("columns_descriptor", &columns_descriptor);
  host.def("descriptor_down", &down);
  host.def("descriptor_right", &right);
  host.def("box_places", &box_places);
  host.def("boxes", &boxes);
  host.def("warpgroup_product", &product);
}

}  // namespace pyfast::cuda
