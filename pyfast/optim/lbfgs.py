"""L-BFGS, which is SciPy's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..autograd import enable_grad
from ..extras import missing_extra
from .optimizer import Array, Optimizer

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """Limited-memory BFGS with SciPy's line search; for full batches and smooth losses.

    One :meth:`step` is a whole run of ``scipy.optimize.minimize(method="L-BFGS-B")`` from where the
    parameters are, in float64. It differs from torch.optim.LBFGS in that the line search (Moré and
    Thuente) chooses the step, so there is no learning rate, and in that the curvature history
    begins anew at every call.

    Parameters
    ----------
    params : iterable of Tensor
        One group only.
    max_iter : int
        Iterations of a step.
    max_eval : int, optional
        Evaluations of the closure in a step. Default: ``max_iter * 5 // 4``.
    tolerance_grad : float
        Stop when no component of the gradient is larger.
    tolerance_change : float
        Stop when the loss falls by less than this share of its size.
    history_size : int
        Pairs of steps and gradient changes that stand for the Hessian.

    Raises
    ------
    ValueError
        If a setting is out of range, or there are several groups.
    ImportError
        If SciPy is not installed.

    References
    ----------
    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> p = pf.Tensor(np.array([3.0, -1.0]), requires_grad=True)
    >>> optimizer = pf.optim.LBFGS([p])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((p - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()
    8.0
    >>> p.numpy().round(6)
    array([1., 1.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
    ) -> None:
        problem = missing_extra(["scipy"], "train")
        if problem:
            raise ImportError(f"LBFGS: {problem}")
        super().__init__(
            params,
            {
                "lr": 1.0,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError(f"LBFGS: needs one group, got {len(self.param_groups)}")

    def _check_settings(self, group: dict[str, Any]) -> None:
        for name in ("max_iter", "max_eval", "history_size"):
            if group[name] < 1:
                raise ValueError(f"LBFGS: {name} must be positive, got {group[name]}")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run L-BFGS from where the parameters are.

        Parameters
        ----------
        closure : callable
            Forgets the gradients, computes the loss and its gradients, and returns the loss.

        Returns
        -------
        what `closure` returned the first time

        Raises
        ------
        ValueError
            If there is no closure.
        """
        from scipy.optimize import minimize

        if closure is None:
            raise ValueError("LBFGS: step needs a closure that computes the loss and its gradients")
        group = self.param_groups[0]
        params: list[Tensor] = group["params"]
        first: list[Any] = []

        def evaluate(x: Array) -> tuple[float, Array]:
            _write(params, x)
            with enable_grad():
                loss = closure()
            first.append(loss) if not first else None
            return float(loss), _read([_gradient(p) for p in params])

        result = minimize(
            evaluate,
            _read([p.data for p in params]),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": group["max_iter"],
                "maxfun": group["max_eval"],
                "gtol": group["tolerance_grad"],
                "ftol": group["tolerance_change"],
                "maxcor": group["history_size"],
            },
        )
        _write(params, result.x)
        return first[0]


def _gradient(p: Tensor) -> Array:
    return np.zeros_like(p.data) if p.grad is None else p.grad.data


def _read(arrays: list[Array]) -> Array:
    """The arrays as one vector in float64."""
    return np.concatenate([a.ravel() for a in arrays]).astype(np.float64)


def _write(params: list[Tensor], vector: Array) -> None:
    at = 0
    for p in params:
        p.data[...] = vector[at : at + p.data.size].reshape(p.data.shape)
        at += p.data.size
