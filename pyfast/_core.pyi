"""
pyfast's compiled kernels; use them through pyfast.ops.
"""

from __future__ import annotations

import typing

__all__: list[str] = [
    "PackedConvWeight",
    "PackedWeight",
    "adadelta_step",
    "adagrad_step",
    "adam_step",
    "adamax_step",
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
    "batch_norm_add",
    "batch_norm_add_backward",
    "batch_norm_backward",
    "binary",
    "celu",
    "celu_backward",
    "clamp_gradients",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv_packed",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "cpu_info",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "elementary",
    "elu",
    "elu_backward",
    "embedding",
    "embedding_backward",
    "float32_matmul_precision",
    "fma_peak",
    "fold",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "gemm",
    "gemm_digits",
    "gemm_plan",
    "glu",
    "glu_backward",
    "gradient_norm",
    "group_norm",
    "group_norm_backward",
    "hardshrink",
    "hardshrink_backward",
    "hardsigmoid",
    "hardsigmoid_backward",
    "hardswish",
    "hardswish_backward",
    "hardtanh",
    "hardtanh_backward",
    "heads_attention",
    "heads_attention_backward",
    "instance_norm",
    "isa",
    "isa_env_problem",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward",
    "linear_packed",
    "log_softmax",
    "log_softmax_backward",
    "logsigmoid",
    "logsigmoid_backward",
    "matmul",
    "matmul_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool1d_taps",
    "max_pool1d_taps_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_taps",
    "max_pool2d_taps_backward",
    "mish",
    "mish_backward",
    "nadam_step",
    "num_threads",
    "owns_memory",
    "pad",
    "pad_backward",
    "philox4x32",
    "pointwise_loss",
    "pointwise_loss_backward",
    "pool_clear",
    "pool_set_cache_limit",
    "pool_statistics",
    "prelu",
    "prelu_backward",
    "radam_step",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "rms_norm",
    "rms_norm_backward",
    "rmsprop_step",
    "scale_gradients",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_backward",
    "selu",
    "selu_backward",
    "set_float32_matmul_precision",
    "set_num_threads",
    "sgd_step",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "simd_evaluate",
    "simd_selftest",
    "softmax",
    "softmax_backward",
    "softmin",
    "softmin_backward",
    "softplus",
    "softplus_backward",
    "softshrink",
    "softshrink_backward",
    "softsign",
    "softsign_backward",
    "tanh",
    "tanh_backward",
    "tanhshrink",
    "tanhshrink_backward",
    "threshold",
    "threshold_backward",
    "unfold",
    "use_reference",
]

class PackedConvWeight:
    def __init__(self, weight: typing.Any, groups: typing.Any = 1) -> None: ...

class PackedWeight:
    def __init__(self, weight: typing.Any) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...

def adadelta_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    states: list[typing.Any],
    steps: list[typing.Any],
    groups: list[typing.Any],
    settings: list[typing.Any],
) -> None: ...
def adagrad_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    states: list[typing.Any],
    steps: list[typing.Any],
    groups: list[typing.Any],
    settings: list[typing.Any],
) -> None: ...
def adam_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    states: list[typing.Any],
    steps: list[typing.Any],
    groups: list[typing.Any],
    settings: list[typing.Any],
) -> None: ...
def adamax_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    states: list[typing.Any],
    steps: list[typing.Any],
    groups: list[typing.Any],
    settings: list[typing.Any],
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
def batch_norm_add(
    input: typing.Any,
    residual: typing.Any,
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
def batch_norm_add_backward(
    grad: typing.Any,
    input: typing.Any,
    statistics: typing.Any,
    saved: typing.Any,
    weight: typing.Any,
    training: typing.Any,
    eps: typing.Any,
    activation: typing.Any,
    weight_gradient: bool,
    bias_gradient: bool,
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
def binary(operation: typing.Any, a: typing.Any, b: typing.Any) -> typing.Any: ...
def celu(input: typing.Any, alpha: typing.Any) -> typing.Any: ...
def celu_backward(grad: typing.Any, saved: typing.Any, alpha: typing.Any) -> typing.Any: ...
def clamp_gradients(
    grads: list[typing.Any], limit: typing.SupportsFloat | typing.SupportsIndex
) -> None: ...
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
def conv_packed(
    input: typing.Any,
    weight: PackedConvWeight,
    bias: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    activation: typing.Any,
    residual: typing.Any = None,
) -> typing.Any: ...
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
def elementary(function: typing.Any, input: typing.Any) -> typing.Any: ...
def elu(input: typing.Any, alpha: typing.Any) -> typing.Any: ...
def elu_backward(grad: typing.Any, saved: typing.Any, alpha: typing.Any) -> typing.Any: ...
def embedding(input: typing.Any, weight: typing.Any) -> typing.Any: ...
def embedding_backward(
    grad: typing.Any,
    input: typing.Any,
    rows: typing.Any,
    padding_idx: typing.SupportsInt | typing.SupportsIndex,
    scale_grad_by_freq: bool,
) -> typing.Any: ...
def float32_matmul_precision() -> str: ...
def fma_peak(dtype: str, seconds: typing.SupportsFloat | typing.SupportsIndex) -> float: ...
def fold(
    input: typing.Any,
    output_size: typing.Any,
    kernel_size: typing.Any,
    dilation: typing.Any,
    padding: typing.Any,
    stride: typing.Any,
) -> typing.Any: ...
def gelu(input: typing.Any) -> typing.Any: ...
def gelu_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def gelu_tanh(input: typing.Any) -> typing.Any: ...
def gelu_tanh_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def gemm(
    a: typing.Any,
    b: typing.Any,
    *,
    alpha: typing.SupportsFloat | typing.SupportsIndex = 1.0,
    row_scale: typing.Any = None,
    row_bias: typing.Any = None,
    col_bias: typing.Any = None,
    residual: typing.Any = None,
    activation: typing.Any = None,
    column_major: bool = False,
) -> typing.Any: ...
def gemm_digits(
    a: typing.Any, b: typing.Any, products: typing.SupportsInt | typing.SupportsIndex
) -> typing.Any: ...
def gemm_plan(
    m: typing.SupportsInt | typing.SupportsIndex,
    n: typing.SupportsInt | typing.SupportsIndex,
    k: typing.SupportsInt | typing.SupportsIndex,
    float64: bool,
) -> dict[str, typing.Any]: ...
def glu(input: typing.Any, dim: typing.Any) -> typing.Any: ...
def glu_backward(grad: typing.Any, input: typing.Any, dim: typing.Any) -> typing.Any: ...
def gradient_norm(
    grads: list[typing.Any], norm_type: typing.SupportsFloat | typing.SupportsIndex
) -> float: ...
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
def hardshrink(input: typing.Any, lambd: typing.Any) -> typing.Any: ...
def hardshrink_backward(grad: typing.Any, saved: typing.Any, lambd: typing.Any) -> typing.Any: ...
def hardsigmoid(input: typing.Any) -> typing.Any: ...
def hardsigmoid_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def hardswish(input: typing.Any) -> typing.Any: ...
def hardswish_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def hardtanh(input: typing.Any, min_val: typing.Any, max_val: typing.Any) -> typing.Any: ...
def hardtanh_backward(
    grad: typing.Any, saved: typing.Any, min_val: typing.Any, max_val: typing.Any
) -> typing.Any: ...
def heads_attention(
    projection: typing.Any,
    heads: typing.SupportsInt | typing.SupportsIndex,
    groups: typing.SupportsInt | typing.SupportsIndex,
    batch_first: bool,
    attn_mask: typing.Any = None,
    dropout_p: typing.Any = 0.0,
    is_causal: bool = False,
    seed: typing.SupportsInt | typing.SupportsIndex = 0,
    offset: typing.SupportsInt | typing.SupportsIndex = 0,
    window_size: typing.Any = None,
) -> tuple[typing.Any, ...]: ...
def heads_attention_backward(
    grad: typing.Any,
    projection: typing.Any,
    attn_mask: typing.Any,
    output: typing.Any,
    row_max: typing.Any,
    row_sum: typing.Any,
    heads: typing.SupportsInt | typing.SupportsIndex,
    groups: typing.SupportsInt | typing.SupportsIndex,
    batch_first: bool,
    dropout_p: typing.Any,
    is_causal: bool,
    seed: typing.SupportsInt | typing.SupportsIndex,
    offset: typing.SupportsInt | typing.SupportsIndex,
    window_size: typing.Any,
    need_mask: bool,
) -> tuple[typing.Any, ...]: ...
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
def leaky_relu(input: typing.Any, negative_slope: typing.Any) -> typing.Any: ...
def leaky_relu_backward(
    grad: typing.Any, saved: typing.Any, negative_slope: typing.Any
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
def linear_packed(
    input: typing.Any, weight: PackedWeight, bias: typing.Any, activation: typing.Any
) -> typing.Any: ...
def log_softmax(input: typing.Any, dim: typing.Any) -> typing.Any: ...
def log_softmax_backward(grad: typing.Any, output: typing.Any, dim: typing.Any) -> typing.Any: ...
def logsigmoid(input: typing.Any) -> typing.Any: ...
def logsigmoid_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
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
def max_pool1d_taps(
    input: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    ceil_mode: bool,
) -> typing.Any: ...
def max_pool1d_taps_backward(
    grad: typing.Any,
    taps: typing.Any,
    input_shape: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    ceil_mode: bool,
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
def max_pool2d_taps(
    input: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    ceil_mode: bool,
) -> typing.Any: ...
def max_pool2d_taps_backward(
    grad: typing.Any,
    taps: typing.Any,
    input_shape: typing.Any,
    kernel_size: typing.Any,
    stride: typing.Any,
    padding: typing.Any,
    dilation: typing.Any,
    ceil_mode: bool,
) -> typing.Any: ...
def mish(input: typing.Any) -> typing.Any: ...
def mish_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def nadam_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    states: list[typing.Any],
    steps: list[typing.Any],
    groups: list[typing.Any],
    settings: list[typing.Any],
    mu_products: list[typing.Any],
) -> None: ...
def num_threads() -> int: ...
def owns_memory(array: typing.Any) -> bool: ...
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
def prelu(input: typing.Any, weight: typing.Any) -> typing.Any: ...
def prelu_backward(
    grad: typing.Any, input: typing.Any, weight: typing.Any
) -> tuple[typing.Any, ...]: ...
def radam_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    states: list[typing.Any],
    steps: list[typing.Any],
    groups: list[typing.Any],
    settings: list[typing.Any],
) -> None: ...
def relu(input: typing.Any) -> typing.Any: ...
def relu6(input: typing.Any) -> typing.Any: ...
def relu6_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def relu_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
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
def rmsprop_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    states: list[typing.Any],
    steps: list[typing.Any],
    groups: list[typing.Any],
    settings: list[typing.Any],
) -> None: ...
def scale_gradients(
    grads: list[typing.Any], factor: typing.SupportsFloat | typing.SupportsIndex
) -> None: ...
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
    window_size: typing.Any = None,
) -> tuple[typing.Any, ...]: ...
def scaled_dot_product_attention_backward(
    grad: typing.Any,
    query: typing.Any,
    key: typing.Any,
    value: typing.Any,
    attn_mask: typing.Any,
    output: typing.Any,
    row_max: typing.Any,
    row_sum: typing.Any,
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
    window_size: typing.Any = None,
) -> tuple[typing.Any, ...]: ...
def selu(input: typing.Any) -> typing.Any: ...
def selu_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def set_float32_matmul_precision(precision: str) -> None: ...
def set_num_threads(n: typing.Any) -> None: ...
def sgd_step(
    params: list[typing.Any],
    grads: list[typing.Any],
    states: list[typing.Any],
    steps: list[typing.Any],
    groups: list[typing.Any],
    settings: list[typing.Any],
) -> None: ...
def sigmoid(input: typing.Any) -> typing.Any: ...
def sigmoid_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def silu(input: typing.Any) -> typing.Any: ...
def silu_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def simd_evaluate(name: str, x: typing.Any) -> typing.Any: ...
def simd_selftest(float64: bool) -> typing.Any: ...
def softmax(input: typing.Any, dim: typing.Any) -> typing.Any: ...
def softmax_backward(grad: typing.Any, output: typing.Any, dim: typing.Any) -> typing.Any: ...
def softmin(input: typing.Any, dim: typing.Any) -> typing.Any: ...
def softmin_backward(grad: typing.Any, output: typing.Any, dim: typing.Any) -> typing.Any: ...
def softplus(input: typing.Any, beta: typing.Any, threshold: typing.Any) -> typing.Any: ...
def softplus_backward(
    grad: typing.Any, saved: typing.Any, beta: typing.Any, threshold: typing.Any
) -> typing.Any: ...
def softshrink(input: typing.Any, lambd: typing.Any) -> typing.Any: ...
def softshrink_backward(grad: typing.Any, saved: typing.Any, lambd: typing.Any) -> typing.Any: ...
def softsign(input: typing.Any) -> typing.Any: ...
def softsign_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def tanh(input: typing.Any) -> typing.Any: ...
def tanh_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def tanhshrink(input: typing.Any) -> typing.Any: ...
def tanhshrink_backward(grad: typing.Any, saved: typing.Any) -> typing.Any: ...
def threshold(input: typing.Any, threshold: typing.Any, value: typing.Any) -> typing.Any: ...
def threshold_backward(
    grad: typing.Any, saved: typing.Any, threshold: typing.Any, value: typing.Any
) -> typing.Any: ...
def unfold(
    input: typing.Any,
    kernel_size: typing.Any,
    dilation: typing.Any,
    padding: typing.Any,
    stride: typing.Any,
) -> typing.Any: ...
def use_reference(on: bool) -> None: ...
