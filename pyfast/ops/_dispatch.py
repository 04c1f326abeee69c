"""Where a call goes that is not all plain ndarrays: the tape, PyTorch's memory, or NumPy.

Plain arrays never come here: each op hands them to `_core` itself.
"""

from __future__ import annotations

import re
import sys
from typing import Any, TypeVar

import numpy as np
from numpy import ndarray

from ..autograd import Function, Variable

__all__ = ["ArrayT", "as_array", "backend_for", "call", "op_name"]

ArrayT = TypeVar("ArrayT")

_DLPACK_CPU = 1


def call(function: type[Function], *args: Any) -> Any:
    """Run an op on whatever its caller has, and answer in the same kind.

    Parameters
    ----------
    function : subclass of Function
        Its first ``array_args`` arguments are the arrays; the others are passed as they are.
    *args
        - any ``pf.Tensor`` among the arrays: recorded on the tape, Tensors come back;
        - any ``torch.Tensor``: read in place and given back in place;
        - CuPy arrays and CUDA tensors: computed where they lie (pyfast.cuda), in torch's graph if
          they require grad;
        - lists, scalars, DLPack and ``__array__`` objects: as ``numpy.asarray`` takes them (a list
          of Python floats is float64), ndarrays come back.

    Returns
    -------
    what forward returns, its arrays in the caller's kind

    Raises
    ------
    TypeError
        For CPU torch tensors that require grad, Tensors next to torch tensors, or arrays on
        different devices.
    RuntimeError
        For arrays on a GPU where pyfast was built without CUDA.
    ValueError
        For a list that is no array.
    """
    on_tape = False
    for a in args[: function.array_args]:
        if isinstance(a, Variable):
            on_tape = True
        elif type(a) is not ndarray and a is not None:
            return _convert(function, args)
    return function.apply(*args) if on_tape else function.run(*args)


def _convert(function: type[Function], args: tuple[Any, ...]) -> Any:
    """The slow way of call(): something has to be converted first."""
    n = function.array_args
    op = op_name(function)
    for a in args[:n]:
        if not isinstance(a, Variable) and backend_for(a, op) == "cuda":
            return _on_gpu(function, args, a, op)
    torch = _torch_among(args[:n])
    on_tape = any(isinstance(a, Variable) for a in args[:n])
    if torch is not None and on_tape:
        raise TypeError(f"{op}: pyfast Tensors and torch tensors cannot be mixed in one call")
    arrays = [a if isinstance(a, Variable) else as_array(a, op) for a in args[:n]]
    if on_tape:
        return function.apply(*arrays, *args[n:])
    result = function.run(*arrays, *args[n:])
    if torch is None:
        return result
    if isinstance(result, tuple):
        return tuple([_to_torch(torch, r) for r in result])
    return _to_torch(torch, result)


def _on_gpu(function: type[Function], args: tuple[Any, ...], array: Any, op: str) -> Any:
    """An op on CuPy arrays or CUDA tensors; PyTorch's own graph is recorded where it wants to."""
    from ..cuda.frameworks import kernels_of

    n = function.array_args
    torch = _torch_among(args[:n])
    if any(isinstance(a, Variable) for a in args[:n]):
        if torch is not None:
            raise TypeError(f"{op}: pyfast Tensors and torch tensors cannot be mixed in one call")
        return function.apply(*args)
    kernels = kernels_of(array, op)
    wants = torch is not None and torch.is_grad_enabled()
    if wants and any(getattr(a, "requires_grad", False) for a in args[:n]):
        from ..cuda.torch_function import torch_function

        op_class: Any = function  # mypy finds Function's __hash__ unlike Hashable's
        return torch_function(op_class, kernels, torch).apply(*args)
    return function.run_with(kernels, *args)


def op_name(function: type[Function]) -> str:
    """The public name of an op: its attribute `op`, or ``max_pool2d`` of ``_MaxPool2d``.

    Parameters
    ----------
    function : subclass of Function

    Returns
    -------
    str

    Examples
    --------
    >>> from pyfast.autograd import Function
    >>> class _LogSoftmax(Function):
    ...     pass
    >>> op_name(_LogSoftmax)
    'log_softmax'
    """
    if op := getattr(function, "op", ""):
        return str(op)
    name = function.__name__.lstrip("_")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _torch_among(args: tuple[Any, ...]) -> Any:
    """The torch module when one of the arguments is its tensor; never imports it."""
    torch = sys.modules.get("torch")
    tensor = getattr(torch, "Tensor", None)
    return torch if tensor is not None and any(isinstance(a, tensor) for a in args) else None


def backend_for(value: Any, op: str) -> str:
    """Name the backend whose memory holds an array.

    Parameters
    ----------
    value : any array
    op : str
        Begins the message.

    Returns
    -------
    str
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    TypeError
        For an array in the memory of any other device.

    Examples
    --------
    >>> import numpy as np
    >>> backend_for(np.zeros(2), "softmax")
    'cpu'
    """
    device = getattr(getattr(value, "device", None), "type", None)
    if device == "cuda" or (
        not isinstance(device, str) and hasattr(value, "__cuda_array_interface__")
    ):
        return "cuda"
    if isinstance(device, str) and device != "cpu":
        raise TypeError(f"{op}: arrays on device {device!r} are not supported, only CPU and CUDA")
    return "cpu"


def as_array(value: Any, op: str) -> Any:
    """What NumPy makes of a value, without a copy where it can; None stays None.

    Parameters
    ----------
    value : torch tensor, list, scalar, DLPack or ``__array__`` object, or None
    op : str
        Begins the messages.

    Returns
    -------
    ndarray or None

    Raises
    ------
    TypeError, ValueError
        See :func:`call`.

    Examples
    --------
    >>> as_array([[1, 2]], "softmax")
    array([[1, 2]])
    """
    if value is None or type(value) is ndarray:
        return value
    if backend_for(value, op) == "cuda":
        raise TypeError(f"{op}: takes no array on a GPU; copy it to the host first")
    torch = _torch_among((value,))
    if torch is not None:
        return _from_torch(torch, value, op)
    if hasattr(value, "mask") and isinstance(value, ndarray):
        raise TypeError(f"{op}: masked arrays are not supported; fill them first")
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return _from_dlpack(value, op)
        return np.asarray(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError | BufferError) else ValueError
        raise kind(f"{op}: not an array: {error}") from error


def _from_dlpack(value: Any, op: str) -> Any:
    device = value.__dlpack_device__()[0] if hasattr(value, "__dlpack_device__") else _DLPACK_CPU
    if device != _DLPACK_CPU:
        raise TypeError(f"{op}: arrays on DLPack device {int(device)} are not supported")
    return np.from_dlpack(value)


def _from_torch(torch: Any, tensor: Any, op: str) -> Any:
    if tensor.requires_grad and torch.is_grad_enabled():
        raise TypeError(
            f"{op}: a torch tensor that requires grad would lose its gradient here; "
            "pass tensor.detach(), or call under torch.no_grad()"
        )
    try:
        return tensor.detach().numpy()
    except (RuntimeError, TypeError) as error:
        raise TypeError(f"{op}: not a dense CPU tensor NumPy can read: {error}") from error


def _to_torch(torch: Any, value: Any) -> Any:
    if isinstance(value, ndarray | np.generic):
        return torch.from_numpy(np.asarray(value))
    return value
