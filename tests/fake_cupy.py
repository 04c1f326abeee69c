"""A stand-in for CuPy on a machine without a GPU: what pyfast reads and calls, computed by NumPy.

Pointers are never read, because nothing is launched without a device; `HostKernels` compute what
`_cuda` would. NumPy arrays are refused beside these, as CuPy refuses them.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np

from pyfast import _core, ops
from pyfast.nn.epilogue import apply_named
from pyfast.ops.embedding import _scale_rows
from pyfast.ops.varlen import varlen_backward, varlen_forward


def _host(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(map(_host, value))
    if type(value) is np.ndarray:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value.host if isinstance(value, FakeArray) else value


def _back(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(map(_back, value))
    return FakeArray(value) if isinstance(value, np.ndarray | np.generic) else value


class FakeArray(np.lib.mixins.NDArrayOperatorsMixin):
    def __init__(self, host: Any, device: int = 0) -> None:
        self.host = np.asarray(host)
        self.device = types.SimpleNamespace(id=device)
        self.data = types.SimpleNamespace(ptr=4096)

    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    dtype = property(lambda self: self.host.dtype)
    itemsize = property(lambda self: self.host.itemsize)
    strides = property(lambda self: self.host.strides)

    flags = property(lambda self: types.SimpleNamespace(c_contiguous=True))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = {k: _host(v) for k, v in options.items()}
        result = getattr(ufunc, method)(*map(_host, inputs), **plain)
        return options["out"][0] if "out" in options else _back(result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        kwargs = {k: v for k, v in kwargs.items() if k != "subok"}
        return _back(function(*_host(args), **{k: _host(v) for k, v in kwargs.items()}))

    def __getitem__(self, index: Any) -> Any:
        return _back(self.host[_host(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.host[_host(index)] = _host(value)

    def __len__(self) -> int:
        return len(self.host)

    def __bool__(self) -> bool:
        return bool(self.host)

    def __float__(self) -> float:
        return float(self.host)

    def __int__(self) -> int:
        return int(self.host)

    def __getattr__(self, name: str) -> Any:  # reshape, sum, astype, copy, transpose, item, ...
        if name.startswith("__") or name == "host":
            raise AttributeError(name)
        method = getattr(self.host, name)
        return lambda *args, **kwargs: _back(method(*args, **kwargs))

    def get(self) -> Any:
        return self.host.copy()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (4096, False),
            "version": 3,
        }


class FakeDevice:
    current = 0

    def __init__(self, number: int | None = None) -> None:
        self.id = FakeDevice.current if number is None else number

    def __enter__(self) -> None:
        self.previous, FakeDevice.current = FakeDevice.current, self.id

    def __exit__(self, *exc: object) -> None:
        FakeDevice.current = self.previous


def module() -> Any:
    """What ``import cupy`` would give."""
    made: list[FakeArray] = []

    def empty(shape: tuple[int, ...], dtype: str) -> FakeArray:
        made.append(FakeArray(np.empty(shape, dtype), FakeDevice.current))
        return made[-1]

    def empty_like(array: FakeArray) -> FakeArray:
        made.append(FakeArray(np.empty_like(array.host), FakeDevice.current))
        return made[-1]

    cuda = types.SimpleNamespace(
        Device=FakeDevice, get_current_stream=lambda device: types.SimpleNamespace(ptr=0)
    )
    fake: Any = types.ModuleType("cupy")
    fake.ndarray = FakeArray
    fake.empty = empty
    fake.empty_like = empty_like
    fake.made = made
    fake.array = lambda a: FakeArray(np.array(a))
    fake.zeros = lambda shape, dtype: FakeArray(np.zeros(shape, dtype))
    fake.cuda = cuda
    fake.ascontiguousarray = lambda a: FakeArray(np.ascontiguousarray(a.host), a.device.id)
    return fake


def _conv2d_fused(
    input: Any, weight: Any, bias: Any, scale: Any, residual: Any, *settings: Any
) -> Any:
    *geometry, activation = settings
    total = _core.conv2d(input, weight, None, *geometry, None)
    total = total * (1 if scale is None else scale[:, None, None])
    total = total + (0 if bias is None else bias[:, None, None])
    return apply_named(activation, total + (0 if residual is None else residual))


NUMPYS = {  # on the CPU
    "conv2d_fused": _conv2d_fused,
    "one_hot": ops.one_hot,
    "embedding_renorm": _scale_rows,
    "varlen_attn": varlen_forward,
    "varlen_attn_backward": varlen_backward,
}


def _kernel(name: str) -> Any:
    return NUMPYS.get(name) or getattr(_core, name)


class HostKernels:
    """`_core` under the names and with the arrays of `_cuda`."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> FakeArray:
        return FakeArray(np.zeros(shape, dtype))

    def __getattr__(self, name: str) -> Any:
        def function(*args: Any, **kwargs: Any) -> Any:
            self.called.append(name)
            return _back(_kernel(name)(*map(_host, args), **kwargs))

        return function


class HostTorch(HostKernels):
    """`_core` on CPU torch tensors."""

    def __getattr__(self, name: str) -> Any:
        import torch

        def plain(a: Any) -> Any:
            if isinstance(a, tuple | list):
                return type(a)(map(plain, a))
            return a.detach().numpy() if isinstance(a, torch.Tensor) else a

        def tensor(a: Any) -> Any:
            if isinstance(a, tuple):
                return tuple(map(tensor, a))
            return torch.from_numpy(np.asarray(a)) if isinstance(a, np.ndarray) else a

        return lambda *args, **kwargs: tensor(_kernel(name)(*map(plain, args), **kwargs))
