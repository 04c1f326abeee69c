"""Initial weights of models."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..nn import init
from ..nn.module import Module

__all__ = ["draw_weights"]

_TABLES = ("embedding.weight", "position.weight", "class_token")


def draw_weights(
    model: Module, hidden_size: int, into_sum: Sequence[str] = (), depth: int = 1
) -> None:
    """Draw matrices anew as BERT and GPT-2 do, at any width; biases become 0.

    Their normal distribution of standard deviation 0.02 suits a width of 768: matrices are drawn
    with 0.02 sqrt(768 / width), so that small models start with signals as strong. Tables of
    embeddings keep 0.02.

    Parameters
    ----------
    model : Module
    hidden_size : int
        The width.
    into_sum : sequence of str
        Ends of the names of matrices whose products are added to a residual path: drawn smaller
        by sqrt(depth) (Radford et al., 2019, section 2.3).
    depth : int
        How many of those sums there are.
    """
    std = 0.02 * math.sqrt(768 / hidden_size)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            deep = math.sqrt(depth) if name.endswith(tuple(into_sum)) else 1.0
            init.normal_(parameter, std=0.02 if name.endswith(_TABLES) else std / deep)
        elif name.endswith("bias"):
            init.zeros_(parameter)
