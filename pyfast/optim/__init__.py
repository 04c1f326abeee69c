"""Optimizers with `torch.optim`'s names, arguments and update rules; one fused call per group."""

from .adam import Adam, AdamW
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
