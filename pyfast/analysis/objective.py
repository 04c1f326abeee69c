"""A loss seen as a function of one flat vector: what everything about its surface stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..autograd import enable_grad, grad, no_grad
from ..nn.module import Module

__all__ = ["Objective", "parameters_of"]

Array = np.ndarray[Any, Any]


def parameters_of(op: str, params: Any) -> list[Tensor]:
    """The tensors that require grad among `params`.

    Parameters
    ----------
    op : str
        Begins the messages.
    params : Module, Tensor, or iterable or mapping of Tensors

    Returns
    -------
    list of Tensor
        Each once, in order; leaves.

    Raises
    ------
    TypeError
        If something is no Tensor.
    ValueError
        If none requires grad, none has an element, or one is the result of an operation.

    Examples
    --------
    >>> from pyfast import nn
    >>> len(parameters_of("example", nn.Linear(2, 3)))
    2
    """
    given = list(_tensors(op, params))
    for p in given:
        if not isinstance(p, Tensor):
            raise TypeError(f"{op}: params must hold Tensors, got {type(p).__name__}")
        if not p.is_leaf:
            raise ValueError(f"{op}: params must be leaves, got the result of an operation")
    unique = {id(p): p for p in given if p.requires_grad and p.size}
    if not unique:
        raise ValueError(
            f"{op}: params must hold at least one tensor that requires grad, got {len(given)} "
            "tensors without"
        )
    return list(unique.values())


def _tensors(op: str, params: Any) -> Iterable[Any]:
    if isinstance(params, Module):
        return params.parameters()
    if isinstance(params, Tensor):
        return [params]
    if isinstance(params, Mapping):
        return params.values()
    if isinstance(params, Iterable):
        return params
    raise TypeError(
        f"{op}: params must be a Module, a Tensor or several, got {type(params).__name__}"
    )


class Objective:
    """A loss as a function of all parameters laid end to end in one vector.

    Used in a ``with`` statement: on leaving it, parameters (and, of a Module, the buffers, which a
    batch norm in training mode moves at every evaluation) are as they were.

    Parameters
    ----------
    op : str
        Begins the messages.
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters.
    params : Module, Tensor, or iterable or mapping of Tensors
    double : bool
        Insist on float64, which differences of gradients need.

    Attributes
    ----------
    size : int
        Number of parameters, n.
    start : array of shape (n,), float64
        Where the parameters were.

    Raises
    ------
    TypeError
        If parameters are not of one floating dtype (float64 with `double`), `loss` is not
        callable or does not return a Tensor.
    ValueError
        If no parameter requires grad; or the loss is not of one element, does not depend on
        the parameters, is not finite, or differs between two evaluations at the same point.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.array([3.0, 4.0]), requires_grad=True)
    >>> with Objective("example", lambda: (x * x).sum(), x) as objective:
    ...     print(objective.value(np.ones(2)), objective.gradient(np.ones(2)))
    2.0 [2. 2.]
    >>> x.numpy()
    array([3., 4.])
    """

    def __init__(
        self, op: str, loss: Callable[[], Any], params: Any, *, double: bool = True
    ) -> None:
        if not callable(loss):
            raise TypeError(
                f"{op}: loss must be a callable without arguments that computes the loss, "
                f"got {type(loss).__name__}"
            )
        self.op = op
        self.params = parameters_of(op, params)
        self._check_dtypes(double)
        self._loss = loss
        self._arrays = [p.data for p in self.params]
        self._ends = np.cumsum([0, *(a.size for a in self._arrays)]).tolist()
        self.size = int(self._ends[-1])
        self.start = self.flat(self._arrays)
        self._buffers = _snapshot(params)

    def _check_dtypes(self, double: bool) -> None:
        dtypes = {p.dtype for p in self.params}
        if len(dtypes) != 1:
            raise TypeError(
                f"{self.op}: params must be of one dtype, got {sorted(map(str, dtypes))}"
            )
        if double and dtypes != {np.dtype(np.float64)}:
            raise TypeError(
                f"{self.op}: params must be float64, got {dtypes.pop()}; convert model and data, "
                "model.double(): differences of float32 gradients lose half their digits"
            )

    def __enter__(self) -> Objective:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for p, array in zip(self.params, self._arrays, strict=True):
            p.data = array
        for buffer, array in self._buffers:
            buffer.data[...] = array

    # -- flat and shaped ---------------------------------------------------------------------------

    def flat(self, arrays: Iterable[Any]) -> Array:
        """Arrays of the parameters' shapes, laid end to end.

        Parameters
        ----------
        arrays : iterable of arrays

        Returns
        -------
        array of shape (n,), float64
        """
        return np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays])

    def shaped(self, vector: Array) -> list[Array]:
        """A flat vector cut into arrays of the parameters' shapes and dtypes.

        Parameters
        ----------
        vector : array of shape (n,)

        Returns
        -------
        list of arrays
        """
        return [
            vector[a:b].reshape(old.shape).astype(old.dtype, copy=False)
            for old, a, b in zip(self._arrays, self._ends, self._ends[1:], strict=False)
        ]

    def move(self, theta: Array) -> None:
        """Give the parameters the values of a flat vector, until the ``with`` block ends.

        Parameters
        ----------
        theta : array of shape (n,)
        """
        for p, array in zip(self.params, self.shaped(theta), strict=True):
            p.data = array

    def keep(self) -> None:
        """Write the present values into the parameters' own memory, so that they stay."""
        for p, array in zip(self.params, self._arrays, strict=True):
            array[...] = p.data
            p.data = array

    # -- evaluating --------------------------------------------------------------------------------

    def _evaluate(self) -> Tensor:
        value = self._loss()
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{self.op}: loss must return a Tensor, so that it can be differentiated, "
                f"got {type(value).__name__}"
            )
        if value.size != 1:
            raise ValueError(
                f"{self.op}: loss must return a tensor of one element, got shape {value.shape}"
            )
        return value

    def value(self, theta: Array) -> float:
        """The loss at a point.

        Parameters
        ----------
        theta : array of shape (n,)

        Returns
        -------
        float
        """
        self.move(theta)
        with no_grad():
            return float(self._evaluate().item())

    def value_and_gradient(self, theta: Array) -> tuple[float, Array]:
        """The loss and its gradient at a point.

        Parameters
        ----------
        theta : array of shape (n,)

        Returns
        -------
        float, array of shape (n,), float64
        """
        self.move(theta)
        with enable_grad():
            value = self._evaluate()
            if not value.requires_grad:
                raise ValueError(f"{self.op}: loss does not depend on any of the params")
            found = grad(value, self.params, allow_unused=True)
        arrays = [
            np.zeros(p.shape) if g is None else g.data
            for p, g in zip(self.params, found, strict=True)
        ]
        return float(value.item()), self.flat(arrays)

    def gradient(self, theta: Array) -> Array:
        """The gradient at a point.

        Parameters
        ----------
        theta : array of shape (n,)

        Returns
        -------
        array of shape (n,), float64
        """
        return self.value_and_gradient(theta)[1]

    def checked_start(self) -> tuple[float, Array]:
        """The loss and gradient where the parameters were, found to be finite and repeatable.

        Returns
        -------
        float, array of shape (n,), float64

        Raises
        ------
        ValueError
            See the class.
        """
        value, gradient = self.value_and_gradient(self.start)
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            what = f"loss is {value}" if not np.isfinite(value) else "gradient is not finite"
            raise ValueError(f"{self.op}: {what} at the given parameters")
        again, repeated = self.value_and_gradient(self.start)
        if again != value or not np.array_equal(gradient, repeated):
            raise ValueError(
                f"{self.op}: loss must be the same whenever it is computed, got {value!r} and "
                f"{again!r}; is dropout in training mode, or the batch drawn anew?"
            )
        return value, gradient

    # -- curvature ---------------------------------------------------------------------------------

    def product(self, vector: Array, *, theta: Array | None = None, widen: float = 1.0) -> Array:
        r"""The Hessian times a vector, by a central difference of two gradients.

        .. math:: Hv \approx \frac{g(\theta + \epsilon v) - g(\theta - \epsilon v)}{2\epsilon}

        The step is ε = ∛u · max(1, ‖θ‖) / ‖v‖ with u = 2.2e-16, where the error of rounding, u/ε,
        and that of truncation, ε², balance (Nocedal and Wright, *Numerical Optimization*, section
        8.1).

        Parameters
        ----------
        vector : array of shape (n,)
        theta : array of shape (n,), optional
            Where; default: the start.
        widen : float
            Multiplies the step: two widths tell how good the difference is.

        Returns
        -------
        array of shape (n,), float64
        """
        theta = self.start if theta is None else theta
        length = float(np.linalg.norm(vector))
        if length == 0.0:
            return np.zeros_like(theta)
        unit = np.asarray(vector, np.float64) / length
        step = widen * np.cbrt(np.finfo(np.float64).eps) * max(1.0, float(np.linalg.norm(theta)))
        ahead, behind = theta + step * unit, theta - step * unit
        return (self.gradient(ahead) - self.gradient(behind)) * (length / (2 * step))


def _snapshot(params: Any) -> list[tuple[Tensor, Array]]:
    if not isinstance(params, Module):
        return []
    return [(buffer, buffer.data.copy()) for buffer in params.buffers()]
