"""A stand-in for CuPy on a machine without a GPU: the attributes that pyfast reads, and no memory.

Arrays remember the host array they were made of, so that tests can see what came back; pointers
are never read, because nothing is launched without a device.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np


class FakeArray:
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

    cuda = types.SimpleNamespace(
        Device=FakeDevice, get_current_stream=lambda device: types.SimpleNamespace(ptr=0)
    )
    fake: Any = types.ModuleType("cupy")
    fake.ndarray = FakeArray
    fake.empty = empty
    fake.made = made
    fake.cuda = cuda
    fake.ascontiguousarray = lambda a: FakeArray(np.ascontiguousarray(a.host), a.device.id)
    return fake
