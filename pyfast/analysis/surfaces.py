"""Named test surfaces of two variables, and the paths optimizers take on them.

Each is a formula in NumPy's operators, so that it takes arrays (to draw it) and Tensors (to descend
on it) alike. Sources: Surjanovic and Bingham, *Virtual Library of Simulation Experiments*; Moré,
Garbow and Hillstrom, "Testing Unconstrained Optimization Software", ACM TOMS 7, 1981.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._tensor import Tensor
from .curvature import checked_count

__all__ = ["SURFACES", "OptimizerPath", "Surface", "optimizer_path"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Surface:
    """A function of two variables whose interesting points are known.

    Attributes
    ----------
    name : str
    function : callable
        Takes x and y, arrays or Tensors of one shape, and gives the height.
    start : (float, float)
        Where a descent is usually begun.
    bounds : ((float, float), (float, float))
        What to draw: ranges of x and y.
    minima, saddles, maxima : tuple of (float, float)
        Critical points with known coordinates; of families, some members.
    about : str
        What it is hard for.
    """

    name: str
    function: Callable[[Any, Any], Any]
    start: tuple[float, float]
    bounds: tuple[tuple[float, float], tuple[float, float]]
    about: str
    minima: tuple[tuple[float, float], ...] = ()
    saddles: tuple[tuple[float, float], ...] = ()
    maxima: tuple[tuple[float, float], ...] = ()

    def __call__(self, point: Any) -> Any:
        """The height at a point.

        Parameters
        ----------
        point : array or Tensor of shape (..., 2)

        Returns
        -------
        array or Tensor of shape (...)
        """
        return self.function(point[..., 0], point[..., 1])

    def grid(self, points: int = 200) -> tuple[Array, Array, Array]:
        """The surface over its bounds, ready to be drawn.

        Parameters
        ----------
        points : int
            Along each axis.

        Returns
        -------
        x, y : array of shape (points,)
        z : array of shape (points, points)
            ``z[i, j]`` is the height at ``x[j], y[i]``.

        Examples
        --------
        >>> SURFACES["saddle"].grid(5)[2].shape
        (5, 5)
        """
        x, y = (np.linspace(*b, points) for b in self.bounds)
        return x, y, np.asarray(self.function(x[None, :], y[:, None]))


def _rosenbrock(x: Any, y: Any) -> Any:
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _beale(x: Any, y: Any) -> Any:
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _himmelblau(x: Any, y: Any) -> Any:
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def _camel(x: Any, y: Any) -> Any:
    return 2 * x**2 - 1.05 * x**4 + x**6 / 6 + x * y + y**2


def _styblinski_tang(x: Any, y: Any) -> Any:
    return 0.5 * (x**4 - 16 * x**2 + 5 * x + y**4 - 16 * y**2 + 5 * y)


def _rastrigin(x: Any, y: Any) -> Any:
    waves = np.cos(2 * np.pi * x) + np.cos(2 * np.pi * y)
    return 20 + x**2 + y**2 - 10 * waves


def _goldstein_price(x: Any, y: Any) -> Any:
    first = 19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2
    second = 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
    return (1 + (x + y + 1) ** 2 * first) * (30 + (2 * x - 3 * y) ** 2 * second)


_ALL = (
    Surface("rosenbrock", _rosenbrock, (-1.2, 1.0), ((-2, 2), (-1, 3)),
            "a curved valley with a nearly flat floor", minima=((1, 1),)),
    Surface("beale", _beale, (1.0, 1.5), ((-4.5, 4.5), (-4.5, 4.5)),
            "flat around a saddle, steep at the corners", minima=((3, 0.5),), saddles=((0, 1),)),
    Surface("himmelblau", _himmelblau, (0.0, -1.0), ((-5, 5), (-5, 5)),
            "four minima of one depth",
            minima=((3, 2), (-2.805118086953, 3.131312518250), (-3.779310253378, -3.283185991286),
                    (3.584428340330, -1.848126526964)),
            saddles=((0.086677504555, 2.884254701175), (3.385154183607, 0.073851879838),
                     (-0.127961346731, -1.953714980217), (-3.073025751003, -0.081353044288)),
            maxima=((-0.270844590667, -0.923038522172),)),
    Surface("saddle", lambda x, y: x**2 - y**2 + y**4 / 4, (1.8, 1e-3), ((-2, 2), (-2.5, 2.5)),
            "a start on the ridge: the way down is invisible at first",
            minima=((0, 2**0.5), (0, -(2**0.5))), saddles=((0, 0),)),
    Surface("monkey saddle", lambda x, y: x**3 - 3 * x * y**2, (0.3, 0.9), ((-1, 1), (-1, 1)),
            "a zero Hessian at a point that is a saddle all the same", saddles=((0, 0),)),
    Surface("ravine", lambda x, y: 0.5 * (x**2 + 100 * y**2), (-8.0, 1.0), ((-10, 10), (-2, 2)),
            "one direction a hundred times steeper than the other", minima=((0, 0),)),
    Surface("booth", lambda x, y: (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2, (-8.0, -8.0),
            ((-10, 10), (-10, 10)), "a mild oblique valley", minima=((1, 3),)),
    Surface("three-hump camel", _camel, (-1.6, 1.5), ((-2.5, 2.5), (-2.5, 2.5)),
            "two local minima beside the global one",
            minima=((0, 0), (-1.747552345832, 0.873776172916), (1.747552345832, -0.873776172916)),
            saddles=((1.070541903330, -0.535270951665), (-1.070541903330, 0.535270951665))),
    Surface("styblinski-tang", _styblinski_tang, (4.0, 4.5), ((-5, 5), (-5, 5)),
            "four minima of different depth",
            minima=((-2.903534027771, -2.903534027771), (2.746802773221, 2.746802773221),
                    (-2.903534027771, 2.746802773221)),
            saddles=((0.156731254550, -2.903534027771), (0.156731254550, 2.746802773221)),
            maxima=((0.156731254550, 0.156731254550),)),
    Surface("rastrigin", _rastrigin, (-3.3, 2.7), ((-5.12, 5.12), (-5.12, 5.12)),
            "a minimum in every hollow of a wave", minima=((0, 0),)),
    Surface("goldstein-price", _goldstein_price, (1.0, 1.0), ((-2, 2), (-2.5, 1.5)),
            "heights over six orders of magnitude", minima=((0, -1), (-0.6, -0.4))),
)  # fmt: skip

SURFACES: dict[str, Surface] = {surface.name: surface for surface in _ALL}
"""The surfaces by name."""


@dataclass(frozen=True)
class OptimizerPath:
    """The way of one optimizer.

    Attributes
    ----------
    points : array of shape (steps + 1, 2), float64
        From the start on; shorter where the optimizer left for infinity.
    losses : array of shape (steps + 1,)
    diverged : bool
    """

    points: Array
    losses: Array
    diverged: bool


def optimizer_path(
    surface: Surface | Callable[[Any], Any],
    optimizer: Callable[[list[Tensor]], Any],
    *,
    start: Any = None,
    steps: int = 200,
) -> OptimizerPath:
    """Let an optimizer descend on a surface and keep its path.

    Parameters
    ----------
    surface : Surface or callable
        A callable takes a Tensor of shape (n,) and returns one of one element.
    optimizer : callable
        Makes the optimizer from a list of parameters: ``lambda p: pf.optim.SGD(p, lr=0.01)``.
    start : array of shape (n,), optional
        Default: the surface's own.
    steps : int

    Returns
    -------
    OptimizerPath

    Raises
    ------
    ValueError
        If `steps` is not positive, or there is no start.

    Examples
    --------
    >>> import pyfast as pf
    >>> ravine = pf.analysis.SURFACES["ravine"]
    >>> path = pf.analysis.optimizer_path(ravine, lambda p: pf.optim.SGD(p, lr=0.015), steps=300)
    >>> path.points.shape, float(path.losses[-1]) < 0.01
    ((301, 2), True)
    """
    steps = checked_count("optimizer_path", "steps", steps)
    if start is None:
        if not isinstance(surface, Surface):
            raise ValueError("optimizer_path: start must be given for a plain callable")
        start = surface.start
    point = Tensor(np.array(start, np.float64), requires_grad=True)
    engine = optimizer([point])
    points, losses = [point.data.copy()], []

    def closure() -> Tensor:
        engine.zero_grad()
        loss = surface(point)
        loss.backward()
        return loss

    for _ in range(steps):
        with np.errstate(all="ignore"):
            losses.append(float(engine.step(closure)))
        if not np.isfinite(point.data).all():
            return OptimizerPath(np.stack(points), np.array(losses), True)
        points.append(point.data.copy())
    losses.append(float(np.asarray(surface(point.detach()))))
    return OptimizerPath(np.stack(points), np.array(losses), not np.isfinite(losses[-1]))
