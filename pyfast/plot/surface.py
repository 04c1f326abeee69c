"""Figures of error surfaces: paths, landscapes, the Hessian's spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .canvas import COLORS, MAP, axes, colorbar, series

__all__ = ["hessian_spectrum", "loss_surface", "optimizer_paths"]

Array = np.ndarray[Any, Any]


def optimizer_paths(
    surface: Any, paths: Mapping[str, Any], *, points: int = 200, ax: Any = None
) -> Any:
    """The paths of optimizers over the contours of a surface.

    Parameters
    ----------
    surface : Surface, or (x, y, z)
        Arrays of shape (W,), (H,) and (H, W).
    paths : mapping of str to OptimizerPath or array of shape (T, 2)
        By the optimizer's name.
    points : int
        Of the contours' grid, along each axis.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import pyfast as pf
    >>> surface = pf.analysis.SURFACES["ravine"]
    >>> path = pf.analysis.optimizer_path(surface, lambda p: pf.optim.SGD(p, lr=0.01), steps=9)
    >>> pf.plot.optimizer_paths(surface, {"SGD": path}).get_title()
    'ravine'
    """
    ax = axes("optimizer_paths", ax)
    x, y, z = surface if isinstance(surface, tuple) else surface.grid(points)
    height = z - z.min()
    levels = np.geomspace(max(height.max() * 1e-5, 1e-12), height.max(), 14)
    ax.contour(x, y, height, levels=levels, cmap=MAP, linewidths=0.6, alpha=0.5,
               zorder=1)  # fmt: skip
    for i, (label, path) in enumerate(paths.items()):
        way = np.asarray(getattr(path, "points", path))
        look = series(i)
        every = max(1, len(way) // 15)
        ax.plot(*way.T, label=label, lw=1.6, ms=4, markevery=every, **look)
        ax.plot(*way[-1], marker=look["marker"], color=look["color"], ms=9, mec="white")
    for minimum in getattr(surface, "minima", ()):
        ax.plot(*minimum, "*", color="black", ms=11, mec="white", zorder=9)
    if paths:
        first = np.asarray(getattr(next(iter(paths.values())), "points", None))
        if first.ndim == 2:
            ax.plot(*first[0], "o", color="white", mec="black", ms=8, zorder=9)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel="x", ylabel="y",
           title=getattr(surface, "name", ""))  # fmt: skip
    if paths:
        ax.legend(fontsize=8)
    return ax


def loss_surface(landscape: Any, *, log: bool = True, label: str = "loss", ax: Any = None) -> Any:
    """A network's loss on a plane, with the path that training took.

    Parameters
    ----------
    landscape : LossLandscape
        What :func:`pyfast.analysis.loss_landscape` returned.
    log : bool
        Logarithmic levels.
    label : str
        Of the colour bar.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes
    """
    from matplotlib.colors import LogNorm

    ax = axes("loss_surface", ax)
    z = np.where(np.isfinite(landscape.losses), landscape.losses, np.nan)
    positive = log and bool(np.nanmin(z) > 0)
    levels: Any = np.geomspace(np.nanmin(z), np.nanmax(z), 25) if positive else 25
    filled = ax.contourf(landscape.alphas, landscape.betas, z, levels=levels, cmap=MAP,
                         norm=LogNorm() if positive else None)  # fmt: skip
    bar = colorbar(ax, filled, label)
    if positive:
        ticks = np.geomspace(levels[0], levels[-1], 5)
        bar.set_ticks(ticks, labels=[f"{t:.2g}" for t in ticks])
        bar.ax.minorticks_off()
    if landscape.path is not None:
        ax.plot(*landscape.path.T, "o-", color="white", lw=1, ms=2.5, label="path of training")
        ax.plot(*landscape.path[0], "o", color=COLORS[4], ms=8, mec="black", label="start")
    ax.plot(0, 0, "*", color=COLORS[1], ms=13, mec="white", label="trained weights")
    share = landscape.explained
    names = ["first direction", "second direction"]
    if share is not None:
        names = [f"{n} ({s:.0%} of the path)" for n, s in zip(names, share, strict=True)]
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.legend(fontsize=8, facecolor="0.85")
    return ax


def hessian_spectrum(
    spectrum: Any, *, exact: Any = None, width: float | None = None, ax: Any = None
) -> Any:
    """The density of a Hessian's eigenvalues, on a logarithmic scale.

    Parameters
    ----------
    spectrum : HessianSpectrum
        What :func:`pyfast.analysis.hessian_spectrum` returned.
    exact : array of shape (n,), optional
        Eigenvalues of a dense solver, shown as ticks below the curve.
    width : float, optional
        See :meth:`pyfast.analysis.HessianSpectrum.density`.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes
    """
    ax = axes("hessian_spectrum", ax)
    if width is None:
        width = 0.01 * max(
            float(np.ptp(spectrum.nodes)), 1e-3 * float(np.abs(spectrum.nodes).max())
        )
    x, y = spectrum.density(800, width or None)
    floor = 0.1 / (spectrum.size * max(x[-1] - x[0], 1e-300))
    ax.semilogy(x, np.where(y > floor, y, np.nan), color=COLORS[0], lw=2,
                label=f"Lanczos quadrature, σ = {width:.2g}")  # fmt: skip
    ax.fill_between(x, floor, np.maximum(y, floor), color=COLORS[0], alpha=0.2, lw=0)
    if exact is not None:
        values = np.asarray(exact)
        ax.plot(values, np.full(values.size, floor * 2), "|", color=COLORS[1], ms=10,
                label=f"{values.size} exact eigenvalues")  # fmt: skip
    ax.axvline(0, color="0.4", lw=0.8, ls=":")
    ax.set(xlabel="eigenvalue of the Hessian", ylabel="density", ylim=(floor, None))
    ax.legend()
    return ax
