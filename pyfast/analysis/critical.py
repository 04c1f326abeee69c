"""Where the gradient vanishes: minimum, saddle, maximum or plateau, and the way down.

At a critical point the loss is L(θ + v) ≈ L(θ) + ½ vᵀHv, so the signs of the Hessian's extreme
eigenvalues decide. Where an eigenvalue is zero to working accuracy the Hessian says nothing, and
the loss itself is asked, a few steps along that direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..extras import require_extra
from .curvature import (
    ExtremeEigenvalues,
    Products,
    checked_count,
    extreme_eigenvalues,
    unit_vector,
)
from .objective import Objective

__all__ = ["CriticalPoint", "FoundPoint", "critical_point", "find_critical_point"]

Array = np.ndarray[Any, Any]
Kind = Literal["minimum", "saddle", "maximum", "plateau", "not critical"]

_RANDOM_PROBES = 16
_LOSS_ROUNDING = 1e-12  # of a loss, relative: changes below are not believed


@dataclass(frozen=True)
class CriticalPoint:
    """What :func:`critical_point` found; ``print`` it for a report.

    Attributes
    ----------
    kind : {"minimum", "saddle", "maximum", "plateau", "not critical"}
    degenerate : bool
        Whether some extreme eigenvalue is zero to within `eigenvalue_tol`, so that `kind` rests on
        steps along that direction instead of on the Hessian.
    loss, gradient_norm : float
    gradient_tol, eigenvalue_tol : float
        Below these, absolute, a gradient norm and an eigenvalue count as zero.
    smallest, largest : array of shape (k,)
        Extreme eigenvalues of the Hessian, ascending.
    index : int or None
        How many eigenvalues are negative; None where not all were computed.
    escape_direction : list of arrays, or None
        A unit vector, cut into the parameters' shapes, along which the loss falls.
    escape_steps, escape_losses : array of shape (s,)
        Steps along it, from 0, and the loss there: the proof.
    products : int
        Hessian-vector products it took.
    """

    kind: Kind
    degenerate: bool
    loss: float
    gradient_norm: float
    gradient_tol: float
    smallest: Array
    largest: Array
    eigenvalue_tol: float
    index: int | None
    escape_direction: list[Array] | None
    escape_steps: Array
    escape_losses: Array
    products: int

    @property
    def escaped(self) -> bool:
        """Whether stepping along the escape direction was seen to lower the loss."""
        return self.escape_losses.size > 1 and bool(self.escape_losses.min() < self.loss)

    def __str__(self) -> str:
        flat = " (degenerate: the Hessian is silent, steps decided)" if self.degenerate else ""
        lines = [
            f"{self.kind}{flat if self.kind != 'not critical' else ''}",
            f"  loss            {self.loss:.6g}",
            f"  gradient norm   {self.gradient_norm:.3g}  (zero below {self.gradient_tol:.1g})",
            f"  eigenvalues     {self.smallest[0]:.6g} to {self.largest[-1]:.6g}  "
            f"(zero below {self.eigenvalue_tol:.1g})",
        ]
        if self.index is not None:
            lines.append(f"  negative        {self.index}")
        if self.escaped:
            best = int(self.escape_losses.argmin())
            lines.append(
                f"  way down        a step of {self.escape_steps[best]:.3g} lowers the loss to "
                f"{self.escape_losses[best]:.6g}"
            )
        return "\n".join(lines)


def critical_point(
    loss: Callable[[], Any],
    params: Any,
    k: int = 1,
    *,
    gradient_tol: float = 1e-6,
    eigenvalue_tol: float = 1e-6,
    tol: float = 1e-5,
    hvp: Callable[[Array], Any] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> CriticalPoint:
    r"""Tell what kind of critical point the parameters are at, and prove the way down.

    With s the largest eigenvalue in absolute value, the point is critical if
    ‖g‖ ≤ `gradient_tol` · max(1, s): a Newton step would then move it by about `gradient_tol` only.
    An eigenvalue counts as zero if \|λ\| ≤ `eigenvalue_tol` · s, or if it is below ten times the
    error that the Hessian-vector products were measured to have. Signs of the rest decide:

    ========================  ==========
    all positive              minimum
    all negative              maximum
    some of both              saddle
    some zero                 the loss is compared a few steps along those directions (and, when
                              all are zero, along 16 random ones): it only rises: minimum; it only
                              falls: maximum; both: saddle; neither: plateau
    ========================  ==========

    The last row is evidence, not proof, and is marked ``degenerate``. A direction that leads down
    is followed, in steps that double as long as the loss falls.

    Parameters
    ----------
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters. It must
        give the same value each time: dropout in evaluation mode, one fixed batch.
    params : Module, Tensor, or iterable or mapping of Tensors, float64
        They are moved while this runs and put back, bit for bit.
    k : int
        How many eigenvalues at each end.
    gradient_tol, eigenvalue_tol : float
        See above; relative.
    tol : float
        Accuracy of the eigenvalues; see :func:`hessian_eigenvalues`.
    hvp : callable, optional
        Takes a flat vector and returns the Hessian times it, where an exact one is known.
    seed : int
        Of the first Lanczos vector and the random directions.
    progress : bool, optional
        Show a bar. Default: in a terminal, after a second.

    Returns
    -------
    CriticalPoint

    Raises
    ------
    TypeError
        If parameters are not float64 Tensors, or `loss` does not return a Tensor.
    ValueError
        If no parameter requires grad; the loss is not one finite number that repeats itself; or
        `k` is not from 1 to the number of parameters.
    ImportError
        If SciPy is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.zeros(2), requires_grad=True)
    >>> point = pf.analysis.critical_point(lambda: x[0] ** 2 - x[1] ** 2, x)
    >>> point.kind, point.smallest.round(6), point.largest.round(6), point.escaped
    ('saddle', array([-2.]), array([2.]), True)
    """
    op = "critical_point"
    require_extra(op, ["scipy"], "analysis")
    rng = np.random.default_rng(seed)
    with Objective(op, loss, params) as objective:
        k = checked_count(op, "k", k, objective.size)
        value, gradient = objective.checked_start()
        with Products(objective, hvp, progress) as products:
            ends = extreme_eigenvalues(products, k, tol, rng)
            scale = max(abs(float(ends.smallest[0])), abs(float(ends.largest[-1])))
            zero = max(eigenvalue_tol * scale, 10 * products.error(rng))
            count = products.count
        around = _Surroundings(objective, value, gradient, zero)
        small_gradient = gradient_tol * max(1.0, scale)
        norm = float(np.linalg.norm(gradient))
        kind, direction = (
            ("not critical", None) if norm > small_gradient else around.kind(ends, rng)
        )
        steps, losses = around.walk(direction) if direction is not None else (np.zeros(1), [value])
        return CriticalPoint(
            kind=kind,
            degenerate=bool(min(np.abs(ends.smallest).min(), np.abs(ends.largest).min()) <= zero),
            loss=value,
            gradient_norm=norm,
            gradient_tol=small_gradient,
            smallest=ends.smallest,
            largest=ends.largest,
            eigenvalue_tol=zero,
            index=None if ends.every is None else int((ends.every < -zero).sum()),
            escape_direction=None if direction is None else objective.shaped(around.downhill),
            escape_steps=np.asarray(steps),
            escape_losses=np.asarray(losses),
            products=count,
        )


class _Surroundings:
    """The loss a few steps away from the point: what decides where the Hessian is silent."""

    def __init__(self, objective: Objective, value: float, gradient: Array, zero: float) -> None:
        self.objective = objective
        self.value = value
        self.gradient = gradient
        self.zero = zero
        self.scale = max(1.0, float(np.linalg.norm(objective.start)))
        self.downhill = np.zeros(objective.size)

    def kind(self, ends: ExtremeEigenvalues, rng: np.random.Generator) -> tuple[Kind, Array | None]:
        """The kind of the point, and a direction that leads down if there is one."""
        falls = float(ends.smallest[0]) < -self.zero
        rises = float(ends.largest[-1]) > self.zero
        down = ends.smallest_vectors[:, 0] if falls else None
        if not (falls and rises):
            for direction in self._silent(ends, rng, all_zero=not (falls or rises)):
                fell, rose = self._probe(direction)
                if fell and not falls:
                    falls, down = True, direction
                rises = rises or rose
        kinds: dict[tuple[bool, bool], Kind] = {
            (True, True): "saddle",
            (True, False): "maximum",
            (False, True): "minimum",
            (False, False): "plateau",
        }
        return kinds[falls, rises], down

    def _silent(
        self, ends: ExtremeEigenvalues, rng: np.random.Generator, all_zero: bool
    ) -> Iterable[Array]:
        """Directions of which the Hessian says nothing."""
        pairs = (
            (ends.smallest, ends.smallest_vectors),
            (ends.largest, ends.largest_vectors),
        )
        for values, vectors in pairs:
            yield from vectors.T[np.abs(values) <= self.zero]
        for _ in range(_RANDOM_PROBES if all_zero else 0):
            yield unit_vector(rng, self.objective.size)

    def _probe(self, direction: Array) -> tuple[bool, bool]:
        """Whether the loss falls, and whether it rises, beyond what its slope here explains."""
        fell = rose = False
        for radius in self.scale * np.array([1e-3, 1e-2, 1e-1, -1e-3, -1e-2, -1e-1]):
            there = self.objective.value(self.objective.start + radius * direction)
            change = there - self.value - radius * float(self.gradient @ direction)
            rounding = _LOSS_ROUNDING * max(abs(there), abs(self.value))
            bound = rounding + 0.5 * self.zero * radius**2
            fell = fell or change < -bound
            rose = rose or change > bound
        return fell, rose

    def walk(self, direction: Array) -> tuple[list[float], list[float]]:
        """Step along a direction, whichever way leads down, doubling while the loss falls."""
        radius, sign = self._first_step(direction)
        self.downhill = sign * direction
        steps, losses = [0.0], [self.value]
        while radius <= self.scale and (len(losses) == 1 or losses[-1] < losses[-2]):
            there = self.objective.value(self.objective.start + radius * self.downhill)
            if not np.isfinite(there):
                break
            steps.append(radius)
            losses.append(there)
            radius *= 2
        return steps, losses

    def _first_step(self, direction: Array) -> tuple[float, float]:
        """A length and sign at which the loss is lower than here."""
        radius = 1e-3 * self.scale
        for _ in range(20):
            ahead, behind = (
                self.objective.value(self.objective.start + sign * radius * direction)
                for sign in (1.0, -1.0)
            )
            if min(ahead, behind) < self.value:
                break
            radius /= 2
        return radius, 1.0 if ahead <= behind else -1.0


@dataclass(frozen=True)
class FoundPoint:
    """How :func:`find_critical_point` ended.

    Attributes
    ----------
    converged : bool
        Whether the gradient norm is at most the tolerance.
    loss, gradient_norm : float
    evaluations : int
        Gradients that it took.
    """

    converged: bool
    loss: float
    gradient_norm: float
    evaluations: int


def find_critical_point(
    loss: Callable[[], Any],
    params: Any,
    *,
    seek: Literal["nearest", "minimum"] = "nearest",
    tol: float = 1e-8,
    max_iterations: int = 500,
) -> FoundPoint:
    """Move the parameters to a critical point, of any kind or a minimum.

    Descent never finds saddles. "nearest" therefore solves g(θ) = 0 by Levenberg-Marquardt on
    ½‖g‖², whose Jacobian is the Hessian (MINPACK through SciPy; for at most 2,000 parameters).
    "minimum" runs L-BFGS, then Newton's method with conjugate gradients in a trust region, which
    makes the gradient as small as float64 allows.

    Parameters
    ----------
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters.
    params : Module, Tensor, or iterable or mapping of Tensors, float64
        Moved to what was found.
    seek : {"nearest", "minimum"}
    tol : float
        Gradient norm to reach.
    max_iterations : int

    Returns
    -------
    FoundPoint

    Raises
    ------
    TypeError, ValueError
        As :func:`critical_point`; also for an unknown `seek`, or too many parameters for
        "nearest".
    ImportError
        If SciPy is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.array([0.3, 0.2]), requires_grad=True)
    >>> loss = lambda: (x[0] ** 2 - 1) ** 2 + x[1] ** 2
    >>> pf.analysis.find_critical_point(loss, x).converged, x.numpy().round(6) + 0.0
    (True, array([0., 0.]))
    """
    op = "find_critical_point"
    require_extra(op, ["scipy"], "analysis")
    if seek not in ("nearest", "minimum"):
        raise ValueError(f"{op}: seek must be 'nearest' or 'minimum', got {seek!r}")
    with Objective(op, loss, params) as objective:
        objective.checked_start()
        solve = _nearest if seek == "nearest" else _minimum
        theta, evaluations = solve(objective, tol, max_iterations)
        value, gradient = objective.value_and_gradient(theta)
        objective.keep()
    norm = float(np.linalg.norm(gradient))
    return FoundPoint(norm <= tol, value, norm, evaluations)


def _nearest(objective: Objective, tol: float, max_iterations: int) -> tuple[Array, int]:
    from scipy.optimize import root

    if objective.size > 2000:
        raise ValueError(
            f"{objective.op}: params must hold at most 2000 elements to seek the nearest point, "
            f"got {objective.size}"
        )

    def jacobian(theta: Array) -> Array:
        columns = [objective.product(unit, theta=theta) for unit in np.eye(objective.size)]
        return np.stack(columns)

    found = root(
        objective.gradient,
        objective.start,
        jac=jacobian,
        method="lm",
        options={"maxiter": max_iterations, "ftol": 1e-15, "xtol": 1e-15, "gtol": 0.0},
    )
    return found.x, found.nfev + 2 * objective.size * found.get("njev", 0)


def _minimum(objective: Objective, tol: float, max_iterations: int) -> tuple[Array, int]:
    from scipy.optimize import minimize

    coarse = minimize(
        objective.value_and_gradient,
        objective.start,
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": max_iterations,
            "gtol": tol / np.sqrt(objective.size),
            "ftol": 0.0,
            "maxcor": 30,
            "maxfun": 4 * max_iterations,
        },
    )
    if np.linalg.norm(coarse.jac) <= tol:
        return coarse.x, coarse.nfev
    fine = minimize(
        objective.value_and_gradient,
        coarse.x,
        jac=True,
        hessp=lambda theta, v: objective.product(v, theta=theta),
        method="trust-ncg",
        options={"maxiter": max_iterations, "gtol": tol},
    )
    return fine.x, coarse.nfev + fine.nfev + 2 * fine.nhev
