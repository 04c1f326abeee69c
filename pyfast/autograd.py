"""The tape: what was computed, so that gradients can be computed backwards.

A :class:`Function` is one differentiable operation on plain arrays. ``Function.apply`` runs it on
tensors and, where some input requires a gradient, leaves a :class:`Context` behind: the node of the
graph, holding what backward needs and where its gradients go. Nodes are numbered as they are made,
so that walking them by falling number is a topological order: no recursion, no dependency counts.

Reverse-mode differentiation: Linnainmaa, *BIT Numerical Mathematics* 16, 1976, 146-160.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, cast

import numpy as np

from . import _core

__all__ = [
    "Context",
    "Function",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
    "sum_to",
    "value_and_grad",
]

Array = np.ndarray[Any, Any]
F = TypeVar("F", bound=Callable[..., Any])


class _GradMode(threading.local):
    enabled = True


_mode = _GradMode()
_numbers = itertools.count()
_NUMPY = (np.ndarray, np.generic)
_new: Any = object.__new__


class Variable:
    """What the tape knows of a tensor: its array, its gradient, the node that made it."""

    __slots__ = ("__weakref__", "_data", "_grad", "_hooks", "_index", "_node", "_requires_grad")

    _data: Array
    _grad: Any
    _hooks: dict[int, Callable[[Any], Any]] | None
    _index: int
    _node: Context | None
    _requires_grad: bool


_tensor_class: Any = Variable


def register_tensor_class(cls: type[Variable]) -> None:
    """Name the class that outputs and gradients are wrapped in (_tensor.py does, once)."""
    global _tensor_class
    _tensor_class = cls


def wrap(data: Array, requires_grad: bool = False) -> Any:
    """A Tensor around an array, without checks or copies."""
    tensor = _new(_tensor_class)
    tensor._data = data
    tensor._grad = None
    tensor._hooks = None
    tensor._index = 0
    tensor._node = None
    tensor._requires_grad = requires_grad
    return tensor


def on_gpu(value: Any) -> bool:
    """Whether a tensor's array lies on a GPU: CuPy's, that is."""
    return type(value) is not np.ndarray and hasattr(value, "__cuda_array_interface__")


def as_data(value: Any) -> Any:
    """The array as a tensor keeps it: an ndarray, or a GPU's array as it is."""
    return value if on_gpu(value) else np.asarray(value)


class Context:
    """Carries values from a function's forward to its backward; also its node in the graph.

    Any attribute may be set on it in forward and read in backward. Arrays are better passed
    through :meth:`save_for_backward`, though both are freed after backward.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument of ``apply``, whether its gradient is wanted.
    saved_tensors : tuple
        What forward gave to :meth:`save_for_backward`: plain arrays.
    kernels : module
        The compiled functions for where the arrays lie: `_core`, or those of pyfast.cuda.
    """

    # Most contexts are made for calls that record nothing: what they start with is the class's own.
    needs_input_grad: tuple[bool, ...] = (False,) * 32
    saved_tensors: tuple[Any, ...] = ()
    kernels: Any = _core
    _edges: list[tuple[Variable | Context, int] | None] | None = None
    _function: type[Function]
    _hooks: dict[int, dict[int, Callable[[Any], Any]]] | None = None
    _materialize = True
    _non_differentiable: tuple[int, ...] = ()
    _number: int
    _outputs: list[tuple[tuple[int, ...], np.dtype[Any]] | None]

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep arrays for backward, where ``saved_tensors`` shows them.

        Parameters
        ----------
        *arrays : array or None
            Kept by reference: whoever changes them before backward changes the gradient.
        """
        self.saved_tensors = arrays

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """Declare outputs that carry no gradient (those that aren't floating never do).

        Parameters
        ----------
        *outputs : array
            The very objects that forward returns.
        """
        self._non_differentiable += tuple(map(id, outputs))

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether an output that got no gradient shows zeros (the default) or None.

        Parameters
        ----------
        value : bool
        """
        self._materialize = value

    def _record(self, function: type[Function], args: tuple[Any, ...]) -> None:
        self._function = function
        self._edges = [
            (a._node or a, a._index) if needed else None
            for a, needed in zip(args, self.needs_input_grad, strict=True)
        ]
        self._number = next(_numbers)
        self._outputs = []

    def _only_output(self, array: Array) -> Any:
        """As :meth:`_output`, of the one floating array that most functions return."""
        tensor = _new(_tensor_class)
        tensor._data = array
        tensor._grad = None
        tensor._hooks = None
        tensor._index = 0
        tensor._node = self
        tensor._requires_grad = True
        self._outputs = [(array.shape, array.dtype)]
        return tensor

    def _output(self, value: Any) -> Any:
        """Wrap one output and connect it to this node."""
        if not isinstance(value, _NUMPY) and not on_gpu(value):
            self._outputs.append(None)
            return value
        differentiable = value.dtype.kind == "f" and id(value) not in self._non_differentiable
        tensor = wrap(as_data(value), differentiable)
        if differentiable:
            tensor._node = self
            tensor._index = len(self._outputs)
        self._outputs.append((value.shape, value.dtype) if differentiable else None)
        return tensor

    def _free(self) -> None:
        function, number, outputs = self._function, self._number, self._outputs
        self.__dict__.clear()
        self._function, self._number, self._outputs = function, number, outputs


class Function:
    """One differentiable operation; subclass it with a ``forward`` and a ``backward``.

    Both receive plain arrays and a :class:`Context`. ``backward`` returns one gradient, or None,
    for each argument of ``apply``, of that argument's shape (see :func:`sum_to`).

    Attributes
    ----------
    array_args : int
        How many leading arguments are arrays (or None): those are converted when the op is called
        with lists, torch tensors or other arrays. ``apply`` itself converts nothing but Tensors.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> class Cube(pf.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x**3
    ...
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x**2 * grad
    >>> x = pf.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> Cube.apply(x).sum().backward()
    >>> x.grad.numpy()
    array([ 3., 12.])
    """

    array_args: ClassVar[int] = 0
    # The value of forward without a context, where an operator is so quick that one would show.
    plain: ClassVar[Callable[..., Any] | None] = None

    # Typed as attributes, so that subclasses choose their own arguments.
    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]

    @classmethod
    def run(cls, *args: Any) -> Any:
        """The value of forward on plain arrays; nothing is recorded.

        Parameters
        ----------
        *args
            What forward takes after the context.

        Returns
        -------
        array or tuple
            What forward returns.
        """
        return cls.forward(Context(), *args)

    @classmethod
    def run_with(cls, kernels: Any, *args: Any) -> Any:
        """As :meth:`run`, on arrays of another device.

        Parameters
        ----------
        kernels : Kernels
            See pyfast.cuda.frameworks.
        *args
            What forward takes after the context.

        Returns
        -------
        array or tuple
            What forward returns.
        """
        ctx = Context()
        ctx.kernels = kernels
        return cls.forward(ctx, *args)

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward on tensors, and record it where some input requires a gradient.

        Parameters
        ----------
        *args
            Tensors and anything else that forward takes.

        Returns
        -------
        Tensor, or tuple of Tensors
            Outputs of forward that are not arrays are passed through.
        """
        values = [a._data if isinstance(a, Variable) else a for a in args]
        if _mode.enabled:
            needs = tuple([isinstance(a, Variable) and a._requires_grad for a in args])
            if True in needs:
                return cls._apply_recorded(args, values, needs)
        outputs = cls.forward(cls._context(values), *values)
        if isinstance(outputs, tuple):
            return tuple([constant(o) for o in outputs])
        return constant(outputs)

    @classmethod
    def _context(cls, values: list[Any]) -> Context:
        """A context with the kernels for where the arrays lie."""
        ctx = Context()
        if type(values[0]) is not np.ndarray:
            for value in values:
                if on_gpu(value):
                    from .cuda.frameworks import kernels_of

                    ctx.kernels = kernels_of(value, cls.__name__)
                    break
        return ctx

    @classmethod
    def _apply_recorded(
        cls, args: tuple[Any, ...], values: list[Any], needs: tuple[bool, ...]
    ) -> Any:
        ctx = cls._context(values)
        ctx.needs_input_grad = needs
        outputs = cls.forward(ctx, *values)
        ctx._record(cls, args)
        if (
            type(outputs) is np.ndarray
            and outputs.dtype.kind == "f"
            and not ctx._non_differentiable
        ):
            return ctx._only_output(outputs)
        if isinstance(outputs, tuple):
            return tuple([ctx._output(o) for o in outputs])
        return ctx._output(outputs)


def constant(output: Any) -> Any:
    """An output of forward that nothing is recorded of."""
    if type(output) is np.ndarray or on_gpu(output):
        return wrap(output)
    return wrap(np.asarray(output)) if isinstance(output, _NUMPY) else output


def operate(function: type[Function], a: Variable, b: Variable) -> Any:
    """``function.apply(a, b)`` for an operator that is ``plain``, of two tensors.

    What apply finds out for arguments of any number and kind is written out for two tensors: on
    small arrays it would take several times as long as the arithmetic.
    """
    x, y = a._data, b._data
    needs = (a._requires_grad, b._requires_grad)
    if True not in needs or not _mode.enabled:
        return constant(cast(Any, function).plain(x, y))
    if type(x) is not np.ndarray:
        return function.apply(a, b)
    ctx = Context()
    ctx.needs_input_grad = needs
    value = function.forward(ctx, x, y)
    ctx._function = function
    ctx._edges = [
        (a._node or a, a._index) if needs[0] else None,
        (b._node or b, b._index) if needs[1] else None,
    ]
    ctx._number = next(_numbers)
    if type(value) is np.ndarray:
        return ctx._only_output(value)
    ctx._outputs = []
    return ctx._output(value)  # NumPy's scalar of arrays without axes


class set_grad_enabled:
    """Turn recording on or off in this thread, from the call on or for a ``with`` block.

    Parameters
    ----------
    mode : bool

    Examples
    --------
    >>> import pyfast as pf
    >>> with pf.autograd.set_grad_enabled(False):
    ...     pf.is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        self._previous = _mode.enabled
        _mode.enabled = bool(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._previous


class _Switch:
    """A context manager and decorator that sets the grad mode of its thread."""

    _value: ClassVar[bool]

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(_mode.enabled)
        _mode.enabled = self._value

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._previous.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return cast(F, wrapped)


class no_grad(_Switch):
    """Nothing is recorded in this block, or in the decorated function; per thread.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.ones(2), requires_grad=True)
    >>> with pf.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    _value = False


class enable_grad(_Switch):
    """Recording is on in this block, or in the decorated function, even inside :class:`no_grad`.

    Examples
    --------
    >>> import pyfast as pf
    >>> with pf.no_grad(), pf.enable_grad():
    ...     pf.is_grad_enabled()
    True
    """

    _value = True


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded.

    Returns
    -------
    bool

    Examples
    --------
    >>> import pyfast as pf
    >>> pf.is_grad_enabled()
    True
    """
    return _mode.enabled


def sum_to(array: Array, shape: tuple[int, ...]) -> Array:
    """Sum an array over the axes that broadcasting from `shape` had added or stretched.

    Parameters
    ----------
    array : array of a shape that `shape` broadcasts to
    shape : tuple of int

    Returns
    -------
    array of shape `shape`
        `array` itself where nothing was broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> sum_to(np.ones((4, 2, 3)), (2, 1))
    array([[12.],
           [12.]])
    """
    if array.shape == shape:
        return array
    added = array.ndim - len(shape)
    stretched = tuple(
        i + added for i, n in enumerate(shape) if n == 1 and array.shape[i + added] != 1
    )
    total = array.sum(axis=(*range(added), *stretched), keepdims=True)
    return cast(Array, total.reshape(shape))


class _Sum:
    """A gradient being added up; never writes into an array that anybody else may see."""

    __slots__ = ("owned", "value")

    def __init__(self) -> None:
        self.value: Array | None = None
        self.owned = False

    def add(self, gradient: Array) -> None:
        if self.value is None:
            self.value = gradient
        elif self.owned or self._alone():
            np.add(self.value, gradient, out=self.value)
        else:
            self.value = as_data(self.value + gradient)
            self.owned = True

    def _alone(self) -> bool:
        """Whether nothing but this object refers to the array and its memory.

        True of what a kernel's backward has just returned; a copy of it would double the traffic.
        """
        # The attribute and getrefcount's own argument. Where references are counted otherwise,
        # there are more of them, and the array is copied.
        return (
            sys.getrefcount(self.value) <= 2
            and type(self.value) is np.ndarray
            and self.value.flags.c_contiguous
            and self.value.flags.writeable
            and _core.owns_memory(self.value)
        )

    def fresh(self) -> Array:
        """The total, in memory that nobody else sees."""
        assert self.value is not None
        if self.owned or self._alone():
            return self.value
        return self.value.copy(order="C")


def _call_hooks(hooks: Mapping[int, Callable[[Any], Any]], total: _Sum) -> None:
    """Show the total to each hook; what a hook returns takes its place."""
    for hook in list(hooks.values()):
        before = total.value
        assert before is not None
        result = hook(wrap(before))
        if result is not None:
            total.value = _conform(result, before.shape, before.dtype, "a gradient hook")
            total.owned = False


def _conform(
    gradient: Any, shape: tuple[int, ...], dtype: np.dtype[Any], source: str | type[Function]
) -> np.ndarray[Any, Any]:
    """A gradient as an array of its tensor's shape and dtype."""
    if type(gradient) is np.ndarray and gradient.shape == shape and gradient.dtype is dtype:
        return gradient
    array = cast(Array, as_data(gradient._data if isinstance(gradient, Variable) else gradient))
    if array.shape != shape:
        if not isinstance(source, str):
            source = f"{source.__name__}.backward"
        raise RuntimeError(f"{source} returned a gradient of shape {array.shape} for {shape}")
    return array if array.dtype == dtype else array.astype(dtype)


class _Pass:
    """One walk from the outputs to the leaves."""

    def __init__(self, retain_graph: bool) -> None:
        self.retain_graph = retain_graph
        self.sums: dict[tuple[int, int], _Sum] = {}
        self.heap: list[tuple[int, Context]] = []
        self.reached: set[int] = set()
        self.leaves: dict[int, Variable] = {}
        self.wanted: dict[tuple[int, int], _Sum] = {}

    def want(self, variable: Variable) -> _Sum:
        """The sum in which this variable's gradient will be found after the walk."""
        key = (id(variable._node or variable), variable._index)
        return self.wanted.setdefault(key, _Sum())

    def add(
        self, target: Variable | Context, index: int, gradient: Any, source: str | type[Function]
    ) -> None:
        """Send one gradient to a leaf or to an output of a node."""
        key = (id(target), index)
        total = self.sums.get(key)
        if type(target) is Context:
            meta = target._outputs[index]
            assert meta is not None
            array = _conform(gradient, *meta, source)
            if total is None and target._number not in self.reached:
                self.reached.add(target._number)
                heapq.heappush(self.heap, (-target._number, target))
        else:
            leaf = cast(Variable, target)
            array = _conform(gradient, leaf._data.shape, leaf._data.dtype, source)
            self.leaves[id(target)] = leaf
        if total is None:
            total = self.sums[key] = _Sum()
        total.add(array)

    def walk(self) -> None:
        while self.heap:
            node = heapq.heappop(self.heap)[1]
            if node._edges is None:
                raise RuntimeError(
                    "backward: this graph was already walked and its saved values freed; "
                    "pass retain_graph=True to the first backward to walk it again"
                )
            self.step(node, node._edges)
            if not self.retain_graph:
                node._free()

    def step(self, node: Context, edges: list[tuple[Variable | Context, int] | None]) -> None:
        """Run one node's backward and send its results on."""
        grads = [self.incoming(node, i, meta) for i, meta in enumerate(node._outputs)]
        results = node._function.backward(node, *grads)
        if not isinstance(results, tuple):
            results = (results,)
        if len(results) != len(edges):
            raise RuntimeError(
                f"{node._function.__name__}.backward returned {len(results)} gradients "
                f"for {len(edges)} arguments"
            )
        for edge, result in zip(edges, results, strict=True):
            if edge is not None and result is not None:
                self.add(*edge, result, node._function)

    def incoming(
        self, node: Context, index: int, meta: tuple[tuple[int, ...], np.dtype[Any]] | None
    ) -> Array | None:
        """The whole gradient of one output of a node, after its hooks."""
        total = self.sums.pop((id(node), index), None)
        if total is None:
            if meta is None or not node._materialize:
                return None
            return np.zeros(*meta) if node.kernels is _core else node.kernels.zeros(*meta)
        if node._hooks is not None and index in node._hooks:
            _call_hooks(node._hooks[index], total)
        if (id(node), index) in self.wanted:
            self.wanted[id(node), index].add(cast(Array, total.value))
        return total.value

    def finish_leaves(self, into_grad: bool) -> None:
        """Give leaves their gradients: added to ``.grad``, or to those that were asked for."""
        for leaf in self.leaves.values():
            total = self.sums[id(leaf), leaf._index]
            if leaf._hooks:
                _call_hooks(leaf._hooks, total)
            if into_grad:
                _accumulate(leaf, total)
            elif (id(leaf), leaf._index) in self.wanted:
                self.wanted[id(leaf), leaf._index] = total


def _accumulate(leaf: Variable, total: _Sum) -> None:
    if leaf._grad is None:
        leaf._grad = wrap(total.fresh())
    elif getattr(leaf._grad._data.flags, "writeable", True):  # CuPy's arrays always are
        leaf._grad._data += total.value
    else:
        leaf._grad = wrap(as_data(leaf._grad._data + total.value))


def _seed(output: Variable, gradient: Any) -> Array:
    """The gradient a walk starts with: one for a scalar, else what the caller gives."""
    data = output._data
    if not output._requires_grad:
        raise RuntimeError("backward: the tensor does not require grad and has no graph behind it")
    if gradient is None:
        if data.size != 1:
            raise RuntimeError(
                "backward: gradient can be left out only for a tensor of one element, "
                f"got shape {data.shape}"
            )
        return np.ones_like(data, order="C", subok=False)
    array = cast(Array, as_data(gradient._data if isinstance(gradient, Variable) else gradient))
    if array.shape != data.shape:
        raise ValueError(
            f"backward: gradient must have the tensor's shape {data.shape}, got {array.shape}"
        )
    return array


def backward(output: Variable, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add the gradient of `output` to ``.grad`` of every leaf it was computed from.

    Parameters
    ----------
    output : Tensor
    gradient : array of the shape of `output`, optional
        What the chain starts with; 1 for a tensor of one element.
    retain_graph : bool
        Keep the saved values, so that backward can be called once more.

    Raises
    ------
    RuntimeError
        If `output` does not require grad, is not of one element while `gradient` is left out, or
        its graph was walked before.
    ValueError
        If `gradient` is not of the shape of `output`.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.array([3.0]), requires_grad=True)
    >>> pf.autograd.backward(x * x)
    >>> x.grad.numpy()
    array([6.])
    """
    walk = _Pass(retain_graph)
    seed = _seed(output, gradient)
    walk.add(output._node or output, output._index, seed, "backward")
    walk.walk()
    walk.finish_leaves(into_grad=True)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Gradients of outputs with respect to chosen tensors; no ``.grad`` is touched.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensors
        Inputs may lie anywhere in the graph.
    grad_outputs : array or sequence of arrays, optional
        One for each output; see :func:`backward`.
    retain_graph : bool
        Keep the saved values.
    allow_unused : bool
        Return None for an input that no output depends on, instead of raising.

    Returns
    -------
    tuple of Tensors
        One for each input, of its shape and dtype.

    Raises
    ------
    RuntimeError
        As :func:`backward`; if an input does not require grad; or if it is unused and
        `allow_unused` is False.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.array([3.0]), requires_grad=True)
    >>> pf.autograd.grad(x * x, x)[0].numpy()
    array([6.])
    """
    outs = [outputs] if isinstance(outputs, Variable) else list(outputs)
    ins = [inputs] if isinstance(inputs, Variable) else list(inputs)
    seeds = _one_for_each(outs, grad_outputs)
    walk = _Pass(retain_graph)
    for position, variable in enumerate(ins):
        if not variable._requires_grad:
            raise RuntimeError(f"grad: input {position} does not require grad")
        walk.want(variable)
    for output, gradient in zip(outs, seeds, strict=True):
        walk.add(output._node or output, output._index, _seed(output, gradient), "grad")
    walk.walk()
    walk.finish_leaves(into_grad=False)
    results = [walk.want(variable) for variable in ins]
    for position, result in enumerate(results):
        if result.value is None and not allow_unused:
            raise RuntimeError(
                f"grad: input {position} was not used to compute the outputs; "
                "pass allow_unused=True to get None for it"
            )
    return tuple([None if r.value is None else wrap(r.fresh()) for r in results])


def _one_for_each(outputs: Sequence[Any], gradients: Any) -> list[Any]:
    if gradients is None:
        return [None] * len(outputs)
    if not isinstance(gradients, tuple | list):
        return [gradients]
    return list(gradients)


def value_and_grad(model: Any, fn: Callable[..., Any]) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """Make `fn` return its value together with the gradients of a model's parameters.

    Parameters
    ----------
    model : Module or mapping of str to Tensor
        Whose parameters are differentiated: those that require grad.
    fn : callable
        Returns a tensor of one element, the loss, or a tuple that starts with it.

    Returns
    -------
    callable
        Takes what `fn` takes and returns ``(value, gradients)``: what `fn` returned, and a dict
        from parameter name to a Tensor of that parameter's shape. A parameter that the loss does
        not depend on gets zeros. ``.grad`` of the parameters is left as it was.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> w = {"w": pf.Tensor(np.array([2.0]), requires_grad=True)}
    >>> value, gradients = pf.value_and_grad(w, lambda x: (w["w"] * x).sum())(np.array([5.0]))
    >>> value.item(), gradients["w"].item(), w["w"].grad
    (10.0, 5.0, None)
    """

    @functools.wraps(fn)
    def evaluate(*args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        pairs = model.items() if isinstance(model, Mapping) else model.named_parameters()
        named = {name: p for name, p in pairs if p._requires_grad}
        with enable_grad():
            value = fn(*args, **kwargs)
        loss = value[0] if isinstance(value, tuple) else value
        found = grad(loss, list(named.values()), allow_unused=True)
        return value, {
            name: wrap(np.zeros_like(p._data)) if g is None else g
            for (name, p), g in zip(named.items(), found, strict=True)
        }

    return evaluate


class HookHandle:
    """Takes a hook away again; also a context manager that does so on leaving the block."""

    _keys = itertools.count()

    def __init__(self, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
        self._hooks = hooks
        self._key = next(HookHandle._keys)
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register_hook(variable: Variable, hook: Callable[[Any], Any]) -> HookHandle:
    """Call `hook` with this tensor's whole gradient in each backward; see Tensor.register_hook."""
    if not variable._requires_grad:
        raise RuntimeError("register_hook: the tensor does not require grad")
    if variable._node is None:
        if variable._hooks is None:
            variable._hooks = {}
        return HookHandle(variable._hooks, hook)
    if variable._node._hooks is None:
        variable._node._hooks = {}
    return HookHandle(variable._node._hooks.setdefault(variable._index, {}), hook)


def retain_grad(variable: Variable) -> None:
    """Let a tensor in the middle of the graph keep its gradient; see Tensor.retain_grad."""
    if variable._node is None:
        return
    reference = weakref.ref(variable)

    def keep(gradient: Any) -> None:
        tensor = reference()
        if tensor is None:
            return
        total = _Sum()
        total.add(gradient._data)
        _accumulate(tensor, total)

    register_hook(variable, keep)
