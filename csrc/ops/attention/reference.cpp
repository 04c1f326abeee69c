// One row of scores at a time, in double. Pairs that are masked out are never touched.
#include <cmath>
#include <limits>
#include <vector>

#include "core/copy.h"
#include "ops/attention/kernel.h"
#include "ops/attention/layout.h"

namespace pyfast::reference {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
double at(const Strided<T>& m, std::int64_t i, std::int64_t j) {
  return m.data[i * m.row + j * m.column];
}

// What the mask adds to the score of (i, j): -inf where it forbids the pair.
template <class T>
double mask_term(const AttentionHead<T>& h, std::int64_t i, std::int64_t j) {
  if (j < i - h.before || j > i + h.after) return -kInfinity;
  switch (h.mask) {
    case AttentionMask::none: return 0;
    case AttentionMask::boolean:
      return h.allowed.data[i * h.allowed.row + j * h.allowed.column] ? 0 : -kInfinity;
    case AttentionMask::additive: return at(h.bias, i, j);
  }
  return 0;
}

// 0 where dropout drops the weight of (i, j), else what it is multiplied by.
template <class T>
double keep(const AttentionHead<T>& h, std::int64_t i, std::int64_t j) {
  if (!h.dropout) return 1;
  const std::uint64_t block =
      h.first_block + static_cast<std::uint64_t>(i * ((h.keys + 3) / 4) + j / 4);
  const std::uint32_t word = philox_block(h.seed, h.offset, block).word[j % 4];
  return word >= h.threshold ? double{h.keep_scale} : 0.0;
}

template <class T>
std::vector<double> scores(const AttentionHead<T>& h, std::int64_t i) {
  std::vector<double> s(static_cast<std::size_t>(h.keys));
  for (std::int64_t j = 0; j < h.keys; ++j) {
    const double term = mask_term(h, i, j);
    double dot = 0;
    if (term != -kInfinity)
      for (std::int64_t e = 0; e < h.width; ++e) dot += at(h.query, i, e) * at(h.key, j, e);
    s[static_cast<std::size_t>(j)] = term == -kInfinity ? term : dot * double{h.scale} + term;
  }
  return s;
}

constexpr double kLog2e = 1.4426950408889634;

// A row's maximum, and its exponentials' sum relative to that.
struct Row {
  double max, sum;

  double weight(double score) const {  // 0 for every key of a fully masked row
    return score == -kInfinity ? 0 : std::exp(score - max) / sum;
  }
};

Row row_of(const std::vector<double>& s) {
  double top = -kInfinity, sum = 0;
  for (double v : s) top = v > top ? v : top;
  for (double v : s) sum += v == -kInfinity ? 0 : std::exp(v - top);
  return {top, sum};
}

template <class T>
void forward_row(const AttentionHead<T>& h, std::int64_t i, T* output, T* max, T* sum) {
  const std::vector<double> s = scores(h, i);
  const Row row = row_of(s);
  std::vector<double> mean(static_cast<std::size_t>(h.value_width));
  for (std::int64_t j = 0; j < h.keys; ++j) {
    if (mask_term(h, i, j) == -kInfinity) continue;
    const double p = row.weight(s[static_cast<std::size_t>(j)]) * keep(h, i, j);
    for (std::int64_t d = 0; d < h.value_width; ++d)
      mean[static_cast<std::size_t>(d)] += p * at(h.value, j, d);
  }
  for (std::int64_t d = 0; d < h.value_width; ++d)
    output[d] = static_cast<T>(mean[static_cast<std::size_t>(d)]);
  *max = static_cast<T>(row.max * kLog2e);
  *sum = static_cast<T>(row.sum);
}

// Gradients in double, C-ordered, added to from every head.
struct Sums {
  explicit Sums(const TensorView& target)
      : view(target), values(target.defined ? static_cast<std::size_t>(target.numel()) : 0) {}
  void add(std::int64_t at, double v) {
    if (view.defined) values[static_cast<std::size_t>(at)] += v;
  }
  template <class T>
  void write() const {
    for (std::size_t i = 0; i < values.size(); ++i)
      view.as<T>()[batch_offset(view.shape, view.strides, static_cast<std::int64_t>(i))] =
          static_cast<T>(values[i]);
  }
  TensorView view;
  std::vector<double> values;
};

struct Gradients {
  Sums query, key, value, mask;
};

struct Origin {  // where this head's matrices begin in the gradients
  std::int64_t query, key, value, mask;
};

// dP of one pair, before dropout.
template <class T>
double grad_of_weight(const AttentionHead<T>& h, const Strided<T>& grad, std::int64_t i,
                      std::int64_t j) {
  double dp = 0;
  for (std::int64_t d = 0; d < h.value_width; ++d) dp += at(grad, i, d) * at(h.value, j, d);
  return dp;
}

// The share of one pair of query i and key j. `row_sum` is the row's sum of grad * output.
template <class T>
void backward_pair(const AttentionHead<T>& h, const AttentionLayout& to, const Strided<T>& grad,
                   std::int64_t i, std::int64_t j, double p, double row_sum, const Origin& o,
                   Gradients& g) {
  const double kept = keep(h, i, j);
  for (std::int64_t d = 0; d < h.value_width; ++d)
    g.value.add(o.value + j * h.value_width + d, p * kept * at(grad, i, d));
  const double ds = p * (grad_of_weight(h, grad, i, j) * kept - row_sum);
  for (std::int64_t e = 0; e < h.width; ++e) {
    g.query.add(o.query + i * h.width + e, ds * double{h.scale} * at(h.key, j, e));
    g.key.add(o.key + j * h.width + e, ds * double{h.scale} * at(h.query, i, e));
  }
  g.mask.add(o.mask + i * to.mask_row + j * to.mask_column, ds);
}

}  // namespace

void attention_forward(const AttentionParams& params, const AttentionLayout& layout,
                       const AttentionInputs& inputs, const TensorView& output,
                       const AttentionRows& rows) {
  const Dims strides = layout.output_strides(output);
  visit(inputs.query.dtype, [&]<class T>() {
    for (std::int64_t b = 0; b < layout.batch.numel(); ++b) {
      const auto head = head_at<T>(params, layout, inputs, b);
      for (std::int64_t i = 0; i < layout.queries; ++i) {
        const std::int64_t row = b * layout.queries + i;
        T* to = output.as<T>() + batch_offset(layout.batch, strides, b) +
                i * output.strides[output.rank() - 2];
        forward_row(head, i, to, rows.max.as<T>() + row, rows.sum.as<T>() + row);
      }
    }
  });
}

void attention_backward(const AttentionParams& params, const AttentionLayout& layout,
                        const AttentionInputs& inputs, const TensorView& grad, const TensorView&,
                        const AttentionRows&, const AttentionGradients& gradients) {
  visit(inputs.query.dtype, [&]<class T>() {
    const auto packed = [](const TensorView& x) {
      return x.defined ? TensorView(nullptr, x.dtype, x.shape) : x;
    };
    const AttentionLayout to = gradient_layout(layout, params,
                                               {packed(gradients.query), packed(gradients.key),
                                                packed(gradients.value), packed(gradients.mask)});
    const Contiguous<T> g(grad);
    Gradients sums{Sums(gradients.query), Sums(gradients.key), Sums(gradients.value),
                   Sums(gradients.mask)};
    for (std::int64_t b = 0; b < layout.batch.numel(); ++b) {
      const auto head = head_at<T>(params, layout, inputs, b);
      const auto offset = [&](const Sums& s, const Dims& strides) {
        return s.view.defined ? batch_offset(layout.batch, strides, b) : 0;
      };
      const Origin o{offset(sums.query, to.query), offset(sums.key, to.key),
                     offset(sums.value, to.value), offset(sums.mask, to.mask)};
      for (std::int64_t i = 0; i < layout.queries; ++i) {
        const std::int64_t start = (b * layout.queries + i) * layout.value_width;
        const Strided<T> grad_row{g.data() + start - i * layout.value_width, layout.value_width, 1};
        const std::vector<double> s = scores(head, i);
        const Row found = row_of(s);  // not what forward found, in T
        double row_sum = 0;
        for (std::int64_t j = 0; j < layout.keys; ++j)
          if (mask_term(head, i, j) != -kInfinity)
            row_sum += found.weight(s[static_cast<std::size_t>(j)]) * keep(head, i, j) *
                       grad_of_weight(head, grad_row, i, j);
        for (std::int64_t j = 0; j < layout.keys; ++j) {
          if (mask_term(head, i, j) == -kInfinity) continue;
          const double p = found.weight(s[static_cast<std::size_t>(j)]);
          backward_pair(head, to, grad_row, i, j, p, row_sum, o, sums);
        }
      }
    }
    sums.query.write<T>();
    sums.key.write<T>();
    sums.value.write<T>();
    sums.mask.write<T>();
  });
}

}  // namespace pyfast::reference
