"""Whose arrays they are: CuPy's or PyTorch's. They allocate outputs and name the stream.

Compiled kernels see an array through `view` and make their outputs and workspace with `empty`, so
that memory comes from the caller's own pool and work goes to the caller's current stream.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Protocol

import numpy as np

from . import compiled, why_not

__all__ = [
    "CuPy",
    "Framework",
    "Kernels",
    "Torch",
    "device_of",
    "framework_of",
    "is_cuda",
    "kernels_of",
    "move",
]

View = tuple[int, tuple[int, ...], tuple[int, ...], str, int]


class Framework(Protocol):
    """What csrc/cuda/core/call.cpp asks of a framework."""

    def view(self, array: Any, op: str, argument: str) -> View:
        """Pointer, shape, strides in elements, dtype and device; TypeError for a CPU array."""

    def contiguous(self, array: Any) -> Any:
        """The array, or a copy of it in C order."""

    def as_index(self, array: Any) -> Any:
        """An array of integers as int64; anything else as it is."""

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> Any:
        """A new C-contiguous array."""

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        """A new array of zeros on the current device."""

    def empty_like(self, array: Any) -> Any:
        """A new array of the same shape, dtype and strides, which are dense."""

    def ordered_like(self, array: Any, other: Any) -> Any:
        """The values of one array in the strides of another."""

    def argsort(self, array: Any) -> Any:
        """The places of the flat array's elements in rising order, equal ones in theirs."""

    def pointer(self, array: Any) -> int:
        """The address of its first element."""

    def stream(self, device: int) -> int:
        """The handle of the caller's current stream."""


class Torch:
    """CUDA tensors of PyTorch."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.dtypes = {
            getattr(torch, name): name
            for name in (
                "float32",
                "float64",
                "float16",
                "bfloat16",
                "int64",
                "int32",
                "bool",
                "uint8",
            )
        }

    def view(self, array: Any, op: str, argument: str) -> View:
        """See Framework."""
        if not isinstance(array, self.torch.Tensor) or array.device.type != "cuda":
            raise TypeError(_on_the_cpu(array, op, argument, "tensor.cuda()"))
        dtype = self.dtypes.get(array.dtype, str(array.dtype))
        return array.data_ptr(), tuple(array.shape), array.stride(), dtype, array.device.index

    def contiguous(self, array: Any) -> Any:
        """See Framework."""
        return array.contiguous()

    def as_index(self, array: Any) -> Any:
        """See Framework."""
        torch = self.torch
        narrow = (torch.int32, torch.int16, torch.int8, torch.uint8)
        return array.long() if getattr(array, "dtype", None) in narrow else array

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> Any:
        """See Framework."""
        return self.torch.empty(
            shape, dtype=getattr(self.torch, dtype), device=self.torch.device("cuda", device)
        )

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        """See Framework."""
        return self.torch.zeros(shape, dtype=getattr(self.torch, dtype), device="cuda")

    def empty_like(self, array: Any) -> Any:
        """See Framework."""
        return self.torch.empty_like(array, requires_grad=False)

    def ordered_like(self, array: Any, other: Any) -> Any:
        """See Framework."""
        return self.empty_like(other).copy_(array)

    def argsort(self, array: Any) -> Any:
        """See Framework."""
        return self.torch.sort(array.reshape(-1), stable=True).indices

    def pointer(self, array: Any) -> int:
        """See Framework."""
        return int(array.data_ptr())

    def stream(self, device: int) -> int:
        """See Framework."""
        return int(self.torch.cuda.current_stream(device).cuda_stream)


class CuPy:
    """Arrays of CuPy."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy

    def view(self, array: Any, op: str, argument: str) -> View:
        """See Framework."""
        if not isinstance(array, self.cupy.ndarray):
            raise TypeError(_on_the_cpu(array, op, argument, "cupy.asarray(array)"))
        size = array.itemsize
        strides = tuple([s // size for s in array.strides])
        return array.data.ptr, array.shape, strides, array.dtype.name, array.device.id

    def contiguous(self, array: Any) -> Any:
        """See Framework."""
        return self.cupy.ascontiguousarray(array)

    def as_index(self, array: Any) -> Any:
        """See Framework."""
        whole = isinstance(array, self.cupy.ndarray) and array.dtype.kind in "iu"
        return array.astype(np.int64) if whole and array.dtype != np.int64 else array

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> Any:
        """See Framework."""
        if device == self.cupy.cuda.Device().id:
            return self.cupy.empty(shape, dtype)
        with self.cupy.cuda.Device(device):
            return self.cupy.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        """See Framework."""
        return self.cupy.zeros(shape, dtype)

    def empty_like(self, array: Any) -> Any:
        """See Framework."""
        with self.cupy.cuda.Device(array.device.id):
            return self.cupy.empty_like(array)

    def ordered_like(self, array: Any, other: Any) -> Any:
        """See Framework."""
        ordered = self.empty_like(other)
        ordered[...] = array
        return ordered

    def argsort(self, array: Any) -> Any:
        """See Framework."""
        return array.reshape(-1).argsort().astype("int64", copy=False)  # CuPy's sort is stable

    def pointer(self, array: Any) -> int:
        """See Framework."""
        return int(array.data.ptr)

    def stream(self, device: int) -> int:
        """See Framework."""
        return int(self.cupy.cuda.get_current_stream(device).ptr)


def _on_the_cpu(array: Any, op: str, argument: str, remedy: str) -> str:
    kind = "NumPy array" if isinstance(array, np.ndarray) else type(array).__name__
    device = getattr(array, "device", None)
    where = f"on {device}" if device is not None and str(device) != "cpu" else "on the CPU"
    return (
        f"{op}: {argument} must lie on the GPU as the other arrays do, got a {kind} {where}; "
        f"move it with {remedy}"
    )


class Kernels:
    """The functions of `_cuda` for one framework's arrays, under the names of `_core`'s.

    Parameters
    ----------
    framework : Framework
    """

    def __init__(self, framework: Framework) -> None:
        self._framework = framework

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Zeros on the current device, as the tape needs them.

        Parameters
        ----------
        shape : tuple of int
        dtype : dtype

        Returns
        -------
        array
        """
        return self._framework.zeros(shape, np.dtype(dtype).name)

    def __getattr__(self, name: str) -> Any:
        function = getattr(compiled(name), name, None)
        if function is None:
            raise NotImplementedError(f"{name}: not on CUDA yet: copy the arrays to the host")
        bound = functools.partial(function, self._framework)
        setattr(self, name, bound)
        return bound


def is_cuda(value: Any) -> bool:
    """Whether an array lies on a GPU.

    Parameters
    ----------
    value : anything

    Returns
    -------
    bool
    """
    device = getattr(getattr(value, "device", None), "type", None)
    if isinstance(device, str):  # torch: asking a CPU tensor for its interface would raise
        return device == "cuda"
    return not isinstance(value, np.ndarray) and hasattr(value, "__cuda_array_interface__")


@functools.cache
def torch_kernels(torch: Any) -> Kernels:
    return Kernels(Torch(torch))


@functools.cache
def cupy_kernels(cupy: Any) -> Kernels:
    return Kernels(CuPy(cupy))


def framework_of(value: Any, op: str) -> str:
    """Which framework an array of a GPU belongs to.

    Parameters
    ----------
    value : array on a GPU
    op : str
        Begins the message.

    Returns
    -------
    str
        ``"torch"`` or ``"cupy"``.

    Raises
    ------
    TypeError
        If it is neither's.
    """
    for name in ("torch", "cupy"):
        module = sys.modules.get(name)
        kind = getattr(module, "Tensor" if name == "torch" else "ndarray", None)
        if kind is not None and isinstance(value, kind):
            return name
    raise TypeError(
        f"{op}: {type(value).__name__} lies on a GPU, but is neither a CuPy array nor a torch "
        "tensor; wrap it with cupy.asarray (pip install pyfast-nn[cuda13]), which copies nothing"
    )


def kernels_of(value: Any, op: str) -> Kernels:
    """The kernels for an array on a GPU.

    Parameters
    ----------
    value : array on a GPU
    op : str
        Begins the messages.

    Returns
    -------
    Kernels
    """
    name = framework_of(value, op)
    module = sys.modules[name]
    return torch_kernels(module) if name == "torch" else cupy_kernels(module)


def device_of(array: Any) -> str:
    """Where an array lies.

    Parameters
    ----------
    array : ndarray or CuPy array

    Returns
    -------
    str
        ``"cpu"``, or ``"cuda:0"`` and so on.
    """
    return f"cuda:{array.device.id}" if is_cuda(array) else "cpu"


def move(array: Any, device: str) -> Any:
    """An array's values on another device.

    Parameters
    ----------
    array : ndarray or CuPy array
    device : str
        ``"cpu"``, ``"cuda"`` (the current GPU) or ``"cuda:1"``.

    Returns
    -------
    ndarray or CuPy array
        The array itself where it lies there already.

    Raises
    ------
    ValueError
        For a device of another form.
    ImportError
        If CuPy is not installed.
    RuntimeError
        If there is no GPU; the message says why.
    """
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise ValueError(f"to: device must be 'cpu', 'cuda' or 'cuda:<number>', got {device!r}")
    if kind == "cpu":
        return array.get() if is_cuda(array) else array
    cupy = _cupy()
    current = int(number) if number else cupy.cuda.Device().id
    if is_cuda(array) and array.device.id == current:
        return array
    with cupy.cuda.Device(current):
        return cupy.array(array)


def _cupy() -> Any:
    """CuPy, imported now; the errors say what is missing."""
    reason = why_not()
    if reason:
        raise RuntimeError(f"to: no GPU can be used: {reason}")
    try:
        import cupy
    except ImportError as problem:
        raise ImportError(
            "to: tensors on a GPU are CuPy arrays: pip install pyfast-nn[cuda13]"
        ) from problem
    return cupy
