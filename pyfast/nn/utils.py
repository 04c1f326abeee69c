"""Gradient clipping and parameters as one vector, with `torch.nn.utils`' names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _core
from .._tensor import Tensor
from ..autograd import as_data, on_gpu

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_total_norm",
    "parameters_to_vector",
    "vector_to_parameters",
]

Array = np.ndarray[Any, Any]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """The norm of all tensors taken as one vector.

    Parameters
    ----------
    tensors : Tensor, or iterable of Tensor
        Gradients, usually.
    norm_type : float
        1, 2 or infinity.
    error_if_nonfinite : bool
        Raise when the norm is NaN or infinite.

    Returns
    -------
    float
        Summed in double.

    Raises
    ------
    ValueError
        For another `norm_type`.
    RuntimeError
        If the norm is not finite and `error_if_nonfinite`.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.nn.utils.get_total_norm([pf.Tensor(np.array([3.0])), pf.Tensor(np.array([4.0]))])
    5.0
    """
    arrays = [t.data for t in _as_list(tensors)]
    norm = float(_kernels(arrays).gradient_norm(arrays, float(norm_type)))
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"the norm of order {norm_type} of the gradients is {norm}")
    return norm


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    r"""Scale all gradients together so that their norm is at most `max_norm`.

    .. math:: g \leftarrow g \min\left(1, \frac{c}{\lVert g \rVert + 10^{-6}}\right)

    (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013,
    algorithm 1, with PyTorch's small constant.)

    Parameters
    ----------
    parameters : Tensor, or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
        c.
    norm_type : float
        1, 2 or infinity.
    error_if_nonfinite : bool
        Raise, and change nothing, when the norm is NaN or infinite.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    ValueError
        For another `norm_type`, or a `max_norm` that is negative.
    RuntimeError
        If the norm is not finite and `error_if_nonfinite`.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> p = pf.Tensor(np.array([3.0, 4.0]), requires_grad=True)
    >>> p.grad = pf.Tensor(np.array([30.0, 40.0]))
    >>> pf.nn.utils.clip_grad_norm_([p], max_norm=5.0)
    50.0
    >>> p.grad.numpy().round(4)
    array([3., 4.])
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must not be negative, got {max_norm}")
    grads = _gradients(parameters)
    norm = get_total_norm(grads, norm_type, error_if_nonfinite)
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:  # NaN too: as in PyTorch the gradients then become NaN
        arrays = [g.data for g in grads]
        _kernels(arrays).scale_gradients(arrays, factor)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp every component of every gradient to [-clip_value, clip_value].

    Parameters
    ----------
    parameters : Tensor, or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float

    Raises
    ------
    ValueError
        If `clip_value` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> p = pf.Tensor(np.ones(3), requires_grad=True)
    >>> p.grad = pf.Tensor(np.array([-3.0, 0.5, 3.0]))
    >>> pf.nn.utils.clip_grad_value_([p], 1.0)
    >>> p.grad.numpy()
    array([-1. ,  0.5,  1. ])
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must not be negative, got {clip_value}")
    arrays = [g.data for g in _gradients(parameters)]
    if arrays:
        _kernels(arrays).clamp_gradients(arrays, float(clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters as one vector, a copy.

    Parameters
    ----------
    parameters : iterable of Tensor

    Returns
    -------
    Tensor of shape (P,)

    Raises
    ------
    ValueError
        If there are none.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.nn.utils.parameters_to_vector([pf.Tensor(np.ones((1, 2))), pf.Tensor(np.zeros(1))])
    Tensor([1., 1., 0.], dtype=float64)
    """
    arrays = [p.data.ravel() for p in parameters]
    if not arrays:
        raise ValueError("parameters_to_vector: parameters must not be empty")
    return Tensor(np.concatenate(arrays))


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Write a vector back into the parameters it came from.

    Parameters
    ----------
    vec : Tensor or array of shape (P,)
    parameters : iterable of Tensor

    Raises
    ------
    ValueError
        If it does not have as many components as the parameters; nothing is written then.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> p = pf.Tensor(np.zeros((1, 2)))
    >>> pf.nn.utils.vector_to_parameters(np.array([1.0, 2.0]), [p])
    >>> p.numpy()
    array([[1., 2.]])
    """
    vector = as_data(vec.data if isinstance(vec, Tensor) else vec)
    params = list(parameters)
    total = sum(p.data.size for p in params)
    if vector.shape != (total,):
        raise ValueError(
            f"vector_to_parameters: vec must have shape ({total},), got {vector.shape}"
        )
    at = 0
    for p in params:
        p.data[...] = vector[at : at + p.data.size].reshape(p.data.shape)
        at += p.data.size


def _kernels(arrays: list[Any]) -> Any:
    """The kernels for where gradients lie. A norm comes from a GPU as an array there."""
    for array in arrays:
        if on_gpu(array):
            from ..cuda.frameworks import kernels_of

            return kernels_of(array, "clip_grad")
    return _core


def _as_list(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """Gradients of the parameters that have one, in memory that can be written in C order."""
    grads = []
    for p in _as_list(parameters):
        if p.grad is not None:
            flags = p.grad.data.flags
            if not (flags.c_contiguous and getattr(flags, "writeable", True)):  # CuPy's always are
                p.grad = Tensor(p.grad.data.copy(order="C"))
            grads.append(p.grad)
    return grads
