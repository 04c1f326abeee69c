"""The loss of a network around a point, along two directions, with the path training took.

A network's weights can be scaled without changing what it computes, so plain random directions
would show a surface as flat or as sharp as one likes. Filter normalisation gives each direction the
length of the filters it perturbs (Li et al., "Visualizing the Loss Landscape of Neural Nets",
NeurIPS 2018, section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .curvature import checked_count
from .objective import Objective, parameters_of

__all__ = [
    "LossLandscape",
    "Smoothness",
    "filter_normalized_direction",
    "flat_parameters",
    "loss_landscape",
    "path_directions",
    "smoothness",
]

Array = np.ndarray[Any, Any]


def flat_parameters(params: Any) -> Array:
    """A copy of all parameters, laid end to end: one point of a training path.

    Parameters
    ----------
    params : Module, Tensor, or iterable or mapping of Tensors

    Returns
    -------
    array of shape (n,), float64
        Those that require grad.

    Raises
    ------
    TypeError, ValueError
        If there is no Tensor that requires grad among them.

    Examples
    --------
    >>> from pyfast import nn
    >>> flat_parameters(nn.Linear(2, 3)).shape
    (9,)
    """
    tensors = parameters_of("flat_parameters", params)
    return np.concatenate([np.asarray(p.data, np.float64).ravel() for p in tensors])


def filter_normalized_direction(params: Any, seed: int = 0) -> Array:
    """A random direction, each filter of it as long as the filter it perturbs.

    For a weight of shape (O, ...), filter o is ``weight[o]``. Vectors (biases, the scales of a
    batch norm) are left alone, as in the paper.

    Parameters
    ----------
    params : Module, Tensor, or iterable or mapping of Tensors
    seed : int

    Returns
    -------
    array of shape (n,), float64

    Raises
    ------
    TypeError, ValueError
        If there is no Tensor that requires grad among them.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> layer = nn.Linear(4, 3)
    >>> d = filter_normalized_direction(layer)
    >>> lengths = np.linalg.norm(d[:12].reshape(3, 4), axis=1)
    >>> bool(np.allclose(lengths, np.linalg.norm(layer.weight.data, axis=1)))
    True
    """
    rng = np.random.default_rng(seed)
    pieces = [_like_filters(np.asarray(p.data, np.float64), rng)
              for p in parameters_of("filter_normalized_direction", params)]  # fmt: skip
    return np.concatenate(pieces)


def _like_filters(weight: Array, rng: np.random.Generator) -> Array:
    if weight.ndim < 2:
        return np.zeros(weight.size)
    filters = weight.reshape(len(weight), -1)
    direction = rng.standard_normal(filters.shape)
    lengths = np.linalg.norm(direction, axis=1, keepdims=True)
    direction *= np.linalg.norm(filters, axis=1, keepdims=True) / np.maximum(lengths, 1e-300)
    return direction.ravel()


def path_directions(path: Any, center: Any = None) -> tuple[Array, Array]:
    """The two directions in which a training path varies most: its principal components.

    Parameters
    ----------
    path : array of shape (T, n), T at least 3
    center : array of shape (n,), optional
        Default: the last point.

    Returns
    -------
    directions : array of shape (2, n)
        Orthonormal.
    explained : array of shape (2,)
        Shares of the path's variation.

    Raises
    ------
    ValueError
        If there are fewer than three points or all lie on one line.

    Examples
    --------
    >>> import numpy as np
    >>> directions, explained = path_directions([[0.0, 0, 0], [1, 0, 0], [1, 2, 0]])
    >>> directions.shape, round(float(explained.sum()), 6)
    ((2, 3), 1.0)
    """
    points = np.asarray(path, np.float64)
    if points.ndim != 2 or len(points) < 3:
        raise ValueError(f"path_directions: path must have shape (T >= 3, n), got {points.shape}")
    offsets = points - (points[-1] if center is None else np.asarray(center, np.float64))
    _, lengths, axes = np.linalg.svd(offsets, full_matrices=False)
    if lengths.size < 2 or lengths[1] <= 1e-12 * lengths[0]:
        raise ValueError("path_directions: path must not lie on one line")
    return axes[:2], lengths[:2] ** 2 / (lengths**2).sum()


@dataclass(frozen=True)
class LossLandscape:
    """Losses on a grid around a point.

    Attributes
    ----------
    alphas, betas : array of shape (points,)
        Steps along the first and the second direction.
    losses : array of shape (points, points)
        ``losses[i, j]`` at ``alphas[j], betas[i]``.
    directions : array of shape (2, n)
    path : array of shape (T, 2), or None
        The training path in these coordinates.
    explained : array of shape (2,), or None
        Shares of the path's variation along them, where they are its principal components.
    """

    alphas: Array
    betas: Array
    losses: Array
    directions: Array
    path: Array | None
    explained: Array | None


def loss_landscape(
    loss: Callable[[], Any],
    params: Any,
    *,
    directions: Any = None,
    path: Any = None,
    span: float = 1.0,
    points: int = 25,
    seed: int = 0,
    progress: bool | None = None,
) -> LossLandscape:
    """The loss on a plane through the parameters.

    The plane is spanned by `directions`; else by the principal components of `path`; else by two
    filter-normalised random directions.

    Parameters
    ----------
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters. With
        batch norm keep the model in training mode: the running statistics belong to one point.
    params : Module, Tensor, or iterable or mapping of Tensors
        Of one dtype; put back afterwards, with the buffers of a Module.
    directions : array of shape (2, n), optional
    path : sequence of arrays of shape (n,), optional
        Points of training, as :func:`flat_parameters` gives them; drawn into the plane.
    span : float
        Without a path the grid reaches from -span to span; with one, this share beyond the path.
    points : int
        Along each axis.
    seed : int
        Of random directions.
    progress : bool, optional
        Show a bar. Default: in a terminal, after a second.

    Returns
    -------
    LossLandscape

    Raises
    ------
    TypeError, ValueError
        If there is nothing to differentiate, the loss is not one number, or `directions` or `path`
        do not fit the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> plane = pf.analysis.loss_landscape(
    ...     lambda: (x * x).sum(), x, directions=np.eye(2), points=3
    ... )
    >>> plane.losses
    array([[ 1.,  2.,  5.],
           [ 4.,  5.,  8.],
           [ 9., 10., 13.]])
    """
    op = "loss_landscape"
    points = checked_count(op, "points", points)
    if not span > 0:
        raise ValueError(f"{op}: span must be positive, got {span}")
    with Objective(op, loss, params, double=False) as objective:
        walk = None if path is None else _checked_path(op, path, objective.size)
        explained = None
        if directions is None and walk is not None:
            directions, explained = path_directions(walk, objective.start)
        elif directions is None:
            directions = [filter_normalized_direction(params, 2 * seed + i) for i in (0, 1)]
        axes = np.asarray(directions, np.float64)
        if axes.shape != (2, objective.size):
            raise ValueError(
                f"{op}: directions must have shape (2, {objective.size}), got {axes.shape}"
            )
        seen = None if walk is None else _coordinates(walk - objective.start, axes)
        alphas, betas = _grid(seen, span, points)
        losses = _losses(objective, axes, alphas, betas, progress)
    return LossLandscape(alphas, betas, losses, axes, seen, explained)


def _checked_path(op: str, path: Any, size: int) -> Array:
    walk = np.asarray(path, np.float64)
    if walk.ndim != 2 or walk.shape[1] != size or not len(walk):
        raise ValueError(f"{op}: path must have shape (T, {size}), got {walk.shape}")
    return walk


def _coordinates(offsets: Array, axes: Array) -> Array:
    """Where points lie in the plane: least squares, as the axes need not be orthogonal."""
    return np.linalg.lstsq(axes.T, offsets.T, rcond=None)[0].T


def _grid(seen: Array | None, span: float, points: int) -> tuple[Array, Array]:
    if seen is None:
        line = np.linspace(-span, span, points)
        return line, line
    low, high = np.minimum(seen.min(0), 0), np.maximum(seen.max(0), 0)
    beyond = span * np.maximum(high - low, 1e-12)
    return tuple(np.linspace(low[i] - beyond[i], high[i] + beyond[i], points) for i in (0, 1))  # type: ignore[return-value]


def _losses(
    objective: Objective, axes: Array, alphas: Array, betas: Array, progress: bool | None
) -> Array:
    from tqdm import tqdm

    losses = np.empty((len(betas), len(alphas)))
    hidden = None if progress is None else not progress
    with tqdm(total=losses.size, desc=objective.op, disable=hidden, delay=1) as bar:
        for i, j in np.ndindex(losses.shape):
            offset = alphas[j] * axes[0] + betas[i] * axes[1]
            losses[i, j] = objective.value(objective.start + offset)
            bar.update()
    return losses


@dataclass(frozen=True)
class Smoothness:
    """How the loss and its gradient change along the gradient.

    Attributes
    ----------
    steps : array of shape (s,)
        How far along the negative gradient, as learning rates.
    losses : array of shape (s,)
        The loss there.
    gradient_change : array of shape (s,)
        ‖g(θ - ηg) - g(θ)‖ / ‖g(θ)‖: 0 where the gradient still points the right way.
    loss : float
        At the point itself.
    """

    steps: Array
    losses: Array
    gradient_change: Array
    loss: float

    @property
    def effective_beta(self) -> float:
        """The largest ratio of a gradient's change to the distance: a Lipschitz constant seen."""
        return float((self.gradient_change / self.steps).max())


def smoothness(loss: Callable[[], Any], params: Any, steps: Sequence[float]) -> Smoothness:
    """How well the gradient predicts the loss a step away.

    The measurements of Santurkar et al., "How Does Batch Normalization Help Optimization?",
    NeurIPS 2018, section 3: variation of the loss, gradient predictiveness, effective smoothness.

    Parameters
    ----------
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters.
    params : Module, Tensor, or iterable or mapping of Tensors
    steps : sequence of float
        Learning rates to try; positive.

    Returns
    -------
    Smoothness

    Raises
    ------
    TypeError, ValueError
        If there is nothing to differentiate, the loss is not one finite number, the gradient is
        zero, or a step is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.array([1.0, 0.0]), requires_grad=True)
    >>> pf.analysis.smoothness(lambda: 2 * (x * x).sum(), x, [0.1, 0.2]).effective_beta
    4.0
    """
    lengths = np.asarray(steps, np.float64)
    if lengths.ndim != 1 or not lengths.size or not (lengths > 0).all():
        raise ValueError(f"smoothness: steps must be positive numbers, got {steps!r}")
    with Objective("smoothness", loss, params, double=False) as objective:
        value, gradient = objective.checked_start()
        norm = float(np.linalg.norm(gradient))
        if norm == 0:
            raise ValueError("smoothness: the gradient must not be zero at the given parameters")
        there = [objective.value_and_gradient(objective.start - h * gradient) for h in lengths]
    change = [float(np.linalg.norm(g - gradient)) / norm for _, g in there]
    return Smoothness(lengths, np.array([v for v, _ in there]), np.array(change), value)
