"""The families, in the order of the table."""

from __future__ import annotations

from ..family import Family
from . import (
    attention,
    conv,
    elementwise,
    embedding,
    generation,
    linear,
    loss,
    models,
    norm,
    optimizer,
    pool,
    transformer,
)

FAMILIES: tuple[Family, ...] = (
    *conv.FAMILIES,
    *linear.FAMILIES,
    *attention.FAMILIES,
    *pool.FAMILIES,
    *norm.FAMILIES,
    *elementwise.FAMILIES,
    *loss.FAMILIES,
    *embedding.FAMILIES,
    *optimizer.FAMILIES,
    *generation.FAMILIES,
    *transformer.FAMILIES,
    *models.FAMILIES,
)
