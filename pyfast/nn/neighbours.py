"""Which module's output goes into which module, and nowhere else: what may be fused.

Read off Sequentials, or proven on a run. A proof watches the calls for an array that one module
returns and another one takes; then it runs the model again with such arrays replaced by nonsense,
which only the one module that is said to take it sees through. If the model's outputs keep every
bit, nothing else has looked at the array.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..autograd import no_grad
from .container import Sequential
from .dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d
from .linear import Identity
from .module import Module

__all__ = [
    "Pair",
    "Sum",
    "arrays_in",
    "called_pairs",
    "called_sums",
    "hooked",
    "is_sequential",
    "row",
    "shared",
]

Pair = tuple[Module, Module]
Wrapper = Callable[[Module, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
Spoil = Callable[[Any], Any]
Sum = tuple[Module, Module | None]

_NONSENSE: tuple[Spoil, ...] = (
    lambda a: np.full_like(a, np.nan),
    # What a comparison with NaN hides shows with other signs, beyond every threshold, or at zero.
    lambda a: -3 * a - 1,
    lambda a: np.full_like(a, np.inf),
    lambda a: np.full_like(a, -np.inf),
    np.zeros_like,
)

# In evaluation they return their input itself.
_TRANSPARENT = (Identity, Dropout, Dropout1d, Dropout2d, AlphaDropout)


def hooked(module: Module) -> bool:
    """Whether somebody watches the module's calls.

    Parameters
    ----------
    module : Module

    Returns
    -------
    bool
    """
    return bool(module._forward_hooks or module._forward_pre_hooks)


def shared(root: Module) -> set[int]:
    """Ids of the modules that have several places in a model.

    Parameters
    ----------
    root : Module

    Returns
    -------
    set of int
    """
    places = Counter(id(m) for _, m in root.named_modules(remove_duplicate=False))
    return {key for key, count in places.items() if count > 1}


def is_sequential(module: Module) -> bool:
    """Whether calling a module means calling its members in a row.

    Parameters
    ----------
    module : Module

    Returns
    -------
    bool
    """
    own = "forward" in module.__dict__ or type(module).__call__ is not Module.__call__
    return isinstance(module, Sequential) and type(module).forward is Sequential.forward and not own


def row(sequential: Module) -> Iterator[tuple[int, Module | None]]:
    """The layers of a Sequential and of those in it, in the order of the calls.

    Parameters
    ----------
    sequential : Sequential

    Yields
    ------
    position, module
        The position of the member it belongs to. None stands where somebody watches.
    """
    for i, member in enumerate(sequential._modules.values()):
        if member is None or hooked(member):
            yield i, None
        elif is_sequential(member):
            yield from ((i, layer) for _, layer in row(member))
        elif type(member) not in _TRANSPARENT:
            yield i, member


def arrays_in(value: Any) -> list[np.ndarray[Any, Any]]:
    """All arrays in what a model returned: tuples, lists, dicts and dataclasses are opened.

    Parameters
    ----------
    value : anything

    Returns
    -------
    list of ndarray
    """
    if isinstance(value, Tensor):
        return [value.data]
    if isinstance(value, np.ndarray | np.generic):
        return [np.asarray(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = vars(value) if hasattr(value, "__dict__") else dataclasses.astuple(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [array for v in value for array in arrays_in(v)]
    return []


@contextlib.contextmanager
def _wrapped(modules: list[Module], wrapper: Wrapper) -> Iterator[None]:
    """While it lasts, `wrapper(module, forward, args, kwargs)` stands in for each forward."""

    def wrap(module: Module) -> None:
        forward = module.forward
        object.__setattr__(
            module, "forward", lambda *args, **kwargs: wrapper(module, forward, args, kwargs)
        )

    for module in modules:
        wrap(module)
    try:
        yield
    finally:
        for module in modules:
            object.__delattr__(module, "forward")


class _Takers:
    """Which modules took each value; values are kept, so that no other one is given their id."""

    def __init__(self) -> None:
        self._taken: dict[int, tuple[Any, list[Module]]] = {}

    def add(self, value: Any, module: Module) -> None:
        self._taken.setdefault(id(value), (value, []))[1].append(module)

    def of(self, value: Any) -> list[Module]:
        return self._taken.get(id(value), (value, []))[1]


def called_pairs(root: Module, inputs: tuple[Any, ...], wanted: Callable[..., bool]) -> list[Pair]:
    """Modules that hand their output to one other module and to nobody else.

    Parameters
    ----------
    root : Module
        In evaluation mode.
    inputs : tuple
        What it is called with.
    wanted : callable
        ``wanted(first, second, output)``: whether a pair is of interest.

    Returns
    -------
    list of (first, second)
        Both called once in the run.
    """
    pairs = [(a, b) for a, b, output in _watched(root, inputs) if wanted(a, b, output)]
    if not pairs:
        return []
    with no_grad():
        expected = arrays_in(root(*inputs))
    if _proven(root, inputs, pairs, expected):
        return pairs
    return [p for p in pairs if _proven(root, inputs, [p], expected)]


def _watched(root: Module, inputs: tuple[Any, ...]) -> list[tuple[Module, Module, Any]]:
    calls: Counter[int] = Counter()
    made: dict[int, tuple[Module, Any]] = {}  # the array is kept, so that its id stays its own
    taken = _Takers()

    def watch(module: Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        calls[id(module)] += 1
        for value in (*args, *kwargs.values()) if hooked(module) else args[:1]:
            taken.add(value, module)
        output = forward(*args, **kwargs)
        if hooked(module):  # whoever watches sees this array: it must stay what it is
            taken.add(output, module)
        made.setdefault(id(output), (module, output))
        return output

    layers = [m for m in root.modules() if (not m._modules or hooked(m)) and _class_forward(m)]
    layers = [m for m in layers if type(m) not in _TRANSPARENT or hooked(m)]
    with _wrapped(layers, watch), no_grad():
        root(*inputs)
    pairs = []
    for first, output in made.values():
        takers = taken.of(output)
        if len(takers) == 1 and calls[id(first)] == calls[id(takers[0])] == 1:
            pairs.append((first, takers[0], output))
    return [p for p in pairs if not hooked(p[0]) and not hooked(p[1])]


def _class_forward(module: Module) -> bool:
    return "forward" not in module.__dict__ and hasattr(type(module), "forward")


def _proven(root: Module, inputs: tuple[Any, ...], pairs: list[Pair], expected: list[Any]) -> bool:
    """Whether the outputs keep their bits when the arrays of all pairs are nonsense."""
    return _unmoved(lambda spoil: _spoiled(root, inputs, pairs, spoil), expected)


def _unmoved(run: Callable[[Spoil], list[Any]], expected: list[Any]) -> bool:
    """Whether the outputs keep their bits whatever nonsense the run is made with."""
    for spoil in _NONSENSE:
        try:
            found = run(spoil)
        except Exception:  # whatever forward raises at nonsense: it has looked at it
            return False
        if len(found) != len(expected) or not all(map(_same, found, expected)):
            return False
    return True


def _same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _with_truth(
    truth: dict[int, tuple[Any, Any]], module: Module, args: tuple[Any, ...]
) -> tuple[Any, ...]:
    """The arguments, with the nonsense that the module is to take put right."""
    fake, true = truth.get(id(module), (None, None))
    return (true, *args[1:]) if fake is not None and args and args[0] is fake else args


def _spoiled(
    root: Module, inputs: tuple[Any, ...], pairs: list[Pair], spoil: Spoil
) -> list[np.ndarray[Any, Any]]:
    second_of = {id(a): b for a, b in pairs}
    truth: dict[int, tuple[Any, Any]] = {}  # by id of the one that must take it: nonsense, truth

    def play(module: Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = forward(*_with_truth(truth, module, args), **kwargs)
        second = second_of.get(id(module))
        if second is None:
            return output
        is_tensor = isinstance(output, Tensor)
        with np.errstate(all="ignore"):
            values = spoil(output.data if is_tensor else output)
        truth[id(second)] = (Tensor(values) if is_tensor else values, output)
        return truth[id(second)][0]

    modules = list({id(m): m for pair in pairs for m in pair}.values())
    with _wrapped(modules, play), no_grad(), np.errstate(all="ignore"):
        return arrays_in(root(*inputs))


class _Summand(Tensor):
    """A module's output that tells of the addition it goes into."""

    __slots__ = ("_added",)

    def __init__(self, array: Any, added: Callable[[Any], Any]) -> None:
        super().__init__(array)
        self._added = added

    def __add__(self, other: Any) -> Any:
        return self._added(Tensor(other.data) if isinstance(other, _Summand) else other)

    __radd__ = __iadd__ = __add__  # the same bits either way round

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.add and method == "__call__" and not options:  # array + self
            return self + inputs[inputs[0] is self]
        return super().__array_ufunc__(ufunc, method, *inputs, **options)


def called_sums(root: Module, inputs: tuple[Any, ...], wanted: Callable[..., bool]) -> list[Sum]:
    """Modules whose output is added to an array of its shape, and goes nowhere else.

    Parameters
    ----------
    root : Module
        In evaluation mode.
    inputs : tuple
        What it is called with.
    wanted : callable
        ``wanted(first, second)``: whether they are of interest; second may be None.

    Returns
    -------
    list of (first, second)
        Both called once; second: the module that takes the sum, if one alone does.
    """
    sums = _watched_sums(root, inputs, wanted)
    if not sums:
        return []
    with no_grad():
        expected = arrays_in(root(*inputs))

    def proven(some: list[Sum]) -> bool:
        return _unmoved(lambda spoil: _spoiled_sums(root, inputs, some, spoil), expected)

    if proven(sums):
        return sums
    kept = [s for s in sums if proven([s])]
    alone = [(first, None) for first, second in sums if second and (first, second) not in kept]
    return kept + [s for s in alone if proven([s])]


def _watched_sums(root: Module, inputs: tuple[Any, ...], wanted: Callable[..., bool]) -> list[Sum]:
    calls: Counter[int] = Counter()
    taken = _Takers()
    additions: list[tuple[Module, Any, bool]] = []  # of which output, the sum, shapes agree
    layers = [m for m in root.modules() if not m._modules and _class_forward(m)]

    def watch(module: Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        calls[id(module)] += 1
        for value in args[:1]:
            taken.add(value, module)
        output = forward(*args, **kwargs)
        if hooked(module) or type(output) is not Tensor or not wanted(module, None):
            return output

        def added(other: Any) -> Any:
            total = output + other
            like = getattr(other, "shape", None) == output.shape and other.dtype == output.dtype
            additions.append((module, total, like))
            return total

        return _Summand(output.data, added)

    with _wrapped(layers, watch), no_grad():
        root(*inputs)
    times = Counter(id(module) for module, _, _ in additions)
    sums: list[Sum] = []
    for module, total, like in additions:
        if not like or times[id(module)] != 1 or calls[id(module)] != 1:
            continue
        takers = taken.of(total)
        second = takers[0] if len(takers) == 1 else None
        if second and (calls[id(second)] > 1 or hooked(second) or not wanted(module, second)):
            second = None
        sums.append((module, second))
    return sums


def _spoiled_sums(
    root: Module, inputs: tuple[Any, ...], sums: list[Sum], spoil: Spoil
) -> list[np.ndarray[Any, Any]]:
    second_of = {id(first): second for first, second in sums}
    truth: dict[int, tuple[Any, Any]] = {}  # by id of the one that must take it: nonsense, truth

    def play(module: Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = forward(*_with_truth(truth, module, args), **kwargs)
        if id(module) not in second_of:
            return output
        second = second_of[id(module)]

        def added(other: Any) -> Any:
            total = output + other
            if second is None:
                return total
            truth[id(second)] = (Tensor(spoil(total.data)), total)
            return truth[id(second)][0]

        return _Summand(spoil(output.data), added)

    modules = list({id(m): m for pair in sums for m in pair if m is not None}.values())
    with _wrapped(modules, play), no_grad(), np.errstate(all="ignore"):
        return arrays_in(root(*inputs))
