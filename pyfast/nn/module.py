"""Module: what every layer and model is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .._tensor import Tensor
from ..autograd import HookHandle
from .checkpoint import check_keys, value_of
from .parameter import Parameter

__all__ = ["IncompatibleKeys", "Module"]

M = TypeVar("M", bound="Module")
T = TypeVar("T")


class IncompatibleKeys(NamedTuple):
    """What :meth:`Module.load_state_dict` did not find, and what it had no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A piece of a model: parameters, buffers and other modules, found by attribute.

    Subclass it, call ``super().__init__()`` first, assign parameters and modules to attributes and
    write ``forward``. Names in ``state_dict`` are the paths of attributes, as in PyTorch.

    Attributes
    ----------
    training : bool
        True after construction and :meth:`train`, False after :meth:`eval`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> class Twice(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = nn.Linear(3, 3)
    ...
    ...     def forward(self, x):
    ...         return self.linear(self.linear(x))
    >>> model = Twice()
    >>> list(model.state_dict())
    ['linear.weight', 'linear.bias']
    >>> model(np.zeros((2, 3), np.float32)).shape
    (2, 3)
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent: set[str]
    _forward_hooks: dict[int, Callable[..., Any]]
    _forward_pre_hooks: dict[int, Callable[..., Any]]

    def __init__(self) -> None:
        object.__setattr__(self, "training", True)
        for name in ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_non_persistent", set())

    # -- calling ---------------------------------------------------------------------------------

    forward: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the hooks and ``forward``."""
        if not (self._forward_pre_hooks or self._forward_hooks):
            return self.forward(*args, **kwargs)
        for hook in list(self._forward_pre_hooks.values()):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*args, **kwargs)
        for hook in list(self._forward_hooks.values()):
            changed = hook(self, args, output)
            output = output if changed is None else changed
        return output

    def register_forward_pre_hook(self, hook: Callable[[Any, Any], Any]) -> HookHandle:
        """Call ``hook(module, args)`` before forward; what it returns, if anything, becomes args.

        Parameters
        ----------
        hook : callable

        Returns
        -------
        HookHandle
            Its ``remove()`` takes the hook away.
        """
        return HookHandle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Any, Any, Any], Any]) -> HookHandle:
        """Call ``hook(module, args, output)`` after forward; what it returns replaces the output.

        Parameters
        ----------
        hook : callable

        Returns
        -------
        HookHandle
            Its ``remove()`` takes the hook away.
        """
        return HookHandle(self._forward_hooks, hook)

    # -- registering -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._own("_parameters", name, value)
        elif isinstance(value, Module):
            self._own("_modules", name, value)
        elif name in self.__dict__.get("_parameters", ()):
            self._replace("_parameters", name, value, "a Parameter or None")
        elif name in self.__dict__.get("_modules", ()):
            self._replace("_modules", name, value, "a Module or None")
        elif name in self.__dict__.get("_buffers", ()):
            value = Tensor(value) if isinstance(value, np.ndarray) else value
            self._replace("_buffers", name, value, "a Tensor, an array or None", Tensor)
        else:
            object.__setattr__(self, name, value)

    def _own(self, kind: str, name: str, value: Any) -> None:
        """Register under one kind, forgetting the name under all others."""
        if kind not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before {name!r}")
        for other in ("_parameters", "_buffers", "_modules"):
            if other != kind:
                self.__dict__[other].pop(name, None)
        self._non_persistent.discard(name)
        self.__dict__[kind][name] = value
        object.__setattr__(self, name, value)  # so that reading it is a plain attribute

    def _replace(self, kind: str, name: str, value: Any, wanted: str, cls: Any = ()) -> None:
        if value is not None and not isinstance(value, cls):
            raise TypeError(f"{type(self).__name__}.{name} must be {wanted}, got {type(value)}")
        self.__dict__[kind][name] = value
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for kind in ("_parameters", "_buffers", "_modules"):
            self.__dict__[kind].pop(name, None)
        self._non_persistent.discard(name)
        object.__delattr__(self, name)

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"a name must be a non-empty str without dots, got {name!r}")
        owned = (*self._parameters, *self._buffers, *self._modules)
        if hasattr(self, name) and name not in owned:
            raise KeyError(f"attribute {name!r} already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name.

        Parameters
        ----------
        name : str
        param : Parameter or None

        Raises
        ------
        KeyError
            If the name has a dot or is an attribute already.
        TypeError
            If `param` is no Parameter.
        """
        self._check_name(name)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"{name} must be a Parameter or None, got {type(param)}")
        self._own("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state but gets no gradient.

        Parameters
        ----------
        name : str
        tensor : Tensor, array or None
        persistent : bool
            Whether ``state_dict`` has it.

        Raises
        ------
        KeyError
            If the name has a dot or is an attribute already.
        """
        self._check_name(name)
        value = tensor if tensor is None or isinstance(tensor, Tensor) else Tensor(tensor)
        self._own("_buffers", name, value)
        if not persistent:
            self._non_persistent.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a module under a name, which may be a number: ``"0"``.

        Parameters
        ----------
        name : str
        module : Module or None

        Raises
        ------
        KeyError
            If the name has a dot or is an attribute already.
        TypeError
            If `module` is no Module.
        """
        self._check_name(name)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{name} must be a Module or None, got {type(module)}")
        self._own("_modules", name, module)

    add_module = register_module

    # -- walking ---------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The module itself and all below it, with their paths.

        Parameters
        ----------
        memo : set, optional
            Ids of modules that are passed over.
        prefix : str
        remove_duplicate : bool
            Show a module that has several paths only once.

        Yields
        ------
        path, module
        """
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """The module itself and all below it, each once.

        Yields
        ------
        Module
        """
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below, each once, with their names.

        Yields
        ------
        name, module
        """
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules right below, each once.

        Yields
        ------
        Module
        """
        for _, module in self.named_children():
            yield module

    def _members(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        walk = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in walk if recurse else [(prefix, self)]:
            for name, value in module.__dict__[kind].items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths.

        Parameters
        ----------
        prefix : str
        recurse : bool
            False: only those of this very module.
        remove_duplicate : bool
            Show a shared parameter only once.

        Yields
        ------
        path, parameter
        """
        return self._members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once.

        Parameters
        ----------
        recurse : bool
            False: only those of this very module.

        Yields
        ------
        Parameter
        """
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their paths.

        Parameters
        ----------
        prefix : str
        recurse : bool
            False: only those of this very module.
        remove_duplicate : bool
            Show a shared buffer only once.

        Yields
        ------
        path, buffer
        """
        return self._members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once.

        Parameters
        ----------
        recurse : bool
            False: only those of this very module.

        Yields
        ------
        Tensor
        """
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as ``"encoder.0"``; ``""`` is this one.

        Parameters
        ----------
        target : str

        Returns
        -------
        Module

        Raises
        ------
        AttributeError
            If there is none.
        """
        module = self
        for name in target.split(".") if target else []:
            below = module._modules.get(name)
            if below is None:
                raise AttributeError(f"{type(module).__name__} has no module {name!r} ({target!r})")
            module = below
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path.

        Parameters
        ----------
        target : str

        Returns
        -------
        Parameter

        Raises
        ------
        AttributeError
            If there is none.
        """
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._parameters.get(name)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return found

    def count_parameters(self, trainable: bool = False) -> int:
        """The number of values in all parameters, shared ones counted once.

        Parameters
        ----------
        trainable : bool
            Leave out what does not require grad.

        Returns
        -------
        int
        """
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable)

    # -- state -----------------------------------------------------------------------------------

    def _state(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        """Parameters and persistent buffers, shared ones under each of their names."""
        for name, value in (*self._parameters.items(), *self._buffers.items()):
            if value is not None and name not in self._non_persistent:
                yield prefix + name, value
        for name, module in self._modules.items():
            if module is not None:
                yield from module._state(f"{prefix}{name}.")

    def state_dict(self, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by path.

        Parameters
        ----------
        prefix : str
            Put before every path.
        keep_vars : bool
            Give the parameters themselves instead of detached tensors on the same memory.

        Returns
        -------
        dict of str to Tensor
        """
        return {k: v if keep_vars else v.detach() for k, v in self._state(prefix)}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy values into parameters and buffers; all is checked before anything is written.

        Parameters
        ----------
        state_dict : mapping of str to array
            Tensors, ndarrays or torch tensors; a PyTorch checkpoint of the same model as it is.
        strict : bool
            Whether missing and unexpected keys are errors. Wrong shapes always are.

        Returns
        -------
        IncompatibleKeys
            ``(missing_keys, unexpected_keys)``.

        Raises
        ------
        RuntimeError
            Naming every missing, unexpected and misshapen key.
        """
        own = dict(self._state(""))
        values = {k: value_of(v, k) for k, v in state_dict.items() if k in own}
        missing = [k for k in own if k not in state_dict]
        unexpected = [k for k in state_dict if k not in own]
        keys = (missing, unexpected) if strict else ([], [])
        check_keys(type(self).__name__, *keys, own, values)
        from ..cuda.frameworks import device_of, move

        for name, value in values.items():
            data = own[name].data
            data[...] = move(value, device_of(data))
        return IncompatibleKeys(missing, unexpected)

    # -- switching -------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Switch this module and all below to training, or to evaluation.

        Parameters
        ----------
        mode : bool

        Returns
        -------
        Module
            This module.
        """
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self: M) -> M:
        """Switch this module and all below to evaluation.

        Returns
        -------
        Module
            This module.
        """
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze or unfreeze all parameters.

        Parameters
        ----------
        requires_grad : bool

        Returns
        -------
        Module
            This module.
        """
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool
            False: fill them with zeros instead.
        """
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call `fn` on every module below, then on this one: to initialise, for one.

        Parameters
        ----------
        fn : callable

        Returns
        -------
        Module
            This module.
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self: M, target: Any) -> M:
        """Move to a device, or convert to a dtype; in place, gradients included.

        Parameters
        ----------
        target : str or dtype
            ``"cpu"``, ``"cuda"`` or ``"cuda:1"``: all parameters and buffers. float32 or float64
            (on a GPU float16, too): those that are floating.

        Returns
        -------
        Module
            This module.

        Raises
        ------
        TypeError
            For another dtype.
        RuntimeError, ImportError
            If no GPU can be used, or CuPy is missing; nothing has moved then.
        """
        if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda"):
            return self._move_to(target)
        wanted = np.dtype(target)
        if wanted not in (np.float32, np.float64, np.float16):
            raise TypeError(f"to: dtype must be float32 or float64, got {wanted}")
        tensors = [t for t in (*self.parameters(), *self.buffers()) if t.dtype.kind == "f"]
        if wanted == np.float16 and any(t.device == "cpu" for t in tensors):
            raise TypeError("to: float16 is computed on a GPU only; use to('cuda') first")
        for tensor in tensors:
            tensor.data = tensor.data.astype(wanted, copy=False)
            if tensor.grad is not None:
                tensor.grad.data = tensor.grad.data.astype(wanted, copy=False)
        return self

    def _move_to(self: M, device: str) -> M:
        from ..cuda.frameworks import move

        for tensor in (*self.parameters(), *self.buffers()):
            tensor.data = move(tensor.data, device)
            if tensor.grad is not None:
                tensor.grad.data = move(tensor.grad.data, device)
        return self

    def cuda(self: M, device: int | None = None) -> M:
        """Move to a GPU: the current one, or the one that is named.

        Parameters
        ----------
        device : int, optional

        Returns
        -------
        Module
            This module.
        """
        return self.to("cuda" if device is None else f"cuda:{device}")

    def cpu(self: M) -> M:
        """Move to the CPU.

        Returns
        -------
        Module
            This module.
        """
        return self.to("cpu")

    def float(self: M) -> M:
        """Convert to float32.

        Returns
        -------
        Module
            This module.
        """
        return self.to(np.float32)

    def double(self: M) -> M:
        """Convert to float64.

        Returns
        -------
        Module
            This module.
        """
        return self.to(np.float64)

    # -- showing ---------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of the module's name; for subclasses.

        Returns
        -------
        str
        """
        return ""

    def __repr__(self) -> str:
        lines = [self.extra_repr()] if self.extra_repr() else []
        children = [(n, m) for n, m in self._modules.items()]
        if not children:
            return f"{type(self).__name__}({', '.join(lines)})"
        lines += [f"({name}): " + repr(module).replace("\n", "\n  ") for name, module in children]
        body = "\n  ".join(lines)
        return f"{type(self).__name__}(\n  {body}\n)"
