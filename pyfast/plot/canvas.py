"""What all figures share: where matplotlib is loaded, colours, axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..extras import require_extra

__all__ = ["COLORS", "MAP", "SIGNED_MAP", "axes", "colorbar", "colormap", "mosaic", "series"]

Array = np.ndarray[Any, Any]

# Okabe and Ito, "Color Universal Design", 2008: told apart by colour-blind eyes, too. The yellow is
# left out: it is too pale for lines on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MAP = "cividis"  # made for colour-blind eyes (Nuñez, Anderton and Renslow, 2018)
SIGNED_MAP = "RdBu_r"


def axes(name: str, ax: Any, **figure: Any) -> Any:
    """The axes to draw into: those given, or those of a new figure.

    Parameters
    ----------
    name : str
        The function that draws; begins the message.
    ax : matplotlib Axes, optional
    **figure
        For ``pyplot.subplots``.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    require_extra(f"plot.{name}", ["matplotlib"], "analysis")
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained", **figure)[1]


def series(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of the index-th line.

    Parameters
    ----------
    index : int

    Returns
    -------
    dict
        For ``Axes.plot``.

    Examples
    --------
    >>> series(0)["color"]
    '#0072B2'
    """
    i = index % len(COLORS)
    return {"color": COLORS[i], "marker": MARKERS[i], "linestyle": DASHES[i]}


def colormap(name: str) -> Any:
    """A matplotlib colour map that shows NaN, such as the gaps of a mosaic, in grey.

    Parameters
    ----------
    name : str

    Returns
    -------
    Colormap
    """
    import matplotlib

    return matplotlib.colormaps[name].with_extremes(bad="0.7")


def colorbar(ax: Any, mappable: Any, label: str) -> Any:
    """A labelled colour bar beside axes.

    Parameters
    ----------
    ax : Axes
    mappable : what ``imshow`` or ``contourf`` returned
    label : str

    Returns
    -------
    Colorbar
    """
    return ax.figure.colorbar(mappable, ax=ax, label=label)


def mosaic(images: Any, columns: int | None = None, gap: int = 1) -> tuple[Array, int]:
    """Images side by side in one, NaN between them.

    Parameters
    ----------
    images : array of shape (n, H, W)
    columns : int, optional
        Default: about as many as rows.
    gap : int
        Pixels between images.

    Returns
    -------
    array of shape (rows, columns) in pixels, float64
    columns : int

    Raises
    ------
    ValueError
        If there are no images or they have another rank.

    Examples
    --------
    >>> import numpy as np
    >>> mosaic(np.zeros((4, 3, 3)))[0].shape
    (7, 7)
    """
    stack = np.asarray(images, np.float64)
    if stack.ndim != 3 or not stack.size:
        raise ValueError(f"plot: images must have shape (n, H, W), got {stack.shape}")
    n, height, width = stack.shape
    across = min(n, columns or int(np.ceil(np.sqrt(n))))
    rows = -(-n // across)
    canvas = np.full((rows * (height + gap) - gap, across * (width + gap) - gap), np.nan)
    for i, image in enumerate(stack):
        top, left = (i // across) * (height + gap), (i % across) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas, across
