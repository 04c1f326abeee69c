"""Looking at attention while a model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import nn

__all__ = ["record_attention"]

Array = np.ndarray[Any, Any]
_NEED_WEIGHTS, _AVERAGE = 4, 6  # places of these arguments in MultiheadAttention's call


@contextmanager
def record_attention(model: nn.Module) -> Iterator[dict[str, list[Array]]]:
    """Collect the weights of every :class:`pyfast.nn.MultiheadAttention` in a block.

    Layers that were called with positional arguments, as the Transformer classes do.

    Parameters
    ----------
    model : Module

    Returns
    -------
    context manager that gives a dict
        From the layer's name to a list with one array of shape (batch, heads, queries, keys) for
        each time it ran.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> from pyfast.generation import record_attention
    >>> layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> with record_attention(layer) as maps:
    ...     output = layer(np.ones((1, 5, 8), np.float32))
    >>> maps["self_attn"][0].shape
    (1, 2, 5, 5)
    """
    maps: dict[str, list[Array]] = {}
    handles = []

    def ask(module: Any, args: Any) -> Any:
        defaults = (None, True, None, True, False)
        full = [*args, *defaults[len(args) - 3 :]]
        full[_NEED_WEIGHTS], full[_AVERAGE] = True, False
        return tuple(full)

    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            stored = maps.setdefault(name, [])

            def keep(module: Any, args: Any, output: Any, stored: list[Array] = stored) -> None:
                stored.append(np.asarray(output[1]))

            handles += [
                module.register_forward_pre_hook(ask),
                module.register_forward_hook(keep),
            ]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
