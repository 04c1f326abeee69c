"""
pyfast's compiled kernels; use them through pyfast.ops.
"""

from __future__ import annotations

import typing

__all__: list[str] = [
    "adam_step",
    "cpu_info",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "embedding",
    "embedding_backward",
    "fma_peak",
    "isa",
    "isa_env_problem",
    "log_softmax",
    "log_softmax_backward",
    "num_threads",
    "philox4x32",
    "pointwise_loss",
    "pointwise_loss_backward",
    "pool_clear",
    "pool_set_cache_limit",
    "pool_statistics",
    "set_num_threads",
    "sgd_step",
    "simd_evaluate",
    "simd_selftest",
    "softmax",
    "softmax_backward",
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
def isa() -> str: ...
def isa_env_problem() -> str: ...
def log_softmax(input: typing.Any, dim: typing.Any) -> typing.Any: ...
def log_softmax_backward(grad: typing.Any, output: typing.Any, dim: typing.Any) -> typing.Any: ...
def num_threads() -> int: ...
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
def use_reference(on: bool) -> None: ...
