"""
pyfast's compiled kernels; use them through pyfast.ops.
"""

from __future__ import annotations

import typing

__all__: list[str] = [
    "adam_step",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "cpu_info",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "embedding",
    "embedding_backward",
    "fma_peak",
    "fold",
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "isa",
    "isa_env_problem",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "matmul",
    "matmul_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "num_threads",
    "pad",
    "pad_backward",
    "philox4x32",
    "pointwise_loss",
    "pointwise_loss_backward",
    "pool_clear",
    "pool_set_cache_limit",
    "pool_statistics",
    "rms_norm",
    "rms_norm_backward",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_backward",
    "set_num_threads",
    "sgd_step",
    "simd_evaluate",
    "simd_selftest",
    "softmax",
    "softmax_backward",
    "unfold",
    "use_reference",
]

def adam_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    exp_avg: list[typing.Any],
    exp_avg_sq: list[typing.Any],
    max_exp_avg_sq: list[typing.Any],
    steps: list[typing.Any],
    lr: typing.SupportsFloat | typing.SupportsIndex,
    beta1: typing.SupportsFloat | typing.SupportsIndex,
    beta2: typing.SupportsFloat | typing.SupportsIndex,
    eps: typing.SupportsFloat | typing.SupportsIndex,
    weight_decay: typing.SupportsFloat | typing.SupportsIndex,
    maximize: bool,
    decoupled: bool,
) -> None: ...
def adaptive_avg_pool1d(input: typing.Any, output_size: typing.Any) -> typing.Any: ...
def adaptive_avg_pool1d_backward(
    grad: typing.Any, input_shape: typing.Any, output_size: typing.Any
) -> typing.Any: ...
def adaptive_avg_pool2d(input: typing.Any, output_size: typing.Any) -> typing.Any: ...
def adaptive_avg_pool2d_backward(
    grad: typing.Any, input_shape: typing.Any, output_size: typing.Any
) -> typing.Any: ...
def adaptive_max_pool1d(
    input: typing.Any, output_size: typing.Any, return_indices: bool
) -> typing.Any: ...
def adaptive_max_pool2d(
    input: typing.Any, output_size: typing.Any, return_indices: bool
) -> typing.Any: ...
def avg_pool1d(
    input: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: typing.Any,
) -> typing.Any: ...
def avg_pool1d_backward(
    grad: typing.Any,
    input_shape: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: typing.Any,
) -> typing.Any: ...
def avg_pool2d(
    input: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: typing.Any,
) -> typing.Any: ...
def avg_pool2d_backward(
    grad: typing.Any,
    input_shape: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: typing.Any,
) -> typing.Any: ...
def batch_norm(
    input: typing.Any,
    running_mean: typing.Any,
    running_var: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    training: typing.Any,
    momentum: typing.Any,
    eps: typing.Any,
    activation: typing.Any,
    save: bool = False,
) -> typing.Any: ...
def batch_norm_backward(
    grad: typing.Any,
    input: typing.Any,
    statistics: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    training: typing.Any,
    eps: typing.Any,
    activation: typing.Any,
    weight_gradient: bool,
    bias_gradient: bool,
) -> typing.Any: ...
def conv1d(
    input: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    groups: typing.Any,
    activation: typing.Any,
    save: bool = False,
) -> typing.Any: ...
def conv1d_backward(
    grad: typing.Any,
    input: typing.Any,
    weight: typing.Any,
    saved: typing.Any,
    wanted: tuple[typing.Any, ...],
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    groups: typing.Any,
    activation: typing.Any,
) -> tuple[typing.Any, ...]: ...
def conv2d(
    input: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    groups: typing.Any,
    activation: typing.Any,
    save: bool = False,
) -> typing.Any: ...
def conv2d_backward(
    grad: typing.Any,
    input: typing.Any,
    weight: typing.Any,
    saved: typing.Any,
    wanted: tuple[typing.Any, ...],
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    groups: typing.Any,
    activation: typing.Any,
) -> tuple[typing.Any, ...]: ...
def conv_transpose1d(
    input: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    output_padding: typing.Any,
    groups: typing.Any,
    dilation: typing.Any,
    activation: typing.Any,
    save: bool = False,
) -> typing.Any: ...
def conv_transpose1d_backward(
    grad: typing.Any,
    input: typing.Any,
    weight: typing.Any,
    saved: typing.Any,
    wanted: tuple[typing.Any, ...],
    stride: typing.Any,
    padding: typing.Any,
    output_padding: typing.Any,
    groups: typing.Any,
    dilation: typing.Any,
    activation: typing.Any,
) -> tuple[typing.Any, ...]: ...
def conv_transpose2d(
    input: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    output_padding: typing.Any,
    groups: typing.Any,
    dilation: typing.Any,
    activation: typing.Any,
    save: bool = False,
) -> typing.Any: ...
def conv_transpose2d_backward(
    grad: typing.Any,
    input: typing.Any,
    weight: typing.Any,
    saved: typing.Any,
    wanted: tuple[typing.Any, ...],
    stride: typing.Any,
    padding: typing.Any,
    output_padding: typing.Any,
    groups: typing.Any,
    dilation: typing.Any,
    activation: typing.Any,
) -> tuple[typing.Any, ...]: ...
def cpu_info() -> dict[str, typing.Any]: ...
def cross_entropy(
    nll: bool,
    input: typing.Any,
    target: typing.Any,
    weight: typing.Any,
    ignore_index: typing.Any,
    reduction: str,
    label_smoothing: typing.SupportsFloat | typing.SupportsIndex,
) -> tuple[typing.Any, ...]: ...
def cross_entropy_backward(
    nll: bool,
    grad: typing.Any,
    input: typing.Any,
    target: typing.Any,
    weight: typing.Any,
    log_sum_exp: typing.Any,
    ignore_index: typing.Any,
    reduction: str,
    label_smoothing: typing.SupportsFloat | typing.SupportsIndex,
    need_target: bool,
) -> tuple[typing.Any, ...]: ...
def dropout(
    op: str,
    input: typing.Any,
    p: typing.SupportsFloat | typing.SupportsIndex,
    seed: typing.SupportsInt | typing.SupportsIndex,
    offset: typing.SupportsInt | typing.SupportsIndex,
    span: typing.SupportsInt | typing.SupportsIndex,
    alpha: bool,
) -> typing.Any: ...
def dropout_backward(
    grad: typing.Any,
    p: typing.SupportsFloat | typing.SupportsIndex,
    seed: typing.SupportsInt | typing.SupportsIndex,
    offset: typing.SupportsInt | typing.SupportsIndex,
    span: typing.SupportsInt | typing.SupportsIndex,
    alpha: bool,
) -> typing.Any: ...
def embedding(input: typing.Any, weight: typing.Any) -> typing.Any: ...
def embedding_backward(
    grad: typing.Any,
    input: typing.Any,
    rows: typing.Any,
    padding_idx: typing.SupportsInt | typing.SupportsIndex,
    scale_grad_by_freq: bool,
) -> typing.Any: ...
def fma_peak(dtype: str, seconds: typing.SupportsFloat | typing.SupportsIndex) -> float: ...
def fold(
    input: typing.Any,
    output_size: typing.Any,
    kernel_size: typing.Any,
    dilation: typing.Any,
    padding: typing.Any,
    stride: typing.Any,
) -> typing.Any: ...
def group_norm(
    input: typing.Any,
    num_groups: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    eps: typing.Any,
    save: bool = False,
) -> typing.Any: ...
def group_norm_backward(
    grad: typing.Any,
    input: typing.Any,
    statistics: typing.Any,
    weight: typing.Any,
    num_groups: typing.Any,
    eps: typing.Any,
    weight_gradient: bool,
    bias_gradient: bool,
) -> typing.Any: ...
def instance_norm(
    input: typing.Any,
    running_mean: typing.Any,
    running_var: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    use_input_stats: typing.Any,
    momentum: typing.Any,
    eps: typing.Any,
    save: bool = False,
) -> typing.Any: ...
def isa() -> str: ...
def isa_env_problem() -> str: ...
def layer_norm(
    input: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    normalized_shape: typing.Any,
    eps: typing.Any,
    save: bool = False,
) -> typing.Any: ...
def layer_norm_backward(
    grad: typing.Any,
    input: typing.Any,
    statistics: typing.Any,
    weight: typing.Any,
    normalized_shape: typing.Any,
    eps: typing.Any,
    weight_gradient: bool,
    bias_gradient: bool,
) -> typing.Any: ...
def linear(
    input: typing.Any, weight: typing.Any, bias: typing.Any, activation: typing.Any, keep: bool
) -> typing.Any: ...
def linear_backward(
    grad: typing.Any,
    input: typing.Any,
    weight: typing.Any,
    saved: typing.Any,
    activation: typing.Any,
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> typing.Any: ...
def log_softmax(input: typing.Any, dim: typing.Any) -> typing.Any: ...
def log_softmax_backward(grad: typing.Any, output: typing.Any, dim: typing.Any) -> typing.Any: ...
def matmul(input: typing.Any, other: typing.Any) -> typing.Any: ...
def matmul_backward(
    grad: typing.Any, input: typing.Any, other: typing.Any, need_input: bool, need_other: bool
) -> typing.Any: ...
def max_pool1d(
    input: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    ceil_mode: bool,
    return_indices: bool,
) -> typing.Any: ...
def max_pool1d_backward(
    grad: typing.Any, indices: typing.Any, input_shape: typing.Any
) -> typing.Any: ...
def max_pool2d(
    input: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    ceil_mode: bool,
    return_indices: bool,
) -> typing.Any: ...
def max_pool2d_backward(
    grad: typing.Any, indices: typing.Any, input_shape: typing.Any
) -> typing.Any: ...
def num_threads() -> int: ...
def pad(input: typing.Any, pad: typing.Any, mode: typing.Any, value: typing.Any) -> typing.Any: ...
def pad_backward(
    grad: typing.Any, input_shape: typing.Any, pad: typing.Any, mode: typing.Any
) -> typing.Any: ...
def philox4x32(
    arg0: typing.SupportsInt | typing.SupportsIndex,
    arg1: typing.SupportsInt | typing.SupportsIndex,
    arg2: typing.SupportsInt | typing.SupportsIndex,
    arg3: typing.SupportsInt | typing.SupportsIndex,
    arg4: typing.SupportsInt | typing.SupportsIndex,
    arg5: typing.SupportsInt | typing.SupportsIndex,
) -> tuple[typing.Any, ...]: ...
def pointwise_loss(
    op: str,
    loss: str,
    scale: typing.SupportsFloat | typing.SupportsIndex,
    reduction: str,
    input: typing.Any,
    target: typing.Any,
    weight: typing.Any,
    pos_weight: typing.Any,
) -> typing.Any: ...
def pointwise_loss_backward(
    op: str,
    loss: str,
    scale: typing.SupportsFloat | typing.SupportsIndex,
    reduction: str,
    grad: typing.Any,
    input: typing.Any,
    target: typing.Any,
    weight: typing.Any,
    pos_weight: typing.Any,
    need_target: bool,
) -> tuple[typing.Any, ...]: ...
def pool_clear() -> None: ...
def pool_set_cache_limit(bytes: typing.Any) -> None: ...
def pool_statistics() -> dict[str, typing.Any]: ...
def rms_norm(
    input: typing.Any,
    weight: typing.Any,
    bias: typing.Any,
    normalized_shape: typing.Any,
    eps: typing.Any,
    save: bool = False,
) -> typing.Any: ...
def rms_norm_backward(
    grad: typing.Any,
    input: typing.Any,
    statistics: typing.Any,
    weight: typing.Any,
    normalized_shape: typing.Any,
    eps: typing.Any,
    weight_gradient: bool,
    bias_gradient: bool,
) -> typing.Any: ...
def scaled_dot_product_attention(
    query: typing.Any,
    key: typing.Any,
    value: typing.Any,
    attn_mask: typing.Any = None,
    dropout_p: typing.Any = 0.0,
    is_causal: bool = False,
    scale: typing.Any = None,
    enable_gqa: bool = False,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    offset: typing.SupportsInt | typing.SupportsIndex = 0,
) -> tuple[typing.Any, ...]: ...
def scaled_dot_product_attention_backward(
    grad: typing.Any,
    query: typing.Any,
    key: typing.Any,
    value: typing.Any,
    attn_mask: typing.Any,
    output: typing.Any,
    lse: typing.Any,
    dropout_p: typing.Any,
    is_causal: bool,
    scale: typing.Any,
    enable_gqa: bool,
    seed: typing.SupportsInt | typing.SupportsIndex,
    offset: typing.SupportsInt | typing.SupportsIndex,
    need_query: bool,
    need_key: bool,
    need_value: bool,
    need_mask: bool,
) -> tuple[typing.Any, ...]: ...
def set_num_threads(n: typing.Any) -> None: ...
def sgd_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    momentum_buffers: list[typing.Any],
    steps: list[typing.Any],
    lr: typing.SupportsFloat | typing.SupportsIndex,
    momentum: typing.SupportsFloat | typing.SupportsIndex,
    dampening: typing.SupportsFloat | typing.SupportsIndex,
    weight_decay: typing.SupportsFloat | typing.SupportsIndex,
    nesterov: bool,
    maximize: bool,
) -> None: ...
def simd_evaluate(name: str, x: typing.Any) -> typing.Any: ...
def simd_selftest(float64: bool) -> typing.Any: ...
def softmax(input: typing.Any, dim: typing.Any) -> typing.Any: ...
def softmax_backward(grad: typing.Any, output: typing.Any, dim: typing.Any) -> typing.Any: ...
def unfold(
    input: typing.Any,
    kernel_size: typing.Any,
    dilation: typing.Any,
    padding: typing.Any,
    stride: typing.Any,
) -> typing.Any: ...
def use_reference(on: bool) -> None: ...
