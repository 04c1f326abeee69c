"""Figures of what is inside a network: filters, feature maps, fields, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .canvas import COLORS, MAP, SIGNED_MAP, axes, colorbar, colormap, mosaic, series

__all__ = ["feature_maps", "filters", "gradient_flow", "receptive_field", "saliency"]

Array = np.ndarray[Any, Any]


def filters(
    weight: Any, *, channel: int | None = None, columns: int | None = None, ax: Any = None
) -> Any:
    """The filters of a convolution, one image each, on one scale of colours.

    Parameters
    ----------
    weight : array of shape (O, C, KH, KW)
    channel : int, optional
        Which input channel to show. Default: the mean over all.
    columns : int, optional
        Images in a row.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `weight` has another rank.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> ax = pf.plot.filters(np.random.default_rng(0).standard_normal((8, 1, 3, 3)))
    >>> len(ax.images)
    1
    """
    array = np.asarray(weight)
    if array.ndim != 4 or not array.size:
        raise ValueError(f"plot.filters: weight must have shape (O, C, KH, KW), got {array.shape}")
    images = array.mean(1) if channel is None else array[:, channel]
    ax = axes("filters", ax)
    return _tiles(ax, images, columns, "weight", signed=True)


def feature_maps(maps: Any, *, columns: int | None = None, ax: Any = None) -> Any:
    """The feature maps of one image, one tile a channel.

    Parameters
    ----------
    maps : array of shape (C, H, W)
        One image's entry of what :func:`pyfast.analysis.feature_maps` returned.
    columns : int, optional
        Images in a row.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `maps` has another rank.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> ax = pf.plot.feature_maps(np.ones((4, 6, 6)))
    """
    array = np.asarray(maps)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"plot.feature_maps: maps must have shape (C, H, W), got {array.shape}")
    ax = axes("feature_maps", ax)
    return _tiles(ax, array, columns, "activation", signed=bool(array.min() < 0))


def _tiles(ax: Any, images: Array, columns: int | None, label: str, signed: bool) -> Any:
    canvas, _ = mosaic(images, columns)
    limit = float(np.nanmax(np.abs(canvas))) or 1.0
    shown = ax.imshow(canvas, cmap=colormap(SIGNED_MAP if signed else MAP), interpolation="nearest",
                      vmin=-limit if signed else 0.0, vmax=limit)  # fmt: skip
    colorbar(ax, shown, label)
    ax.axis("off")
    return ax


def receptive_field(
    image: Any, box: Any = None, strength: Any = None, *, label: str = "gradient", ax: Any = None
) -> Any:
    """What a neuron sees of an image: the box of its field and how strongly each pixel counts.

    Parameters
    ----------
    image : array of shape (H, W)
    box : (slice, slice), optional
        As :meth:`pyfast.analysis.ReceptiveField.box` gives it.
    strength : array of shape (H, W), optional
        As :func:`pyfast.analysis.effective_receptive_field` gives it; drawn instead of the image.
    label : str
        Of the strength's colour bar.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `image` has another rank.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> ax = pf.plot.receptive_field(np.eye(8), (slice(2, 5), slice(1, 4)))
    >>> len(ax.patches)
    1
    """
    from matplotlib.patches import Rectangle

    picture = np.asarray(image)
    if picture.ndim != 2:
        raise ValueError(f"plot.receptive_field: image must have shape (H, W), got {picture.shape}")
    ax = axes("receptive_field", ax)
    if strength is None:
        ax.imshow(picture, cmap="gray_r", interpolation="nearest")
    else:
        colorbar(ax, ax.imshow(np.asarray(strength), cmap=MAP, interpolation="nearest"), label)
    if box is not None:
        rows, columns = box
        ax.add_patch(
            Rectangle((columns.start - 0.5, rows.start - 0.5), columns.stop - columns.start,
                      rows.stop - rows.start, fill=False, ec=COLORS[1], lw=2.5)
        )  # fmt: skip
    ax.set(xticks=[], yticks=[])
    return ax


def saliency(image: Any, attribution: Any, *, ax: Any = None) -> Any:
    """Which pixels speak for a class and which against it, over the image's outline.

    Parameters
    ----------
    image, attribution : array of shape (H, W)
        The second as :func:`pyfast.analysis.saliency` gives it.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> ax = pf.plot.saliency(np.eye(8), np.eye(8) - 0.5)
    """
    picture, values = np.asarray(image), np.asarray(attribution)
    if picture.ndim != 2 or picture.shape != values.shape:
        raise ValueError(
            f"plot.saliency: image and attribution must have one shape (H, W), got "
            f"{picture.shape} and {values.shape}"
        )
    ax = axes("saliency", ax)
    limit = float(np.abs(values).max()) or 1.0
    ax.imshow(values, cmap=SIGNED_MAP, vmin=-limit, vmax=limit, interpolation="nearest")
    low, high = float(picture.min()), float(picture.max())
    if high > low and min(picture.shape) > 1:
        ax.contour(picture, levels=[(low + high) / 2], colors="black", linewidths=0.8)
    ax.set(xticks=[], yticks=[])
    return ax


def gradient_flow(flow: Any, *, ax: Any = None) -> Any:
    """The sizes of the gradients, layer by layer, from the input to the output.

    Parameters
    ----------
    flow : GradientFlow, or mapping of str to GradientFlow
        What :func:`pyfast.analysis.gradient_flow` returned; several are drawn together.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes
    """
    ax = axes("gradient_flow", ax)
    flows = flow if isinstance(flow, dict) else {"": flow}
    for i, (label, one) in enumerate(flows.items()):
        look = series(i)
        at = np.arange(len(one.names))
        ax.semilogy(at, one.mean, label=f"{label}, mean" if label else "mean", **look)
        ax.semilogy(at, one.maximum, color=look["color"], lw=0.8, ls=":",
                    label=f"{label}, largest" if label else "largest")  # fmt: skip
    names = next(iter(flows.values())).names
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    ax.set(xlabel="layer, from input to output", ylabel="absolute gradient")
    ax.legend(fontsize=8)
    return ax
