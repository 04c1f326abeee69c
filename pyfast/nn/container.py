"""Modules that hold modules or parameters: in a row, in a list, by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from .conv import Conv1d, Conv2d
from .epilogue import fused_name
from .linear import Linear
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d
from .parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]

V = TypeVar("V")

_TAKING = {Conv1d, Conv2d, Linear, BatchNorm1d, BatchNorm2d}  # layers that apply an activation


class _List(Module):
    """What Sequential and ModuleList share: modules named "0", "1", ..."""

    def _all(self) -> list[Module]:
        return [m for m in self._modules.values() if m is not None]

    def _name(self, index: Any) -> str:
        """The name at a position; positions from the end are negative."""
        n, i = len(self._modules), operator.index(index)
        if not -n <= i < n:
            raise IndexError(f"{type(self).__name__}: index {i} is out of range for {n} modules")
        return list(self._modules)[i]

    def _rebuild(self, modules: Iterable[Module]) -> None:
        """Number the modules anew."""
        new = list(modules)
        for name in list(self._modules):
            delattr(self, name)
        for i, module in enumerate(new):
            self.register_module(str(i), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._all())

    def __contains__(self, module: object) -> bool:
        return any(m is module for m in self._all())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._slice(list(self._modules.items())[index])
        return self._modules[self._name(index)]

    def _slice(self, items: list[tuple[str, Module | None]]) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        self.register_module(self._name(index), module)

    def __delitem__(self, index: Any) -> None:
        kept = self._all()
        del kept[index]
        self._rebuild(kept)

    def append(self, module: Module) -> Any:
        """Add a module at the end.

        Parameters
        ----------
        module : Module

        Returns
        -------
        This container.
        """
        self.register_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end.

        Parameters
        ----------
        modules : iterable of Module

        Returns
        -------
        This container.
        """
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before position `index`; those behind it get new names.

        Parameters
        ----------
        index : int
        module : Module

        Returns
        -------
        This container.
        """
        modules = self._all()
        modules.insert(index, module)
        self._rebuild(modules)
        return self


class Sequential(_List):
    """Modules one after the other: each gets what the one before returned.

    A convolution, Linear or batch norm and the activation behind it run as one op, in training too,
    unless a hook watches one of them.

    Parameters
    ----------
    *args : Module, or one mapping of str to Module
        A mapping gives the modules their names; else they are numbers.

    Examples
    --------
    >>> from pyfast import nn
    >>> nn.Sequential(nn.Linear(4, 2), nn.Flatten())
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): Flatten(start_dim=1, end_dim=-1)
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.register_module(name, module)
        else:
            self.extend(args)

    def _slice(self, items: list[tuple[str, Module | None]]) -> Sequential:
        return type(self)(dict(items))

    def forward(self, input: Any) -> Any:
        """Pass the input through all modules.

        Parameters
        ----------
        input : what the first module takes

        Returns
        -------
        what the last module returns
        """
        behind: list[Any] = list(self._modules.values())[::-1]
        while behind:
            module: Any = behind.pop()
            name = _taken_over(module, behind[-1]) if behind else None
            if name is None:
                input = module(input)
            else:
                behind.pop()
                input = module._forward_activated(input, name)
        return input


def _taken_over(layer: Any, activation: Any) -> str | None:
    """The activation's name where the layer before it can apply it in its own call.

    One op then reads and writes what two would. Whoever watches one of them (a hook, a forward of
    its own) keeps them apart.
    """
    if type(layer) not in _TAKING or layer.activation is not None or activation is None:
        return None
    for module in (layer, activation):
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            return None
    return fused_name(activation)


class ModuleList(_List):
    """A list of modules, without a forward of its own.

    Parameters
    ----------
    modules : iterable of Module, optional

    Examples
    --------
    >>> from pyfast import nn
    >>> layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    >>> len(layers), list(layers.state_dict())[0]
    (3, '0.weight')
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or [])

    def _slice(self, items: list[tuple[str, Module | None]]) -> ModuleList:
        return type(self)(m for _, m in items if m is not None)

    def __iadd__(self, modules: Iterable[Module]) -> Any:
        return self.extend(modules)

    def pop(self, index: int = -1) -> Module:
        """Remove a module and return it.

        Parameters
        ----------
        index : int

        Returns
        -------
        Module
        """
        module: Module = self[index]
        del self[index]
        return module


class _Dict(Module, Generic[V]):
    """What ModuleDict and ParameterDict share; a dict in the order of insertion."""

    _kind: str

    def _items(self) -> dict[str, V]:
        items: dict[str, V] = self.__dict__[self._kind]
        return items

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[str]:
        return iter(self._items())

    def __contains__(self, key: object) -> bool:
        return key in self._items()

    def __getitem__(self, key: str) -> V:
        return self._items()[key]

    def __delitem__(self, key: str) -> None:
        delattr(self, key)

    def keys(self) -> Iterable[str]:
        """The names.

        Returns
        -------
        iterable of str
        """
        return self._items().keys()

    def values(self) -> Iterable[V]:
        """What is held.

        Returns
        -------
        iterable
        """
        return self._items().values()

    def items(self) -> Iterable[tuple[str, V]]:
        """Names and what is held under them.

        Returns
        -------
        iterable of pairs
        """
        return self._items().items()

    def __setitem__(self, key: str, value: V) -> None:
        raise NotImplementedError

    def update(self, other: Mapping[str, V] | Iterable[tuple[str, V]]) -> None:
        """Add or replace entries.

        Parameters
        ----------
        other : mapping, or iterable of pairs
        """
        for key, value in dict(other).items():
            self[key] = value

    def pop(self, key: str) -> V:
        """Remove an entry and return it.

        Parameters
        ----------
        key : str

        Returns
        -------
        what was held under `key`
        """
        value = self[key]
        del self[key]
        return value


class ModuleDict(_Dict[Module]):
    """Modules by name.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs, optional

    Examples
    --------
    >>> from pyfast import nn
    >>> heads = nn.ModuleDict({"digit": nn.Linear(4, 10), "parity": nn.Linear(4, 2)})
    >>> heads["parity"].out_features
    2
    """

    _kind = "_modules"

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __setitem__(self, key: str, value: Module) -> None:
        self.register_module(key, value)


class ParameterDict(_Dict[Parameter]):
    """Parameters by name.

    Parameters
    ----------
    parameters : mapping of str to Parameter or array, or iterable of pairs, optional

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> list(nn.ParameterDict({"scale": np.ones(2)}).state_dict())
    ['scale']
    """

    _kind = "_parameters"

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, value if isinstance(value, Parameter) else Parameter(value))


class ParameterList(Module):
    """A list of parameters.

    Parameters
    ----------
    values : iterable of Parameter or array, optional

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> scales = nn.ParameterList([np.ones(2), np.ones(3)])
    >>> [p.shape for p in scales]
    [(2,), (3,)]
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or [])

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter([p for p in self._parameters.values() if p is not None])

    def __getitem__(self, index: int) -> Parameter:
        return list(self)[index]

    def __setitem__(self, index: int, value: Any) -> None:
        name = list(self._parameters)[index]
        self.register_parameter(name, value if isinstance(value, Parameter) else Parameter(value))

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end.

        Parameters
        ----------
        value : Parameter or array

        Returns
        -------
        ParameterList
            This list.
        """
        parameter = value if isinstance(value, Parameter) else Parameter(value)
        self.register_parameter(str(len(self)), parameter)
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end.

        Parameters
        ----------
        values : iterable of Parameter or array

        Returns
        -------
        ParameterList
            This list.
        """
        for value in values:
            self.append(value)
        return self
