"""How much of the image a neuron sees: from the layers' settings, and from gradients."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..autograd import Context, enable_grad, grad
from ..nn.module import Module
from ..nn.sizes import to_tuple
from .layers import LayerCall, evaluating, first, named_layer, trace

__all__ = ["ReceptiveField", "effective_receptive_field", "gradient_receptive_field",
           "receptive_field"]  # fmt: skip

Array = np.ndarray[Any, Any]
Spans = tuple[int, ...]


@dataclass(frozen=True)
class ReceptiveField:
    """What the neurons of one layer see, in pixels of the input; one number for each axis.

    Attributes
    ----------
    name, kind : str
        Path and class of the layer.
    size : tuple of int
        Pixels that one neuron can see, padding included.
    stride : tuple of int
        How far the fields of neighbours lie apart; 0 where every neuron sees everything.
    start : tuple of int
        Where the first neuron's field begins; negative in the padding.
    output_size : tuple of int
        Neurons along each axis.
    """

    name: str
    kind: str
    size: Spans
    stride: Spans
    start: Spans
    output_size: Spans

    def box(self, index: Spans, input_size: Spans) -> tuple[slice, ...]:
        """The pixels that a neuron sees, cut at the image's border.

        Parameters
        ----------
        index : tuple of int
            Position of the neuron.
        input_size : tuple of int
            Of the image.

        Returns
        -------
        tuple of slice

        Examples
        --------
        >>> field = ReceptiveField("0", "Conv2d", (3, 3), (1, 1), (-1, -1), (8, 8))
        >>> field.box((0, 4), (8, 8))
        (slice(0, 2, None), slice(3, 6, None))
        """
        low = [s + j * i for s, j, i in zip(self.start, self.stride, index, strict=True)]
        return tuple(
            slice(max(a, 0), min(a + n, limit))
            for a, n, limit in zip(low, self.size, input_size, strict=True)
        )


@dataclass(frozen=True)
class _Reach:
    """Start, size and stride of the fields along one axis."""

    start: int = 0
    size: int = 1
    stride: int = 1

    def window(self, kernel: int, stride: int, padding: int, dilation: int) -> _Reach:
        """After a window slides over it (Dumoulin and Visin, 2016; Araujo et al., 2019)."""
        return _Reach(
            self.start - padding * self.stride,
            self.size + dilation * (kernel - 1) * self.stride,
            self.stride * stride,
        )


_Reaches = tuple[_Reach, ...]


def receptive_field(model: Module, input_size: Any) -> list[ReceptiveField]:
    r"""The receptive field of every layer, from kernel sizes, strides, paddings and dilations.

    .. math:: r_l = r_{l-1} + d_l (k_l - 1)\, j_{l-1}, \qquad j_l = j_{l-1} s_l, \qquad
        a_l = a_{l-1} - p_l\, j_{l-1}

    with size r, distance j of neighbours and first pixel a (Araujo, Norris and Sim, "Computing
    Receptive Fields of Convolutional Neural Networks", Distill, 2019). Branches that are added or
    concatenated see the union. Normalisation is taken to see one pixel, as is usual. From a
    Flatten, a Linear or an adaptive pooling layer on, a neuron sees all.

    Parameters
    ----------
    model : Module
        Convolutions and poolings must be layers, not calls of functions.
    input_size : tuple of int
        Shape of an image without its batch axis: (C, H, W) or (C, L).

    Returns
    -------
    list of ReceptiveField
        In the order of the calls.

    Raises
    ------
    ValueError
        If `input_size` is not two or three positive ints, a layer's field cannot be told from its
        settings (transposed convolution, a convolution called as a function), or branches of
        different strides meet. :func:`gradient_receptive_field` answers for any model.

    Examples
    --------
    >>> import pyfast as pf
    >>> from pyfast import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3))
    >>> [field.size for field in pf.analysis.receptive_field(model, (1, 12, 12))]
    [(3, 3), (4, 4), (8, 8)]
    """
    op = "receptive_field"
    image = _image(op, model, input_size, 1)
    with evaluating(model), enable_grad():
        calls = trace(model, image)
    known: dict[int, _Reaches | None] = {id(image): (_Reach(),) * (image.ndim - 2)}
    fields = []
    for call in calls:
        before = _reach_of(op, call.inputs[0], known)
        after = _after(op, call, before)
        output = first(call.output)
        known[id(output._node or output)] = after
        fields.append(_field(call, after, image.shape[2:]))
    return fields


def _image(op: str, model: Module, input_size: Any, samples: int) -> Tensor:
    shape = tuple(input_size) if isinstance(input_size, tuple | list) else ()
    if len(shape) not in (2, 3) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"{op}: input_size must be (C, H, W) or (C, L), got {input_size!r}")
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    return Tensor(np.ones((samples, *shape), dtype), requires_grad=True)


def _reach_of(op: str, tensor: Any, known: dict[int, _Reaches | None]) -> _Reaches | None:
    """The field of a layer's input: that of the layers it was computed from, united."""
    found: list[_Reaches | None] = []
    seen: set[int] = set()
    pending = [tensor._node or tensor]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if id(node) in known:
            found.append(known[id(node)])
        elif isinstance(node, Context):
            _check_function(op, node)
            pending += [edge[0] for edge in node._edges or () if edge is not None]
    reaches = [f for f in found if f is not None]
    if not found or len(reaches) < len(found):
        return None
    return tuple(_union(op, parts) for parts in zip(*reaches, strict=True))


def _check_function(op: str, node: Context) -> None:
    family = node._function.__module__.rsplit(".", 1)[-1]
    if family in ("conv", "max_pool", "avg_pool", "pad", "attention"):
        name = node._function.__name__.strip("_")
        raise ValueError(
            f"{op}: {name} was called as a function, so that its settings are not known; make it "
            "a layer or use gradient_receptive_field"
        )


def _union(op: str, parts: tuple[_Reach, ...]) -> _Reach:
    strides = {p.stride for p in parts}
    if len(strides) > 1:
        raise ValueError(f"{op}: branches of different strides meet: {sorted(strides)}")
    start = min(p.start for p in parts)
    return _Reach(start, max(p.start + p.size for p in parts) - start, strides.pop())


def _after(op: str, call: LayerCall, before: _Reaches | None) -> _Reaches | None:
    """The field after a layer; None when it sees everything."""
    module: Any = call.module
    home = type(module).__module__.rsplit(".", 1)[-1]
    if before is None or call.kind.startswith("Adaptive"):
        return None
    if home in ("activation", "norm", "dropout") or call.kind == "Identity":
        return before
    rank = len(before)
    if home == "padding":
        pads = [int(n) for n in np.ravel(module.padding)]
        pads = pads * (2 * rank) if len(pads) == 1 else pads
        starts = pads[-2::-2]  # last axis first, (before, after) each
        return tuple(
            _Reach(r.start - p * r.stride, r.size, r.stride)
            for r, p in zip(before, starts, strict=True)
        )
    if home in ("conv", "pooling"):
        if getattr(module, "transposed", False):
            raise ValueError(
                f"{op}: layer {call.name!r} is a {call.kind}, whose neurons see unequal numbers of "
                "pixels; use gradient_receptive_field"
            )
        settings = zip(before, *_window_settings(module, rank), strict=True)
        return tuple(r.window(k, s, p, d) for r, k, s, p, d in settings)
    return None


def _window_settings(module: Any, rank: int) -> list[Spans]:
    kernel, stride, dilation = (
        to_tuple(getattr(module, name, 1), rank, name)
        for name in ("kernel_size", "stride", "dilation")
    )
    padding: Any = module.padding
    if padding == "same":
        padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    return [
        kernel,
        stride,
        to_tuple(0 if padding == "valid" else padding, rank, "padding"),
        dilation,
    ]


def _field(call: LayerCall, reaches: _Reaches | None, image: Spans) -> ReceptiveField:
    if reaches is None:
        rank = len(image)
        zeros, out = (0,) * rank, call.output_shape[2:]
        out = out if len(out) == rank else (1,) * rank
        return ReceptiveField(call.name, call.kind, tuple(image), zeros, zeros, out)
    return ReceptiveField(
        call.name,
        call.kind,
        tuple(r.size for r in reaches),
        tuple(r.stride for r in reaches),
        tuple(r.start for r in reaches),
        call.output_shape[2:],
    )


def gradient_receptive_field(
    model: Module, layer: str | Module, input_size: Any, *, samples: int = 64, seed: int = 0
) -> Array:
    """Which pixels the middle neuron of a layer can see, by differentiation.

    A copy of the model, its filters replaced by averages so that no gradient cancels or vanishes,
    is differentiated at random images; a pixel is seen if it has a gradient in any of them (a
    maximum passes its gradient to one pixel at a time).

    Parameters
    ----------
    model : Module
    layer : str or Module
        Its path, or the layer itself.
    input_size : tuple of int
        Shape of an image without its batch axis: (C, H, W) or (C, L).
    samples : int
        Images.
    seed : int
        Of the images.

    Returns
    -------
    array of shape (H, W) or (L,), bool

    Raises
    ------
    ValueError
        If `input_size` is not two or three positive ints, or the model has no such layer.

    Examples
    --------
    >>> import pyfast as pf
    >>> model = pf.nn.Sequential(pf.nn.Conv2d(1, 2, 3, padding=1), pf.nn.MaxPool2d(2))
    >>> int(pf.analysis.gradient_receptive_field(model, "1", (1, 8, 8)).sum())
    16
    """
    op = "gradient_receptive_field"
    name, _ = named_layer(op, model, layer)
    twin = copy.deepcopy(model).double()
    images = _image(op, twin, input_size, samples)
    images.data[...] = np.random.default_rng(seed).uniform(0.5, 1.5, images.shape)
    for module in twin.modules():
        _average(module)
    seen = _center_gradient(twin, twin.get_submodule(name), images)
    return (seen != 0).any(axis=(0, 1))


def _average(module: Module) -> None:
    """Make a layer's output the mean of what it sees."""
    if type(module).__module__.endswith("nn.norm"):
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            tensor.data[...] = 0
        for one in ("weight", "running_var"):
            if getattr(module, one, None) is not None:
                getattr(module, one).data[...] = 1
        return
    for p in module.parameters(recurse=False):
        p.data[...] = 1 / max(1, p.data[0].size) if p.ndim > 1 else 0.0


def _center_gradient(model: Module, layer: Module, images: Tensor) -> Array:
    """The gradient of a layer's middle neuron, all channels summed, at each image."""
    outputs: list[Tensor] = []
    with evaluating(model), enable_grad():
        with layer.register_forward_hook(lambda m, a, output: outputs.append(first(output))):
            model(images)
        output = outputs[-1]
        middle = tuple(n // 2 for n in output.shape[2:])
        return grad(output[(slice(None), slice(None), *middle)].sum(), images)[0].data


def effective_receptive_field(model: Module, layer: str | Module, images: Any) -> Array:
    """How strongly each pixel moves the middle neuron of a layer, on average over real images.

    The field that a trained network uses is usually smaller than the one it could use, and
    bell-shaped (Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional
    Neural Networks", NeurIPS 2016).

    Parameters
    ----------
    model : Module
    layer : str or Module
        Its path, or the layer itself.
    images : array of shape (N, C, H, W) or (N, C, L)

    Returns
    -------
    array of shape (H, W) or (L,)
        Mean absolute gradient over images and channels, divided by its maximum.

    Raises
    ------
    ValueError
        If there are no images, or the model has no such layer.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> model = pf.nn.Sequential(pf.nn.Conv2d(1, 2, 3, padding=1))
    >>> images = np.ones((2, 1, 5, 5), np.float32)
    >>> pf.analysis.effective_receptive_field(model, "0", images).shape
    (5, 5)
    """
    op = "effective_receptive_field"
    array = np.asarray(images)
    if array.ndim not in (3, 4) or not array.size:
        raise ValueError(f"{op}: images must have shape (N, C, H, W), got {array.shape}")
    _, module = named_layer(op, model, layer)
    gradient = _center_gradient(model, module, Tensor(array.copy(), requires_grad=True))
    strength = np.abs(gradient).mean(axis=(0, 1))
    return strength / max(float(strength.max()), np.finfo(strength.dtype).tiny)
