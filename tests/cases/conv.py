"""Convolutions, transposed convolutions, unfold and fold."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .record import Bad, OpCase, Sample, rng

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": torch.relu,
    "relu6": torch.nn.functional.relu6,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": torch.nn.functional.softplus,
    "hardswish": torch.nn.functional.hardswish,
}


def fused(f: Callable[..., Any]) -> Callable[..., Any]:
    """torch's op followed by the activation."""

    def op(*args: Any, activation: str | None = None, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "same" with an even kernel makes torch copy
            y = f(*args, **kwargs)
        return y if activation is None else ACTIVATIONS[activation](y)

    return op


def call(
    x: tuple[int, ...], w: tuple[int, ...], bias: int = 0, seed: int = 1, **settings: Any
) -> Sample:
    """Random operands; bias = 0: none."""
    r = rng(seed)
    b = r.standard_normal(bias) if bias else None
    return Sample((r.standard_normal(x), r.standard_normal(w), b), settings)


def conv1d_samples() -> list[Sample]:
    return [
        call((1, 1, 5), (1, 1, 3)),
        call((2, 3, 7), (4, 3, 3), 4),
        call((3, 7), (4, 3, 3), 4),
        call((2, 3, 7), (4, 3, 3), 4, stride=2),
        call((2, 3, 7), (4, 3, 3), 4, stride=(3,), padding=(2,)),
        call((2, 3, 9), (4, 3, 3), padding=1, dilation=2),
        call((2, 3, 9), (5, 3, 3), padding=4, dilation=3, stride=2),
        call((2, 4, 9), (6, 2, 3), 6, groups=2),
        call((2, 4, 9), (4, 1, 3), 4, groups=4, padding=1),
        call((2, 4, 9), (8, 1, 3), 8, groups=4, padding=1),
        call((2, 4, 70), (4, 1, 5), groups=4, stride=3, padding=2),
        call((2, 4, 40), (4, 1, 4), groups=4, stride=2, dilation=3),
        call((1, 2, 8), (3, 2, 1), 3),
        call((1, 2, 8), (3, 2, 8), 3),
        call((1, 2, 8), (3, 2, 4), 3, padding="same"),
        call((1, 2, 8), (3, 2, 3), 3, padding="same", dilation=2),
        call((1, 2, 8), (3, 2, 4), padding="same", dilation=3),
        call((1, 2, 8), (3, 2, 3), padding="valid"),
        call((0, 2, 8), (3, 2, 3), 3),
        call((1, 2, 1), (3, 2, 3), 3, padding=1),
        call((1, 2, 3), (3, 2, 5), 3, padding=4),
        call((1, 1, 5), (1, 1, 2), stride=7, padding=1),
        call((1, 3, 33), (17, 3, 3), 17),
        call((3, 2, 50), (2, 2, 7), padding=3),
        call((1, 2, 8), (3, 2, 3), 3, activation="relu"),
        call((1, 2, 8), (3, 2, 3), 3, activation="gelu"),
        call((1, 4, 20), (4, 1, 3), 4, groups=4, activation="silu"),
        call((2, 8), (3, 2, 3), 3, activation="tanh"),
        call((2, 3, 7), (4, 3, 3), 4, stride=4, padding=5, dilation=2),
        call((4, 1, 30), (9, 1, 9), 9, padding=4),
        call((1, 20, 6), (2, 20, 3), 2),
    ]


def conv2d_samples() -> list[Sample]:
    return [
        call((1, 1, 3, 3), (1, 1, 3, 3)),
        call((2, 3, 5, 6), (4, 3, 3, 3), 4),
        call((3, 5, 6), (4, 3, 3, 3), 4),
        call((2, 3, 7, 5), (4, 3, 3, 2), 4, stride=2, padding=1),
        call((2, 3, 7, 9), (4, 3, 3, 3), 4, stride=(1, 3), padding=(2, 0)),
        call((2, 3, 9, 8), (4, 3, 3, 3), 4, padding=2, dilation=(2, 3)),
        call((2, 3, 11, 12), (4, 3, 3, 2), stride=(3, 2), padding=(3, 4), dilation=(2, 3)),
        call((1, 6, 5, 5), (4, 3, 3, 3), 4, groups=2),
        call((2, 4, 6, 7), (4, 1, 3, 3), 4, groups=4, padding=1),
        call((2, 4, 6, 7), (8, 1, 3, 3), 8, groups=4, padding=1, stride=2),
        call((2, 3, 9, 40), (12, 1, 3, 5), 12, groups=3, padding=(1, 2)),
        call((1, 3, 9, 70), (3, 1, 3, 3), groups=3, padding=1, dilation=2),
        call((1, 2, 13, 19), (2, 1, 5, 5), 2, groups=2, padding=3, stride=(2, 3), dilation=(1, 2)),
        call((2, 5, 4, 4), (6, 5, 1, 1), 6),
        call((2, 5, 4, 4), (6, 5, 1, 1), 6, stride=2),
        call((2, 5, 4, 4), (6, 5, 1, 1), 6, padding=1),
        call((2, 5, 4, 4), (1, 5, 4, 4), 1),
        call((1, 2, 5, 6), (3, 2, 2, 4), 3, padding="same"),
        call((1, 2, 5, 6), (3, 2, 4, 3), padding="same", dilation=(1, 2)),
        call((1, 2, 5, 6), (3, 2, 2, 3), padding="valid", stride=2),
        call((0, 2, 5, 6), (3, 2, 2, 3), 3),
        call((1, 2, 1, 1), (3, 2, 3, 3), 3, padding=1),
        call((1, 2, 2, 3), (3, 2, 5, 5), 3, padding=4),
        call((1, 1, 4, 4), (1, 1, 2, 2), stride=(9, 5), padding=1),
        call((3, 3, 7, 7), (17, 3, 3, 3), 17, padding=1),
        call((2, 16, 5, 17), (9, 16, 3, 3), 9, padding=1),
        call((1, 3, 15, 14), (8, 3, 7, 7), 8, stride=2, padding=3),
        call((2, 1, 9, 9), (32, 1, 3, 3), 32),
        call((1, 2, 4, 5), (3, 2, 3, 3), 3, padding=1, activation="relu"),
        call((1, 2, 4, 5), (3, 2, 3, 3), 3, padding=1, activation="gelu"),
        call((1, 2, 4, 5), (3, 2, 3, 3), padding=1, stride=2, activation="silu"),
        call((2, 4, 5), (3, 2, 3, 3), 3, activation="sigmoid"),
        call((1, 4, 6, 7), (4, 1, 3, 3), 4, groups=4, padding=1, activation="tanh"),
        call((1, 4, 6, 7), (8, 2, 3, 3), 8, groups=2, activation="hardswish"),
        call((1, 4, 6, 7), (2, 4, 3, 3), 2, activation="softplus"),
        call((1, 4, 6, 7), (3, 4, 3, 3), 3, activation="relu6"),
        with_infinities(),
    ]


def with_infinities() -> Sample:
    """NaN and inf in the image reach the outputs under whose kernel they lie, and no others."""
    sample = call((1, 2, 6, 6), (3, 2, 3, 3), 3)
    sample.args[0][0, 0, 1, 1] = np.nan
    sample.args[0][0, 1, 5, 5] = np.inf
    return sample


def conv2d_large() -> list[Sample]:
    return [
        call((3, 40, 30, 31), (70, 40, 3, 3), 70, padding=1, activation="relu"),
        call((4, 48, 40, 40), (48, 1, 3, 3), 48, padding=1, groups=48, stride=2),
        call((2, 3, 64, 64), (24, 3, 7, 7), 24, padding=3, stride=2),
        # 3 x 3, stride 1: odd sizes, groups, little and much padding
        call((3, 33, 21, 30), (35, 33, 3, 3), 35, padding=1, activation="gelu"),
        call((2, 64, 15, 16), (72, 32, 3, 3), 72, padding=2, groups=2),
        call((4, 200, 13, 12), (32, 200, 3, 3), padding=(0, 1)),
        # short rows, of which patches are gathered; a stride that skips whole rows
        call((5, 60, 7, 7), (130, 60, 3, 3), 130, padding=1, stride=2),
        call((2, 70, 17, 18), (50, 70, 1, 1), 50, stride=2, activation="silu"),
        # depthwise planes as one row
        call((3, 20, 14, 13), (20, 1, 3, 3), 20, padding=1, groups=20, activation="relu6"),
    ]


def conv1d_large() -> list[Sample]:
    return [
        call((4, 40, 800), (70, 40, 5), 70, padding=2, stride=2),
        call((3, 12, 6000), (12, 1, 7), 12, padding=3, groups=12),
    ]


def conv_transpose1d_samples() -> list[Sample]:
    return [
        call((1, 1, 5), (1, 1, 3)),
        call((2, 3, 7), (3, 4, 3), 4),
        call((3, 7), (3, 4, 3), 4),
        call((2, 3, 7), (3, 4, 3), 4, stride=2),
        call((2, 3, 7), (3, 4, 3), 4, stride=(3,), padding=(1,), output_padding=(2,)),
        call((2, 3, 9), (3, 4, 3), padding=1, dilation=2),
        call((2, 3, 9), (3, 5, 3), padding=4, dilation=3, stride=2, output_padding=1),
        call((2, 3, 9), (3, 5, 3), padding=2, dilation=2, stride=4),
        call((2, 3, 9), (3, 5, 4), dilation=6, stride=4),
        call((2, 4, 9), (4, 3, 3), 6, groups=2),
        call((2, 4, 9), (4, 1, 3), 4, groups=4, padding=1),
        call((2, 4, 9), (4, 2, 3), 8, groups=4, padding=1, stride=2),
        call((2, 8, 9), (8, 1, 3), 4, groups=4, stride=2),
        call((2, 4, 70), (4, 1, 5), groups=4, stride=3, padding=2),
        call((1, 2, 8), (2, 3, 1), 3),
        call((1, 2, 8), (2, 3, 1), 3, stride=3),
        call((1, 2, 8), (2, 3, 8), 3),
        call((1, 2, 8), (2, 3, 4), stride=4),
        call((0, 2, 8), (2, 3, 3), 3),
        call((1, 2, 1), (2, 3, 3), 3, padding=1),
        call((1, 2, 1), (2, 3, 3), 3, stride=7, output_padding=6),
        call((1, 2, 3), (2, 3, 5), 3, padding=3),
        call((1, 3, 33), (3, 17, 3), 17),
        call((3, 2, 50), (2, 2, 7), padding=3),
        call((1, 2, 8), (2, 3, 3), 3, stride=2, activation="relu"),
        call((1, 2, 8), (2, 3, 3), 3, stride=3, activation="gelu"),
        call((1, 4, 20), (4, 1, 3), 4, groups=4, stride=2, activation="silu"),
        call((2, 8), (2, 3, 3), 3, activation="tanh"),
        call((4, 1, 30), (1, 9, 9), 9, padding=4, stride=2, output_padding=1),
        call((1, 20, 6), (20, 2, 3), 2),
        call((2, 3, 6), (3, 4, 2), stride=5, output_padding=3, activation="sigmoid"),
    ]


def conv_transpose2d_samples() -> list[Sample]:
    return [
        call((1, 1, 3, 3), (1, 1, 3, 3)),
        call((2, 3, 5, 6), (3, 4, 3, 3), 4),
        call((3, 5, 6), (3, 4, 3, 3), 4),
        call((2, 3, 4, 5), (3, 4, 3, 2), 4, stride=2, padding=1),
        call((2, 3, 4, 5), (3, 4, 4, 4), 4, stride=2, padding=1),
        call((2, 3, 4, 5), (3, 4, 3, 3), 4, stride=2, padding=1, output_padding=1),
        call((2, 3, 4, 3), (3, 4, 3, 3), 4, stride=(1, 3), padding=(2, 0), output_padding=(0, 2)),
        call((2, 3, 5, 4), (3, 4, 3, 3), 4, padding=2, dilation=(2, 3)),
        call((2, 3, 4, 5), (3, 4, 3, 2), stride=(3, 2), padding=(3, 1), dilation=(2, 3)),
        call((1, 6, 5, 5), (6, 2, 3, 3), 4, groups=2),
        call((2, 4, 6, 7), (4, 1, 3, 3), 4, groups=4, padding=1),
        call((2, 4, 6, 7), (4, 2, 3, 3), 8, groups=4, padding=1, stride=2),
        call((2, 6, 5, 20), (6, 1, 3, 5), 3, groups=3, padding=(1, 2)),
        call((1, 3, 9, 70), (3, 1, 3, 3), groups=3, padding=1, dilation=2),
        call((1, 2, 6, 7), (2, 1, 5, 5), 2, groups=2, padding=3, stride=(2, 3), dilation=(1, 2)),
        call((2, 5, 4, 4), (5, 6, 1, 1), 6),
        call((2, 5, 4, 4), (5, 6, 1, 1), 6, stride=2),
        call((2, 5, 4, 4), (5, 6, 1, 1), 6, stride=2, output_padding=1),
        call((2, 5, 4, 4), (5, 1, 4, 4), 1, stride=4),
        call((0, 2, 5, 6), (2, 3, 2, 3), 3),
        call((1, 2, 1, 1), (2, 3, 3, 3), 3, padding=1),
        call((1, 2, 2, 3), (2, 3, 5, 5), 3, padding=2),
        call((1, 1, 2, 2), (1, 1, 2, 2), stride=(5, 4), output_padding=(4, 3)),
        call((2, 3, 7, 7), (3, 17, 3, 3), 17, padding=1),
        call((2, 16, 5, 17), (16, 9, 3, 3), 9, padding=1),
        call((1, 3, 8, 7), (3, 8, 7, 7), 8, stride=2, padding=3, output_padding=1),
        call((1, 2, 4, 5), (2, 3, 3, 3), 3, padding=1, activation="relu"),
        call((1, 2, 4, 5), (2, 3, 3, 3), 3, stride=2, activation="gelu"),
        call((1, 2, 4, 5), (2, 3, 3, 3), padding=1, stride=2, activation="silu"),
        call((2, 4, 5), (2, 3, 3, 3), 3, activation="sigmoid"),
        call((1, 4, 6, 7), (4, 1, 3, 3), 4, groups=4, padding=1, stride=2, activation="tanh"),
        call((1, 4, 3, 4), (4, 4, 3, 3), 8, groups=2, activation="hardswish"),
    ]


def conv_transpose2d_large() -> list[Sample]:
    return [
        call((3, 40, 15, 16), (40, 30, 4, 4), 30, stride=2, padding=1, activation="relu"),
        call((2, 32, 40, 40), (32, 1, 3, 3), 32, padding=1, groups=32, stride=2),
    ]


def conv_transpose1d_large() -> list[Sample]:
    return [call((3, 30, 700), (30, 20, 8), 20, stride=4, padding=2)]


def conv1d_bad() -> list[Bad]:
    x, w, b = np.zeros((1, 4, 8)), np.zeros((6, 4, 3)), np.zeros(6)
    return [
        Bad((x, w, b, 0), ValueError, "stride must be positive, got .0,."),
        Bad((x, w, b, 1, -1), ValueError, "padding must be non-negative, got .-1,."),
        Bad((x, w, b, 1, 0, 0), ValueError, "dilation must be positive"),
        Bad((x, w, b, 1, 0, 1, 0), ValueError, "groups must be positive, got 0"),
        Bad((x, w, b, 1, 0, 1, 4), ValueError, "input must have 16 channels"),
        Bad((x, w[:, :1], b, 1, 0, 1, 4), ValueError, "groups must divide .*groups 4"),
        Bad((x, w, b, (1, 2)), ValueError, "stride must be an int or 1 ints, got .1, 2."),
        Bad((x, w, b, 1.0), TypeError, "stride must be"),
        Bad((x, w, b, 1, "full"), ValueError, "padding must be ints, .*got 'full'"),
        Bad((x, w, b, 2, "same"), ValueError, "padding 'same' needs stride 1, got .2,."),
        Bad((x, w, b[:5]), ValueError, "bias must have shape .6,., got .5,."),
        Bad((x, w, b.astype(np.float32)), TypeError, "bias must have the dtype of input"),
        Bad((x, w.astype(np.float32)), TypeError, "weight must have the dtype of input"),
        Bad((x.astype(int), w), TypeError, "input must be .*float.*int64"),
        Bad((x[0, 0], w), ValueError, "input must have 2 or 3 dimensions, got shape .8,."),
        Bad((x, w[0]), ValueError, "weight must have 3 dimensions"),
        Bad((x[:, :, :2], w), ValueError, "kernel must fit into the padded input, got 3"),
        Bad((x[:, :, :0], w), ValueError, "input must not be empty, got size 0"),
        Bad((x, w[:, :, :0]), ValueError, "kernel size in weight must be positive, got 0"),
        Bad((x, w, b, 1, 2**62), ValueError, "size overflows 64 bits"),
        Bad((x, w, b, 1, 0, 2**62), ValueError, "size overflows 64 bits"),
        Bad((x, w, b), ValueError, "activation", {"activation": "softplush"}),
        Bad((x, w, b), TypeError, "activation must be None or a str", {"activation": 3}),
    ]


def conv2d_bad() -> list[Bad]:
    x, w, b = np.zeros((1, 4, 8, 7)), np.zeros((6, 4, 3, 2)), np.zeros(6)
    return [
        Bad((x, w, b, (1, 0)), ValueError, "stride must be positive, got .1, 0."),
        Bad((x, w, b, 1, (0, -1)), ValueError, "padding must be non-negative, got .0, -1."),
        Bad((x, w, b, 1, 0, (0, 1)), ValueError, "dilation must be positive"),
        Bad((x, w, b, 1, 0, 1, -1), ValueError, "groups must be positive, got -1"),
        Bad((x[:, :3], w, b), ValueError, "input must have 4 channels .*got 3"),
        Bad((x, w, b, (1, 2, 3)), ValueError, "stride must be an int or 2 ints"),
        Bad((x, w, b, 1, "Same"), ValueError, "padding must be ints, .*got 'Same'"),
        Bad((x, w, b, (1, 2), "same"), ValueError, "padding 'same' needs stride 1"),
        Bad((x, w, np.zeros((6, 1))), ValueError, "bias must have shape .6,."),
        Bad((x, w.astype(np.float32)), TypeError, "weight must have the dtype of input"),
        Bad((x[0, 0], w), ValueError, "input must have 3 or 4 dimensions, got shape .8, 7."),
        Bad((x, w[0]), ValueError, "weight must have 4 dimensions"),
        Bad((x, w[:0]), ValueError, "groups must divide the channels"),
        Bad((x[:, :, :, :1], w), ValueError, "kernel must fit into the padded input, got 2"),
        Bad((x, w, None, 1, 0, (1, 9)), ValueError, "kernel must fit .*got 10 .dilated. for 7"),
        Bad((x[:, :, :0], w), ValueError, "input must not be empty, got size 0"),
        Bad((x, w, b, 1, 2**40), ValueError, "too large|overflows|within"),
        Bad((None, w), TypeError, "input must be"),
        Bad((x, None), TypeError, "weight must be"),
    ]


def conv_transpose1d_bad() -> list[Bad]:
    x, w, b = np.zeros((1, 4, 8)), np.zeros((4, 6, 3)), np.zeros(6)
    return [
        Bad((x, w, b, 0), ValueError, "stride must be positive, got .0,."),
        Bad((x, w, b, 1, -1), ValueError, "padding must be non-negative"),
        Bad((x, w, b, 1, "same"), TypeError, "padding must be"),
        Bad((x, w, b, 1, 0, 1), ValueError, "output_padding must be smaller than stride or dila"),
        Bad((x, w, b, 3, 0, -1), ValueError, "output_padding must be non-negative"),
        Bad((x, w, b, 1, 0, 0, 3), ValueError, "groups must divide .*groups 3"),
        Bad((x, w, b, 1, 0, 0, 0), ValueError, "groups must be positive"),
        Bad((x, w, b, 1, 0, 0, 1, 0), ValueError, "dilation must be positive"),
        Bad((x, w, b, 1, 5), ValueError, "padding must leave an output, got an output size of 0"),
        Bad((x[:, :3], w, b), ValueError, "input must have 4 channels"),
        Bad((x, w[:, :0]), ValueError, "groups must divide"),
        Bad((x, w, b[:2]), ValueError, "bias must have shape .6,., got .2,."),
        Bad((x, w, b, 2**62), ValueError, "size overflows 64 bits"),
        Bad((x[0, 0], w), ValueError, "input must have 2 or 3 dimensions"),
    ]


def conv_transpose2d_bad() -> list[Bad]:
    x, w, b = np.zeros((1, 4, 8, 7)), np.zeros((4, 6, 3, 2)), np.zeros(6)
    return [
        Bad((x, w, b, (0, 1)), ValueError, "stride must be positive, got .0, 1."),
        Bad((x, w, b, 1, (-1, 0)), ValueError, "padding must be non-negative"),
        Bad((x, w, b, (2, 1), 0, 1), ValueError, "output_padding must be smaller than stride or"),
        Bad((x, w, b, 1, 0, 0, 3), ValueError, "groups must divide .*groups 3"),
        Bad((x, w, b, 1, 0, 0, 1, (1, 0)), ValueError, "dilation must be positive"),
        Bad((x, w, b, 1, 5), ValueError, "padding must leave an output"),
        Bad((x[:, :3], w, b), ValueError, "input must have 4 channels"),
        Bad((x, w, b[:2]), ValueError, "bias must have shape .6,., got .2,."),
        Bad((x, w, b, 2**40), ValueError, "too large|overflows|within"),
        Bad((x[0, 0], w), ValueError, "input must have 3 or 4 dimensions"),
        Bad((x, w[:, :, 0]), ValueError, "weight must have 4 dimensions"),
        Bad((x.astype(np.float32), w), TypeError, "weight must have the dtype of input"),
    ]


def unfold_samples() -> list[Sample]:
    r = rng(5)
    settings: list[tuple[tuple[int, ...], tuple[Any, ...]]] = [
        ((1, 1, 3, 3), (2,)), ((1, 1, 3, 3), (3,)), ((2, 3, 4, 5), (2,)), ((3, 4, 5), (2,)),
        ((2, 3, 4, 5), ((1, 1),)), ((2, 3, 4, 5), ((4, 5),)), ((2, 3, 4, 5), ((3, 2), 1, 1)),
        ((2, 3, 7, 8), (3, 2)), ((2, 3, 7, 8), (3, (2, 1), (1, 2))), ((2, 3, 7, 8), (3, 1, 1, 2)),
        ((2, 3, 7, 8), ((2, 3), 1, 0, (3, 2))), ((2, 3, 7, 8), (3, 2, 3, (2, 3))),
        ((1, 2, 5, 40), (3, 1, 1)), ((1, 2, 5, 40), (3, 1, 1, 2)), ((1, 2, 5, 40), (3, 1, 1, 3)),
        ((0, 2, 4, 4), (3,)), ((1, 1, 1, 1), (3, 1, 1)), ((1, 1, 1, 1), (1,)),
        ((1, 1, 2, 2), (2, 1, 5)), ((1, 2, 6, 6), (2, 1, 0, 2)), ((1, 2, 6, 6), (3, 1, 0, 3)),
        ((1, 2, 6, 6), (1, 1, 0, 5)), ((1, 2, 6, 6), (2, 1, 2, 9)), ((1, 17, 4, 4), (2,)),
        ((2, 1, 33, 17), ((5, 1),)), ((2, 1, 17, 33), ((1, 5),)), ((4, 5, 6), ((2, 3), 2, 1, 2)),
        ((1, 1, 9, 9), (3, 4, 0)), ((1, 1, 9, 9), (3, 4, 1)), ((3, 2, 16, 16), (4, 1, 0, 4)),
    ]  # fmt: skip
    return [Sample((r.standard_normal(shape), *args)) for shape, args in settings]


def unfold_bad() -> list[Bad]:
    x = np.zeros((1, 2, 4, 5))
    return [
        Bad((x, 0), ValueError, "kernel_size must be positive, got .0, 0."),
        Bad((x, -1), ValueError, "kernel_size must be positive"),
        Bad((x, 2, 0), ValueError, "dilation must be positive"),
        Bad((x, 2, 1, -1), ValueError, "padding must be non-negative"),
        Bad((x, 2, 1, 0, 0), ValueError, "stride must be positive"),
        Bad((x, 5), ValueError, "kernel_size must fit into the padded image, got 5"),
        Bad((x, 2, 5), ValueError, "kernel_size must fit"),
        Bad((None, 2), TypeError, "input must be"),
        Bad((x, (1, 2, 3)), ValueError, "kernel_size must be an int or 2 ints"),
        Bad((x, 2.5), TypeError, "kernel_size must be"),
        Bad((x[0, 0], 2), ValueError, "input must have 3 or 4 dimensions"),
        Bad((x[:, :, :0], 1), ValueError, "input must not be empty"),
        Bad((x[:, :0], 1), ValueError, "input must not be empty"),
        Bad((x.astype(np.int8), 1), TypeError, "input must be .*int8"),
        Bad((x, 2**62, 4), ValueError, "size overflows 64 bits"),
        Bad((x, 1, 1, 2**62), ValueError, "size overflows 64 bits"),
        Bad((x, 1, 1, 2**40), ValueError, "too large|overflows|within"),
    ]


def fold_samples() -> list[Sample]:
    r = rng(6)
    samples = []
    for sample in unfold_samples():
        image, *settings = sample.args
        columns = torch.nn.functional.unfold(torch.from_numpy(image), *settings)
        samples.append(
            Sample((r.standard_normal(tuple(columns.shape)), image.shape[-2:], *settings))
        )
    return samples


def fold_bad() -> list[Bad]:
    x = np.zeros((1, 18, 4))
    return [
        Bad((x, 4, 0), ValueError, "kernel_size must be positive"),
        Bad((x, 0, 3), ValueError, "output_size must be positive, got .0, 0."),
        Bad((x, 4, 3, 0), ValueError, "dilation must be positive"),
        Bad((x, 4, 3, 1, -1), ValueError, "padding must be non-negative"),
        Bad((x, 4, 3, 1, 0, 0), ValueError, "stride must be positive"),
        Bad((x, 5, 3), ValueError, "input must have 9 columns for output_size .5, 5., got 4"),
        Bad((x[:, :17], 4, 3), ValueError, "input must have a multiple of 9 rows .*got 17"),
        Bad((x, 2, 3), ValueError, "kernel_size must fit"),
        Bad((x, (4, 4, 4), 3), ValueError, "output_size must be an int or 2 ints"),
        Bad((x, "4", 3), TypeError, "output_size must be"),
        Bad((x[0, 0], 4, 3), ValueError, "input must have 2 or 3 dimensions"),
        Bad((x[:, :0], 4, 3), ValueError, "input must not be empty"),
        Bad((x.astype(np.float16), 4, 3), TypeError, "input must be .*float16"),
        Bad((x, 4, 2**62, 4), ValueError, "size overflows 64 bits"),
        Bad((x, 2**40, 3), ValueError, "overflows|columns"),
    ]


def conv_case(
    name: str, samples: Callable[[], Any], large: Callable[[], Any], bad: Callable[[], Any]
) -> OpCase:
    oracle = fused(getattr(torch.nn.functional, name))
    # relu's kink: the smaller step keeps every sum of these samples on its side
    return OpCase(name, samples, large, bad, oracle, (0, 1, 2), gradcheck_step=1e-5)


CASES = [
    conv_case("conv1d", conv1d_samples, conv1d_large, conv1d_bad),
    conv_case("conv2d", conv2d_samples, conv2d_large, conv2d_bad),
    conv_case(
        "conv_transpose1d", conv_transpose1d_samples, conv_transpose1d_large, conv_transpose1d_bad
    ),
    conv_case(
        "conv_transpose2d", conv_transpose2d_samples, conv_transpose2d_large, conv_transpose2d_bad
    ),
    OpCase(
        "unfold",
        unfold_samples,
        lambda: [Sample((rng(7).standard_normal((3, 16, 40, 41)), 3, 1, 1, 2))],
        unfold_bad,
    ),
    OpCase(
        "fold",
        fold_samples,
        lambda: [Sample((rng(8).standard_normal((3, 16 * 9, 20 * 21)), (40, 41), 3, 1, 1, 2))],
        fold_bad,
    ),
]
