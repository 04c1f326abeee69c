"""What every optimizer shares: parameter groups, state, and saving both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .._tensor import Tensor
from ..autograd import enable_grad

__all__ = ["Optimizer"]

Array = np.ndarray[Any, Any]
Group = dict[str, Any]

_NOT_NEGATIVE = (
    "weight_decay", "eps", "momentum", "lr_decay", "initial_accumulator_value", "alpha", "rho",
    "momentum_decay",
)  # fmt: skip
_SCALARS: dict[str, Callable[[Any], Any]] = {"step": int, "mu_product": float}
_KEPT = ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum")  # schedules' settings


class Slots(NamedTuple):
    """The parameters of a step, side by side: arrays, gradients, state, number of the group."""

    params: list[Array]
    grads: list[Array]
    states: list[dict[str, Any]]
    names: list[tuple[str | None, ...]]
    groups: list[int]

    def arrays(self) -> list[tuple[Array | None, ...]]:
        """What is remembered of each, in the order of the names."""
        pairs = zip(self.states, self.names, strict=True)
        return [tuple(state[n] if n else None for n in names) for state, names in pairs]


class Missing(NamedTuple):
    """An array that is to be remembered from now on: where, as what, shaped like what."""

    state: dict[str, Any]
    name: str
    like: Array
    group: Group


class Optimizer:
    """Base of the optimizers: holds parameters in groups and what is remembered of each.

    A subclass gives its defaults, the arrays it keeps of each parameter (``_state_names``) and the
    kernel that moves all parameters of all groups in one call (``_kernel``).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters, or groups of them: ``{"params": [...], "lr": 0.1}`` overrides the defaults.
    defaults : dict
        Settings of groups that do not set them.

    Attributes
    ----------
    param_groups : list of dict
        Settings may be changed between steps: ``optimizer.param_groups[0]["lr"] = 0.01``.
    state : dict
        For each parameter's number (counted over all groups) what is remembered of it.

    Raises
    ------
    ValueError
        If there are no parameters, one is given twice, or a setting is out of range.
    TypeError
        If something other than a floating leaf Tensor is given.
    """

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        self._name = type(self).__name__
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[int, dict[str, Any]] = {}
        if isinstance(params, Tensor):
            raise TypeError(f"{self._name}: params must be an iterable of Tensors, got a Tensor")
        if not isinstance(params, Iterable):
            raise TypeError(f"{self._name}: params must be an iterable of Tensors, got {params!r}")
        groups = list(params)
        if not groups:
            raise ValueError(f"{self._name}: params must not be empty")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: Group) -> None:
        """Take more parameters, with settings of their own.

        Parameters
        ----------
        group : dict
            ``{"params": Tensor or iterable of Tensor, setting: value, ...}``.

        Raises
        ------
        ValueError
            If a parameter is in a group already, or a setting is out of range.
        TypeError
            If a parameter is no floating leaf Tensor.
        """
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f"{self._name}: a group must be a dict with 'params', got {group!r}")
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            self._check_parameter(p)
            if id(p) in known:
                raise ValueError(f"{self._name}: a parameter appears more than once in params")
            known.add(id(p))
        unknown = set(group) - {"params"} - set(self.defaults) - set(_KEPT)
        if unknown:
            raise ValueError(f"{self._name}: unknown setting {sorted(unknown)[0]!r} in a group")
        complete = {**self.defaults, **group, "params": params}
        self._check_settings(complete)
        self.param_groups.append(complete)

    def _check_parameter(self, p: Any) -> None:
        if not isinstance(p, Tensor):
            raise TypeError(f"{self._name}: params must hold Tensors, got {type(p).__name__}")
        if not p.is_leaf:
            raise ValueError(f"{self._name}: params must be leaves, got the result of an operation")
        if p.data.dtype not in (np.float32, np.float64) and p.device == "cpu":
            raise TypeError(f"{self._name}: params must be float32 or float64, got {p.data.dtype}")

    def _check_settings(self, group: Group) -> None:
        for name in _NOT_NEGATIVE:
            value = group.get(name, 0.0)
            if not _is_number(value) or not 0 <= value < math.inf:
                raise ValueError(
                    f"{self._name}: {name} must be finite and not negative, got {value!r}"
                )
        if not _is_number(group["lr"]) or not 0 < group["lr"] < math.inf:
            raise ValueError(f"{self._name}: lr must be positive and finite, got {group['lr']!r}")
        for name in ("alpha", "rho"):
            if not group.get(name, 0.0) <= 1:
                raise ValueError(f"{self._name}: {name} must be in [0, 1], got {group[name]!r}")
        betas = group.get("betas", (0.0, 0.0))
        pair = isinstance(betas, tuple | list) and len(betas) == 2
        if not pair or not all(_is_number(beta) and 0 <= beta < 1 for beta in betas):
            raise ValueError(f"{self._name}: betas must be two numbers in [0, 1), got {betas!r}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool
            False: keep arrays of zeros instead.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad = Tensor(np.zeros_like(p.data))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Recomputes the loss and its gradients first.

        Returns
        -------
        what `closure` returned, else None

        Raises
        ------
        ValueError, TypeError
            If a gradient has another shape or dtype than its parameter; nothing has moved then.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        slots = self._slots()
        if slots.params:
            self._move(slots)
            for state in slots.states:
                state["step"] += 1
        return loss

    def _slots(self) -> Slots:
        """Every parameter that has a gradient, over all groups."""
        slots = Slots([], [], [], [], [])
        missing: list[Missing] = []
        number = 0
        for index, group in enumerate(self.param_groups):
            names = self._state_names(group)
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state.setdefault(number, {"step": 0})
                    slots.params.append(p.data)
                    slots.grads.append(p.grad.data)
                    slots.states.append(state)
                    slots.names.append(names)
                    slots.groups.append(index)
                    missing += [
                        Missing(state, n, p.data, group)
                        for n in names
                        if n and state.get(n) is None
                    ]
                number += 1
        here = [m for m in missing if type(m.like) is np.ndarray]
        for m in missing:
            if type(m.like) is not np.ndarray:  # on a GPU, whose allocator has its own order
                m.state[m.name] = np.zeros_like(m.like, order="C")
                self._initialise(m, m.state[m.name])
        if here:
            self._make_arrays(here)
        return slots

    def _make_arrays(self, missing: list[Missing]) -> None:
        """Arrays of what is to be remembered, side by side in one piece of memory.

        One large piece lies in huge pages, where a step runs faster.
        """
        for dtype in {m.like.dtype for m in missing}:
            same = sorted((m for m in missing if m.like.dtype == dtype), key=lambda m: m.name)
            unit = 64 // dtype.itemsize  # each begins on a cache line
            sizes = [-(-m.like.size // unit) * unit for m in same]
            slab = np.zeros(sum(sizes) + unit, dtype)
            at = -slab.ctypes.data % 64 // dtype.itemsize
            for m, size in zip(same, sizes, strict=True):
                array = slab[at : at + m.like.size].reshape(m.like.shape)
                m.state[m.name] = array
                self._initialise(m, array)
                at += size

    def _initialise(self, made: Missing, array: Array) -> None:
        """Give a new array of zeros another beginning."""

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        """Names of the arrays that the kernel keeps, None where these settings need none."""
        raise NotImplementedError

    _kernel: ClassVar[Callable[..., None]]

    def _move(self, slots: Slots) -> None:
        steps = [state["step"] + 1 for state in slots.states]
        _kernel_for(type(self)._kernel, slots.params)(
            slots.params, slots.grads, slots.arrays(), steps, slots.groups, self.param_groups
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on later: settings, and state by parameter number.

        Returns
        -------
        dict
            ``{"state": {number: {...}}, "param_groups": [{..., "params": [number, ...]}]}``, as in
            PyTorch. Arrays are shared, not copied.
        """
        groups, number = [], 0
        for group in self.param_groups:
            settings = {k: v for k, v in group.items() if k != "params"}
            numbers = list(range(number, number + len(group["params"])))
            groups.append({**settings, "params": numbers})
            number += len(numbers)
        return {"state": {k: dict(v) for k, v in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; arrays are copied.

        Parameters
        ----------
        state_dict : dict

        Raises
        ------
        ValueError
            If groups differ in number or length, or an array in shape; nothing has changed then.
        """
        groups = state_dict["param_groups"]
        mine = [len(g["params"]) for g in self.param_groups]
        if [len(g["params"]) for g in groups] != mine:
            sizes = [len(g["params"]) for g in groups]
            raise ValueError(
                f"{self._name}: state_dict has groups of {sizes} parameters, this optimizer {mine}"
            )
        params = [p for g in self.param_groups for p in g["params"]]
        state = {
            int(number): {
                "step": 1,  # torch.optim.SGD counts none, and has moved when it has state
                **{key: self._restored(key, v, params[int(number)]) for key, v in kept.items()},
            }
            for number, kept in state_dict["state"].items()
        }
        for group, loaded in zip(self.param_groups, groups, strict=True):
            group.update({k: v for k, v in loaded.items() if k in self.defaults or k in _KEPT})
        self.state = state

    def _restored(self, key: str, value: Any, parameter: Tensor) -> Any:
        if key in _SCALARS:
            return _SCALARS[key](value)
        if value is None:
            return None
        from ..cuda.frameworks import device_of, move

        array = np.array(np.asarray(move(value, "cpu")), parameter.data.dtype, order="C")
        if array.shape != parameter.data.shape:
            raise ValueError(
                f"{self._name}: {key} of shape {array.shape} in the state_dict belongs to a "
                f"parameter of shape {parameter.data.shape}"
            )
        return move(array, device_of(parameter.data))

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for i, group in enumerate(self.param_groups):
            settings = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} parameters, {settings}")
        return "\n".join([*lines, ")"])


def _kernel_for(kernel: Callable[..., None], params: list[Any]) -> Callable[..., None]:
    """The kernel of the same name for where the parameters lie."""
    for data in params:
        if type(data) is not np.ndarray:
            from ..cuda.frameworks import kernels_of

            chosen: Callable[..., None] = getattr(
                kernels_of(data, kernel.__name__), kernel.__name__
            )
            return chosen
    return kernel


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)
