#include "cuda/ops/matmul/cublaslt.h"

#ifndef _WIN32
#include <dlfcn.h>
#endif

#include <library_types.h>

#include <map>
#include <memory>
#include <mutex>

namespace pyfast::cuda {

namespace {

// The part of cuBLASLt's C interface (11 to 13) that is used; its header need not be there.
using Status = int;
using Object = void*;
struct Heuristic {
  std::uint64_t algorithm[8];
  std::size_t workspace;
  Status state;
  float waves;
  int reserved[4];
};
constexpr int kCompute32F = 68;
constexpr int kTransposeA = 3, kTransposeB = 4, kEpilogue = 7, kBiasPointer = 8;
constexpr int kBatchCount = 5, kBatchStride = 6;
constexpr int kMaxWorkspace = 1;
constexpr std::uint32_t kEpilogueBias = 4;

struct Library {
  Status (*create)(Object*);
  Status (*matmul)(Object, Object, const void*, const void*, Object, const void*, Object,
                   const void*, const void*, Object, void*, Object, const void*, void*, std::size_t,
                   cudaStream_t);
  Status (*heuristic)(Object, Object, Object, Object, Object, Object, Object, int, Heuristic*,
                      int*);
  Status (*desc_create)(Object*, int, int);
  Status (*desc_set)(Object, int, const void*, std::size_t);
  Status (*desc_destroy)(Object);
  Status (*layout_create)(Object*, int, std::uint64_t, std::uint64_t, std::int64_t);
  Status (*layout_set)(Object, int, const void*, std::size_t);
  Status (*layout_destroy)(Object);
  Status (*preference_create)(Object*);
  Status (*preference_set)(Object, int, const void*, std::size_t);
  Status (*preference_destroy)(Object);
};

#ifdef _WIN32
const Library* library() { return nullptr; }
#else
template <class F>
bool find(void* handle, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(handle, name));
  return function != nullptr;
}

std::optional<Library> open_library() {
  void* h = nullptr;
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"})
    if (!h) h = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  Library l{};
  const bool whole = h && find(h, "cublasLtCreate", l.create) &&
                     find(h, "cublasLtMatmul", l.matmul) &&
                     find(h, "cublasLtMatmulAlgoGetHeuristic", l.heuristic) &&
                     find(h, "cublasLtMatmulDescCreate", l.desc_create) &&
                     find(h, "cublasLtMatmulDescSetAttribute", l.desc_set) &&
                     find(h, "cublasLtMatmulDescDestroy", l.desc_destroy) &&
                     find(h, "cublasLtMatrixLayoutCreate", l.layout_create) &&
                     find(h, "cublasLtMatrixLayoutSetAttribute", l.layout_set) &&
                     find(h, "cublasLtMatrixLayoutDestroy", l.layout_destroy) &&
                     find(h, "cublasLtMatmulPreferenceCreate", l.preference_create) &&
                     find(h, "cublasLtMatmulPreferenceSetAttribute", l.preference_set) &&
                     find(h, "cublasLtMatmulPreferenceDestroy", l.preference_destroy);
  return whole ? std::optional(l) : std::nullopt;
}

const Library* library() {
  static const std::optional<Library> found = open_library();
  return found ? &*found : nullptr;
}
#endif

// A handle per device, made at its first product and kept.
Object handle_of(const Library& l) {
  static std::mutex mutex;
  static std::map<int, Object> handles;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return nullptr;
  const std::lock_guard lock(mutex);
  Object& handle = handles[device];
  if (!handle && l.create(&handle) != 0) handle = nullptr;
  return handle;
}

using Owned = std::unique_ptr<void, Status (*)(Object)>;

int data_type(DType t) {
  return t == DType::f32 ? CUDA_R_32F : t == DType::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

Owned layout_of(const Library& l, const LtMatrix& m, DType dtype, std::int64_t batch) {
  Object object = nullptr;
  const auto count = static_cast<std::int32_t>(batch);
  const bool made = l.layout_create(&object, data_type(dtype), static_cast<std::uint64_t>(m.rows),
                                    static_cast<std::uint64_t>(m.columns), m.leading) == 0;
  Owned layout(made ? object : nullptr, l.layout_destroy);
  if (!made || l.layout_set(object, kBatchCount, &count, sizeof count) != 0 ||
      l.layout_set(object, kBatchStride, &m.batch_stride, sizeof m.batch_stride) != 0)
    layout.reset();
  return layout;
}

Owned description_of(const Library& l, const LtProduct& p, const TensorView& bias) {
  Object object = nullptr;
  const bool made = l.desc_create(&object, kCompute32F, CUDA_R_32F) == 0;
  Owned description(made ? object : nullptr, l.desc_destroy);
  const std::int32_t left = p.left.transposed, right = p.right.transposed;
  bool set = made && l.desc_set(object, kTransposeA, &left, sizeof left) == 0 &&
             l.desc_set(object, kTransposeB, &right, sizeof right) == 0;
  if (set && bias.defined)
    set = l.desc_set(object, kEpilogue, &kEpilogueBias, sizeof kEpilogueBias) == 0 &&
          l.desc_set(object, kBiasPointer, &bias.data, sizeof bias.data) == 0;
  if (!set) description.reset();
  return description;
}

Owned preference_of(const Library& l) {
  Object object = nullptr;
  const bool made = l.preference_create(&object) == 0;
  Owned preference(made ? object : nullptr, l.preference_destroy);
  const std::uint64_t most = kLtWorkspace;
  if (!made || l.preference_set(object, kMaxWorkspace, &most, sizeof most) != 0) preference.reset();
  return preference;
}

// An operand of `rows` rows and `depth` columns; none where neither lies densely.
std::optional<LtMatrix> matrix_of(const StridedMap& map, std::int64_t rows, std::int64_t depth) {
  if (map.batch.rank > 1 || map.depth.rank > 1) return std::nullopt;
  const std::int64_t step = map.batch.rank ? map.batch.stride[0] : 0;
  const std::int64_t k = map.depth.rank ? map.depth.stride[0] : 1;
  const std::int64_t row = rows == 1 ? depth : map.row;
  if (step < 0) return std::nullopt;
  if (k == 1 && row >= depth) return LtMatrix{depth, rows, row, step, true};
  if (map.row == 1 && k >= rows) return LtMatrix{rows, depth, k, step, false};
  return std::nullopt;
}

// The algorithms offered take operands to lie as allocators place them; views may begin anywhere.
bool aligned(const TensorView& x) {
  return !x.defined || reinterpret_cast<std::uintptr_t>(x.data) % 256 == 0;
}

}  // namespace

std::optional<LtProduct> lt_product(const Product& p) {
  const Contraction& c = p.size;
  const auto left = matrix_of(p.b, c.columns, c.depth);
  auto right = matrix_of(p.a, c.rows, c.depth);
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  const bool small = c.batch < kMost && c.rows < kMost && c.columns < kMost && c.depth < kMost;
  if (!left || !right || !small || c.depth == 0) return std::nullopt;
  right->transposed = !right->transposed;  // the right operand is (depth, rows)
  return LtProduct{
      *left, *right, {c.columns, c.rows, c.columns, c.rows * c.columns, false}, c.batch};
}

bool has_cublaslt() { return library() != nullptr; }

bool multiply_with_cublaslt(const Product& product, const TensorView& a, const TensorView& b,
                            const TensorView& bias, const TensorView& output,
                            const TensorView& workspace, cudaStream_t stream) {
  if (!aligned(a) || !aligned(b) || !aligned(bias) || !aligned(output)) return false;
  const Library* l = library();
  const std::optional<LtProduct> p = lt_product(product);
  const Object handle = l && p ? handle_of(*l) : nullptr;
  if (!handle) return false;
  const Owned description = description_of(*l, *p, bias), preference = preference_of(*l);
  const Owned left = layout_of(*l, p->left, b.dtype, p->batch);
  const Owned right = layout_of(*l, p->right, a.dtype, p->batch);
  const Owned out = layout_of(*l, p->output, output.dtype, p->batch);
  if (!description || !preference || !left || !right || !out) return false;
  Heuristic best{};
  int found = 0;
  if (l->heuristic(handle, description.get(), left.get(), right.get(), out.get(), out.get(),
                   preference.get(), 1, &best, &found) != 0 ||
      found == 0)
    return false;
  const float one = 1, zero = 0;
  return l->matmul(handle, description.get(), &one, b.data, left.get(), a.data, right.get(), &zero,
                   output.data, out.get(), output.data, out.get(), best.algorithm, workspace.data,
                   static_cast<std::size_t>(kLtWorkspace), stream) == 0;
}

}  // namespace pyfast::cuda
