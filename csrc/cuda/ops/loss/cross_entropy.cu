// A team of threads a row: one thread where classes are not neighbours (then rows are), a warp or a
// block where they are. Forward reads the scores once: maximum, sum of exponentials and, with label
// smoothing, the weighted sum of the scores together. Rows' losses are added in a fixed order.
#include "cuda/core/numeric.cuh"
#include "cuda/core/reduce.cuh"
#include "cuda/core/rows.cuh"
#include "cuda/ops/loss/cross_entropy.h"
#include "cuda/ops/softmax/online.h"

namespace pyfast::cuda {

namespace {

constexpr int kChunks = 512;

template <class T>
struct Scores {
  const T* x;
  const std::int64_t* label;  // or null: probabilities
  const T* soft;
  const T* weight;  // or null
  std::int64_t rows, classes, inner, ignore_index;
  float smoothing;
  bool log_probabilities;

  __device__ std::int64_t start(std::int64_t row) const {
    return row / inner * classes * inner + row % inner;
  }
  __device__ float weight_of(std::int64_t c) const { return weight ? to_float(weight[c]) : 1.0f; }
  __device__ bool ignored(std::int64_t row) const { return label && label[row] == ignore_index; }
  __device__ bool valid(std::int64_t row) const {
    return !label || (label[row] >= 0 && label[row] < classes);
  }
  // The weighted, smoothed probability of a class of the row that starts at `at`.
  __device__ float q(std::int64_t row, std::int64_t at, std::int64_t c) const {
    const float hard = label ? (label[row] == c ? 1.0f : 0.0f) : to_float(soft[at + c * inner]);
    return weight_of(c) * (hard * (1 - smoothing) + smoothing / static_cast<float>(classes));
  }
};

template <int kTeam>
struct Team {
  static constexpr int kBlock = kTeam == 256 ? 256 : 128;
  static __device__ std::int64_t row() {
    return (std::int64_t{blockIdx.x} * kBlock + threadIdx.x) / kTeam;
  }
  static __device__ int lane() { return static_cast<int>(threadIdx.x) % kTeam; }
  template <class Op>
  static __device__ float reduce(float x, Op op) {
    if constexpr (kTeam == 1)
      return x;
    else
      return team_reduce<kTeam>(x, op);
  }
};

template <int kTeam, int kWidth, class T>
__global__ void __launch_bounds__(Team<kTeam>::kBlock)
    forward_rows(float* loss, float* log_sum_exp, Scores<T> s) {
  using Threads = Team<kTeam>;
  const std::int64_t row = Threads::row();
  if (row >= s.rows) return;
  const std::int64_t at = s.start(row);
  OnlineSoftmax softmax;
  float scores = 0, mass = 0;  // sums of q x and of q over all classes, where all have some
  const bool spread = !s.label || s.smoothing != 0;
  for (std::int64_t c = Threads::lane() * kWidth; c < s.classes; c += kTeam * kWidth) {
    float v[kWidth];
    load(v, s.x + at + c * s.inner);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      softmax.push(v[j]);
      if (!spread) continue;
      const float q = s.q(row, at, c + j);
      mass += q;
      scores += q * v[j];
    }
  }
  const float top = Threads::reduce(softmax.max, Max());
  const float sum = Threads::reduce(softmax.scaled_to(top), Add());
  const float lse = s.log_probabilities ? 0.0f : top + logf(sum);
  if (spread) {
    scores = Threads::reduce(scores, Add());
    mass = Threads::reduce(mass, Add());
  }
  if (Threads::lane() != 0) return;
  if (log_sum_exp) log_sum_exp[row] = lse;
  float result;
  if (s.ignored(row))
    result = 0;
  else if (!s.valid(row))
    result = NAN;
  else if (spread)
    result = mass * lse - scores;
  else
    result = s.weight_of(s.label[row]) * (lse - to_float(s.x[at + s.label[row] * s.inner]));
  loss[row] = result;
}

// grad_input = scale (Q softmax - q); the factor of "mean" lies in divisor[0].
template <int kTeam, int kWidth, class T>
__global__ void __launch_bounds__(Team<kTeam>::kBlock)
    backward_rows(T* dx, T* dt, const T* grad, bool each, const float* log_sum_exp,
                  const float* divisor, Scores<T> s) {
  using Threads = Team<kTeam>;
  const std::int64_t row = Threads::row();
  if (row >= s.rows) return;
  const std::int64_t at = s.start(row);
  const float lse = s.log_probabilities ? 0.0f : log_sum_exp[row];
  float scale = each ? to_float(grad[row]) : to_float(grad[0]) / divisor[0];
  const bool ignored = s.ignored(row);
  if (!s.valid(row)) scale = NAN;
  float mass = 0;
  if (!s.label || s.smoothing != 0) {
    for (std::int64_t c = Threads::lane(); c < s.classes; c += kTeam) mass += s.q(row, at, c);
    mass = Threads::reduce(mass, Add());
  } else if (!ignored && s.valid(row)) {
    mass = s.weight_of(s.label[row]);
  }
  for (std::int64_t c = Threads::lane() * kWidth; c < s.classes; c += kTeam * kWidth) {
    float v[kWidth], of_target[kWidth];
    load(v, s.x + at + c * s.inner);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      of_target[j] = scale * (1 - s.smoothing) * s.weight_of(c + j) * (lse - v[j]);
      const float p = s.log_probabilities ? 0.0f : expf(v[j] - lse);
      v[j] = ignored ? 0.0f : scale * (mass * p - s.q(row, at, c + j));
    }
    store(dx + at + c * s.inner, v);
    if (dt) store(dt + at + c * s.inner, of_target);
  }
}

// partial[chunk] = (sum of losses, sum of weights) of the chunk's rows.
template <class T>
__global__ void __launch_bounds__(256) sum_chunks(float* partial, const float* loss, Scores<T> s) {
  const std::int64_t each = (s.rows + kChunks - 1) / kChunks, first = blockIdx.x * each;
  const std::int64_t last = first + each < s.rows ? first + each : s.rows;
  float sum = 0, mass = 0;
  for (std::int64_t row = first + threadIdx.x; row < last; row += 256) {
    if (loss) sum += loss[row];
    if (!s.label)
      mass += 1;
    else if (!s.ignored(row) && s.valid(row))
      mass += s.weight_of(s.label[row]);
  }
  sum = team_reduce<256>(sum, Add());
  mass = team_reduce<256>(mass, Add());
  if (threadIdx.x != 0) return;
  partial[2 * blockIdx.x] = sum;
  partial[2 * blockIdx.x + 1] = mass;
}

// output = total / divisor, and the divisor itself for backward.
template <class T>
__global__ void __launch_bounds__(kChunks)
    finish(T* output, float* divisor, const float* partial, bool mean) {
  const float sum = team_reduce<kChunks>(partial[2 * threadIdx.x], Add());
  const float mass = team_reduce<kChunks>(partial[2 * threadIdx.x + 1], Add());
  if (threadIdx.x != 0) return;
  if (output) output[0] = from_float<T>(mean ? sum / mass : sum);
  if (divisor) divisor[0] = mean ? mass : 1.0f;
}

template <class T>
__global__ void __launch_bounds__(256) copy_losses(T* output, const float* loss, std::int64_t n) {
  const std::int64_t i = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (i < n) output[i] = from_float<T>(loss[i]);
}

template <class T>
Scores<T> scores_of(const CrossEntropyParams& p, const TensorView& input, const TensorView& target,
                    const TensorView& weight) {
  std::int64_t inner = 1;
  for (int i = 2; i < input.rank(); ++i) inner *= input.shape[i];
  return {input.as<const T>(),
          p.soft ? nullptr : target.as<const std::int64_t>(),
          p.soft ? target.as<const T>() : nullptr,
          weight.defined ? weight.as<const T>() : nullptr,
          p.rows.numel(),
          p.classes,
          inner,
          p.ignore_index,
          static_cast<float>(p.label_smoothing),
          p.log_probabilities};
}

// f<kTeam, kWidth>(blocks)
template <class T, class F>
void visit_team(const Scores<T>& s, bool vectors, F&& f) {
  const auto blocks = [&](int team, int block) { return blocks_for(s.rows * team, block); };
  if (s.inner > 1) return f.template operator()<1, 1>(blocks(1, 128));
  if (s.classes <= 512) return f.template operator()<32, 1>(blocks(32, 128));
  if (!vectors) return f.template operator()<256, 1>(blocks(256, 256));
  f.template operator()<256, kVector<T>>(blocks(256, 256));
}

}  // namespace

std::int64_t cross_entropy_workspace(const CrossEntropyParams& params) {
  return params.rows.numel() + 2 * kChunks + 1;
}

void cross_entropy_forward(const CrossEntropyParams& params, const TensorView& input,
                           const TensorView& target, const TensorView& weight,
                           const TensorView& output, const TensorView& log_sum_exp,
                           const TensorView& workspace, cudaStream_t stream) {
  visit_gpu(input.dtype, [&]<class T>() {
    const Scores<T> s = scores_of<T>(params, input, target, weight);
    float *loss = workspace.as<float>(), *partial = loss + s.rows;
    float* lse = log_sum_exp.defined ? log_sum_exp.as<float>() : nullptr;
    if (s.rows > 0)
      visit_team(s, vectorizable(s.classes, input), [&]<int kTeam, int kWidth>(unsigned blocks) {
        forward_rows<kTeam, kWidth><<<blocks, Team<kTeam>::kBlock, 0, stream>>>(loss, lse, s);
      });
    if (params.reduction == Reduction::none) {
      if (s.rows > 0)
        copy_losses<<<blocks_for(s.rows, 256), 256, 0, stream>>>(output.as<T>(), loss, s.rows);
      return;
    }
    sum_chunks<<<kChunks, 256, 0, stream>>>(partial, loss, s);
    finish<<<1, kChunks, 0, stream>>>(output.as<T>(), nullptr, partial,
                                      params.reduction == Reduction::mean);
  });
}

void cross_entropy_backward(const CrossEntropyParams& params, const TensorView& grad,
                            const TensorView& input, const TensorView& target,
                            const TensorView& weight, const TensorView& log_sum_exp,
                            const TensorView& grad_input, const TensorView& grad_target,
                            const TensorView& workspace, cudaStream_t stream) {
  if (input.numel() == 0) return;
  visit_gpu(input.dtype, [&]<class T>() {
    const Scores<T> s = scores_of<T>(params, input, target, weight);
    float *partial = workspace.as<float>() + s.rows, *divisor = partial + 2 * kChunks;
    const float* lse = log_sum_exp.defined ? log_sum_exp.as<const float>() : nullptr;
    sum_chunks<<<kChunks, 256, 0, stream>>>(partial, nullptr, s);
    finish<T>
        <<<1, kChunks, 0, stream>>>(nullptr, divisor, partial, params.reduction == Reduction::mean);
    T* dt = grad_target.defined ? grad_target.as<T>() : nullptr;
    const bool vectors = vectorizable(s.classes, input, grad_input, grad_target);
    visit_team(s, vectors, [&]<int kTeam, int kWidth>(unsigned blocks) {
      backward_rows<kTeam, kWidth><<<blocks, Team<kTeam>::kBlock, 0, stream>>>(
          grad_input.as<T>(), dt, grad.as<const T>(), params.reduction == Reduction::none, lse,
          divisor, s);
    });
  });
}

}  // namespace pyfast::cuda
