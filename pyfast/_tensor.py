"""The Tensor: an ndarray that remembers how it was computed.

The file is `_tensor.py` because ``pf.tensor`` is a function.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from . import autograd
from .autograd import Function, Variable, as_data, on_gpu, operate, wrap
from .ops import arithmetic as ar
from .ops import shape as sh

__all__ = ["Tensor"]

Array = ndarray[Any, Any]
Axis = int | tuple[int, ...] | None
# Inside Tensor the names bool and float are methods.
Flag = bool
Real = float

_OPERANDS = (Variable, ndarray, int, float, np.generic, list, tuple)


def _raw(value: Any) -> Any:
    return value._data if isinstance(value, Variable) else value


def _ints(values: tuple[Any, ...]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` alike."""
    if len(values) == 1 and isinstance(values[0], tuple | list):
        values = tuple(values[0])
    return tuple([operator.index(v) for v in values])


def _rebuild(cls: type[Tensor], data: Array, requires_grad: bool, state: dict[str, Any]) -> Tensor:
    tensor = cls.__new__(cls)
    Tensor.__init__(tensor, data, requires_grad)
    for name, value in state.items():
        setattr(tensor, name, value)
    return tensor


class Tensor(Variable):
    """An array with a gradient.

    Operators, methods and indexing follow NumPy's broadcasting; names follow PyTorch, and
    reductions take NumPy's `axis` and `keepdims` or PyTorch's `dim` and `keepdim`. Scalars and
    integer arrays never change the dtype of a floating tensor.

    Parameters
    ----------
    array : array, Tensor, or anything ``numpy.asarray`` takes
        An ndarray is not copied: both see later changes. A list of Python floats is float64.
    requires_grad : Flag
        Whether gradients are to be computed for it; only for floating dtypes.
    dtype : dtype, optional
        Converted to, with a copy where it differs.

    Attributes
    ----------
    data : ndarray
        The values themselves. Changes to them are not seen by the tape.
    grad : Tensor or None
        Sum of the gradients of all backward calls so far; of the tensor's shape and dtype.

    Raises
    ------
    RuntimeError
        If `requires_grad` is asked of a dtype that is not floating.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad.numpy()
    array([2., 4., 6.])
    """

    __slots__ = ()

    __array_priority__ = 1000

    def __init__(self, array: Any, requires_grad: Flag = False, dtype: Any = None) -> None:
        data = as_data(_raw(array))
        self._data = data if dtype is None else data.astype(dtype, copy=False)
        self._grad = None
        self._hooks = None
        self._index = 0
        self._node = None
        self._requires_grad = False
        if requires_grad:
            self.requires_grad_()

    # -- what it is ------------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The ndarray behind the tensor."""
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        self._data = as_data(_raw(value))

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient."""
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            value = Tensor(value)
        if value is not None and value.shape != self.shape:
            raise ValueError(f"grad must have the shape {self.shape}, got {value.shape}")
        self._grad = value

    @property
    def requires_grad(self) -> Flag:
        """Whether a gradient is computed for this tensor."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: Flag) -> None:
        self.requires_grad_(value)

    @property
    def is_leaf(self) -> Flag:
        """Whether it was made by the user, not by a recorded operation."""
        return self._node is None

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements, as in NumPy."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype."""
        return self._data.dtype

    @property
    def device(self) -> str:
        """Where it lies: ``"cpu"``, or ``"cuda:0"`` and so on."""
        data: Any = self._data
        return f"cuda:{data.device.id}" if on_gpu(data) else "cpu"

    @property
    def nbytes(self) -> int:
        """The bytes its elements take."""
        return self._data.nbytes

    @property
    def T(self) -> Tensor:
        """All axes in reverse order."""
        return self.permute(*range(self.ndim - 1, -1, -1))

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return self.transpose(-2, -1)

    def numel(self) -> int:
        """The number of elements, as in PyTorch."""
        return self._data.size

    def dim(self) -> int:
        """The number of axes, as in PyTorch."""
        return self._data.ndim

    # -- the tape --------------------------------------------------------------------------------

    def requires_grad_(self, requires_grad: Flag = True) -> Tensor:
        """Ask for gradients of this leaf, or stop asking; returns the tensor."""
        if requires_grad and self._data.dtype.kind != "f":
            raise RuntimeError(f"only floating tensors can require grad, this is {self.dtype}")
        if self._node is not None and not requires_grad:
            raise RuntimeError("only a leaf can stop requiring grad; use detach()")
        self._requires_grad = bool(requires_grad)
        return self

    def backward(self, gradient: Any = None, retain_graph: Flag = False) -> None:
        """Add this tensor's gradient to every leaf it was computed from.

        See :func:`pyfast.autograd.backward`.
        """
        autograd.backward(self, gradient, retain_graph)

    def detach(self) -> Tensor:
        """The same memory, without a history."""
        return wrap(self._data)

    def register_hook(self, hook: Callable[[Tensor], Any]) -> autograd.HookHandle:
        """Call `hook` with this tensor's gradient; what it returns, if anything, replaces it."""
        return autograd.register_hook(self, hook)

    def retain_grad(self) -> None:
        """Keep ``.grad`` although the tensor is no leaf."""
        autograd.retain_grad(self)

    # -- to and from others ----------------------------------------------------------------------

    def numpy(self) -> Array:
        """The ndarray behind the tensor; no copy, no gradient. TypeError for one on a GPU."""
        if on_gpu(self._data):
            raise TypeError("numpy: the tensor lies on a GPU; copy it to the host with cpu() first")
        return self._data

    def item(self) -> Any:
        """The only element, as a Python number."""
        return self._data.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._data.tolist()

    def __array__(self, dtype: Any = None, copy: Flag | None = None) -> Array:
        if copy:
            return np.array(self._data, dtype)
        changed = np.asarray(self._data, dtype)
        if copy is False and changed is not self._data:
            raise ValueError(f"a copy is needed for {dtype}, but copy=False")
        return changed

    def __dlpack__(self, **options: Any) -> Any:
        if self._requires_grad:
            raise BufferError("a tensor that requires grad cannot be exported; use detach()")
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[Any, int]:
        return self._data.__dlpack_device__()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        # `array + tensor` and `np.exp(tensor)` are recorded; `array += tensor` writes the array.
        if options.keys() == {"out"}:
            missed = any(getattr(i, "_requires_grad", False) for i in inputs)
            if missed and autograd.is_grad_enabled():
                raise RuntimeError("writing into an array would be missed by the tape; detach()")
            return getattr(ufunc, method)(*map(_raw, inputs), out=tuple(map(_raw, options["out"])))
        name = _UFUNCS.get(ufunc)
        if name is None or method != "__call__" or options:
            return NotImplemented
        first = inputs[0]
        if not isinstance(first, Tensor):
            first = Tensor(ar.fit(first, _raw(inputs[-1])))
        return getattr(first, name)(*inputs[1:])

    def __array_function__(
        self, function: Any, types: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        # NumPy's own functions get plain arrays and give them back.
        plain = {k: sh.plain_index(v) for k, v in kwargs.items()}
        return function(*sh.plain_index(args), **plain)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._node is not None:
            raise RuntimeError("only leaf tensors can be copied deeply or pickled; use detach()")
        state = dict(getattr(self, "__dict__", {}))
        if self._grad is not None:
            state["_grad"] = self._grad
        return _rebuild, (type(self), self._data, self._requires_grad, state)

    def __repr__(self) -> str:
        kind = type(self).__name__
        text = np.array2string(self._data, separator=", ", prefix=f"{kind}(")
        extra = "" if self._data.dtype == np.float32 else f", dtype={self.dtype}"
        if self._node is not None:
            extra += f", grad_fn={self._node._function.__name__}"
        elif self._requires_grad:
            extra += ", requires_grad=True"
        return f"{kind}({text}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 and spec else str(self)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self._data)))

    def __bool__(self) -> Flag:
        return bool(self._data)

    def __float__(self) -> Real:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return operator.index(self._data)

    def __contains__(self, value: Any) -> Flag:
        return bool((self._data == _raw(value)).any())

    __hash__ = object.__hash__

    # -- operators -------------------------------------------------------------------------------

    def _takes(self, other: Any) -> bool:
        """Whether `other` is an operand: an array, a number, or beside a GPU's array another."""
        return isinstance(other, _OPERANDS) or type(other) is type(self._data)

    def _binary(self, function: type[Function], other: Any) -> Any:
        if isinstance(other, Variable) and other._data.dtype is self._data.dtype:
            return operate(function, self, other) if function.plain else function.apply(self, other)
        if function.plain and type(other) is Real and type(self._data) is ndarray:
            dtype = self._data.dtype
            if dtype.kind == "f":  # as ar.fit has it
                return operate(function, self, wrap(np.asarray(other, dtype)))
        if not self._takes(other):
            return NotImplemented
        return ar.binary(function, self, other)

    def _reflected(self, function: type[Function], other: Any) -> Any:
        if not self._takes(other):
            return NotImplemented
        return ar.binary(function, other, self)

    def __add__(self, other: Any) -> Tensor:
        return self._binary(ar.Add, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._reflected(ar.Add, other)

    def __sub__(self, other: Any) -> Tensor:
        return self._binary(ar.Sub, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._reflected(ar.Sub, other)

    def __mul__(self, other: Any) -> Tensor:
        return self._binary(ar.Mul, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._reflected(ar.Mul, other)

    def __truediv__(self, other: Any) -> Tensor:
        return self._binary(ar.Div, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._reflected(ar.Div, other)

    def __mod__(self, other: Any) -> Tensor:
        return self._binary(ar.Mod, other)

    def __rmod__(self, other: Any) -> Tensor:
        return self._reflected(ar.Mod, other)

    def __pow__(self, other: Any) -> Tensor:
        return self._binary(ar.Pow, other)

    def __rpow__(self, other: Any) -> Tensor:
        return self._reflected(ar.Pow, other)

    def __matmul__(self, other: Any) -> Tensor:
        return self._binary(ar.MatMul, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return self._reflected(ar.MatMul, other)

    def __neg__(self) -> Tensor:
        return ar.Neg.apply(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return ar.Abs.apply(self)

    def _plain(self, function: Any, other: Any, reflected: Flag = False) -> Any:
        """An operator without a gradient."""
        if not self._takes(other):
            return NotImplemented
        pair = (_raw(other), self._data) if reflected else (self._data, _raw(other))
        return wrap(as_data(function(*pair)))

    def __floordiv__(self, other: Any) -> Tensor:
        return self._plain(operator.floordiv, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return self._plain(operator.floordiv, other, True)

    def __eq__(self, other: Any) -> Any:
        return self._plain(operator.eq, other)

    def __ne__(self, other: Any) -> Any:
        return self._plain(operator.ne, other)

    def __lt__(self, other: Any) -> Any:
        return self._plain(operator.lt, other)

    def __le__(self, other: Any) -> Any:
        return self._plain(operator.le, other)

    def __gt__(self, other: Any) -> Any:
        return self._plain(operator.gt, other)

    def __ge__(self, other: Any) -> Any:
        return self._plain(operator.ge, other)

    def __and__(self, other: Any) -> Tensor:
        return self._plain(operator.and_, other)

    def __or__(self, other: Any) -> Tensor:
        return self._plain(operator.or_, other)

    def __xor__(self, other: Any) -> Tensor:
        return self._plain(operator.xor, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tensor:
        return wrap(np.invert(self._data))

    # -- in place: on the memory itself where no gradient is at stake -----------------------------

    def _in_place(self, function: Any, other: Any, recorded: Any) -> Tensor:
        if not self._takes(other):
            return NotImplemented
        if autograd.is_grad_enabled():
            if self._requires_grad and self._node is None:
                raise RuntimeError(
                    "a leaf that requires grad cannot be changed in place while operations are "
                    "recorded; do it under no_grad()"
                )
            if self._requires_grad or getattr(other, "_requires_grad", False):
                return recorded(other)
        function(self._data, _raw(other), out=self._data, casting="same_kind")
        return self

    def __iadd__(self, other: Any) -> Tensor:
        return self._in_place(np.add, other, self.__add__)

    def __isub__(self, other: Any) -> Tensor:
        return self._in_place(np.subtract, other, self.__sub__)

    def __imul__(self, other: Any) -> Tensor:
        return self._in_place(np.multiply, other, self.__mul__)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._in_place(np.divide, other, self.__truediv__)

    def _writable(self, what: str, value: Any = None) -> Array:
        wants = self._requires_grad or getattr(value, "_requires_grad", False)
        if wants and autograd.is_grad_enabled():
            raise RuntimeError(
                f"{what} would be missed by the tape; use where() or cat(), or no_grad()"
            )
        return self._data

    def __setitem__(self, index: Any, value: Any) -> None:
        self._writable("assigning items", value)[sh.plain_index(index)] = _raw(value)

    def fill_(self, value: Real) -> Tensor:
        """Set every element; only where nothing is recorded."""
        self._writable("fill_")[...] = value
        return self

    def zero_(self) -> Tensor:
        """Set every element to 0; only where nothing is recorded."""
        return self.fill_(0)

    def copy_(self, source: Any) -> Tensor:
        """Take the values of `source`, broadcast; only where nothing is recorded."""
        from .cuda.frameworks import device_of, move

        data = self._writable("copy_", source)
        data[...] = move(_raw(source), device_of(data))
        return self

    # -- elementwise -----------------------------------------------------------------------------

    def exp(self) -> Tensor:
        """The exponential."""
        return ar.Exp.apply(self)

    def expm1(self) -> Tensor:
        """The exponential less 1, exact near 0."""
        return ar.Expm1.apply(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ar.Log.apply(self)

    def log1p(self) -> Tensor:
        """The logarithm of 1 + x, exact near 0."""
        return ar.Log1p.apply(self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return ar.Sqrt.apply(self)

    def sin(self) -> Tensor:
        """The sine."""
        return ar.Sin.apply(self)

    def cos(self) -> Tensor:
        """The cosine."""
        return ar.Cos.apply(self)

    def abs(self) -> Tensor:
        """The absolute value; its gradient is 0 at 0."""
        return ar.Abs.apply(self)

    def pow(self, exponent: Any) -> Tensor:
        """The power."""
        return self**exponent

    def square(self) -> Tensor:
        """The square."""
        return self * self

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Every element kept within bounds."""
        return ar.Clip.apply(self, _raw(min), _raw(max))

    clamp = clip

    def maximum(self, other: Any) -> Tensor:
        """The larger of two, element by element."""
        return ar.binary(ar.Maximum, self, other)

    def minimum(self, other: Any) -> Tensor:
        """The smaller of two, element by element."""
        return ar.binary(ar.Minimum, self, other)

    def where(self, condition: Any, other: Any) -> Tensor:
        """The tensor where the condition holds, else `other`."""
        return ar.where(condition, self, other)

    def relu(self) -> Tensor:
        """See :func:`pyfast.ops.relu`."""
        return _ops().relu(self)

    def sigmoid(self) -> Tensor:
        """See :func:`pyfast.ops.sigmoid`."""
        return _ops().sigmoid(self)

    def tanh(self) -> Tensor:
        """See :func:`pyfast.ops.tanh`."""
        return _ops().tanh(self)

    def softmax(self, dim: int = -1) -> Tensor:
        """See :func:`pyfast.ops.softmax`."""
        return _ops().softmax(self, dim)

    def log_softmax(self, dim: int = -1) -> Tensor:
        """See :func:`pyfast.ops.log_softmax`."""
        return _ops().log_softmax(self, dim)

    # -- reductions ------------------------------------------------------------------------------

    def sum(
        self, axis: Axis = None, keepdims: Flag = False, *, dim: Axis = None, keepdim: Flag = False
    ) -> Tensor:
        """Sum over all axes, or those given."""
        return ar.Sum.apply(self, *_over(axis, keepdims, dim, keepdim))

    def mean(
        self, axis: Axis = None, keepdims: Flag = False, *, dim: Axis = None, keepdim: Flag = False
    ) -> Tensor:
        """Mean over all axes, or those given."""
        return ar.Mean.apply(self, *_over(axis, keepdims, dim, keepdim))

    def var(
        self,
        axis: Axis = None,
        keepdims: Flag = False,
        *,
        correction: int = 1,
        dim: Axis = None,
        keepdim: Flag = False,
    ) -> Tensor:
        """Variance; over n - `correction`, which is 1 by default, as in PyTorch (NumPy: 0)."""
        over = _over(axis, keepdims, dim, keepdim)
        return ar.Var.apply(self, *over, correction, False)

    def std(
        self,
        axis: Axis = None,
        keepdims: Flag = False,
        *,
        correction: int = 1,
        dim: Axis = None,
        keepdim: Flag = False,
    ) -> Tensor:
        """Standard deviation, the root of :meth:`var`."""
        over = _over(axis, keepdims, dim, keepdim)
        return ar.Var.apply(self, *over, correction, True)

    def max(
        self, axis: Axis = None, keepdims: Flag = False, *, dim: Axis = None, keepdim: Flag = False
    ) -> Tensor:
        """Largest element (values only, as in NumPy); ties share the gradient."""
        over = _over(axis, keepdims, dim, keepdim)
        return ar.Extreme.apply(self, *over, np.maximum)

    def min(
        self, axis: Axis = None, keepdims: Flag = False, *, dim: Axis = None, keepdim: Flag = False
    ) -> Tensor:
        """Smallest element (values only, as in NumPy); ties share the gradient."""
        over = _over(axis, keepdims, dim, keepdim)
        return ar.Extreme.apply(self, *over, np.minimum)

    amax, amin = max, min

    def cumsum(self, axis: int) -> Tensor:
        """Running sum along an axis."""
        return ar.CumSum.apply(self, axis)

    def argmax(self, axis: int | None = None, keepdims: Flag = False) -> Tensor:
        """Index of the largest element, the first one of equals."""
        return wrap(as_data(np.argmax(self._data, axis, keepdims=keepdims)))

    def argmin(self, axis: int | None = None, keepdims: Flag = False) -> Tensor:
        """Index of the smallest element, the first one of equals."""
        return wrap(as_data(np.argmin(self._data, axis, keepdims=keepdims)))

    def all(self, axis: Axis = None, keepdims: Flag = False) -> Tensor:
        """Whether all elements are true."""
        return wrap(as_data(np.all(self._data, axis, keepdims=keepdims)))

    def any(self, axis: Axis = None, keepdims: Flag = False) -> Tensor:
        """Whether any element is true."""
        return wrap(as_data(np.any(self._data, axis, keepdims=keepdims)))

    # -- shape -----------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        return sh.GetItem.apply(self, sh.plain_index(index))

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one length may be -1."""
        return sh.Reshape.apply(self, _ints(shape))

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Axes `start_dim` to `end_dim` made one."""
        if self.ndim == 0:
            return self.reshape(1)
        first, last = start_dim % self.ndim, end_dim % self.ndim
        middle = int(np.prod(self.shape[first : last + 1], dtype=np.int64))
        return self.reshape(*self.shape[:first], middle, *self.shape[last + 1 :])

    def transpose(self, *axes: Any) -> Tensor:
        """Two axes exchanged when two are named (PyTorch); else NumPy's permutation of all."""
        order = _ints(axes)
        if len(order) == 2:
            return self.swapaxes(*order)
        return self.permute(*order) if order else self.T

    def permute(self, *axes: Any) -> Tensor:
        """Axes in the order given."""
        return sh.Permute.apply(self, _ints(axes))

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Two axes exchanged."""
        order = list(range(self.ndim))
        order[axis1], order[axis2] = order[axis2], order[axis1]
        return self.permute(*order)

    def squeeze(self, dim: Axis = None) -> Tensor:
        """Without its axes of length 1, or those of them that are named."""
        named = range(self.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
        drop = {_axis(d, self.ndim) for d in named}
        kept = [n for i, n in enumerate(self.shape) if n != 1 or i not in drop]
        return self.reshape(kept)

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new axis of length 1."""
        at = _axis(dim, self.ndim + 1)
        return self.reshape(*self.shape[:at], 1, *self.shape[at:])

    def broadcast_to(self, *shape: Any) -> Tensor:
        """Stretched to a shape, as a read-only view."""
        return sh.Broadcast.apply(self, _ints(shape))

    def expand(self, *sizes: Any) -> Tensor:
        """As :meth:`broadcast_to`; -1 keeps an axis as it is."""
        wanted = _ints(sizes)
        added = len(wanted) - self.ndim
        return self.broadcast_to(
            [self.shape[i - added] if n == -1 and i >= added else n for i, n in enumerate(wanted)]
        )

    def repeat(self, *repeats: Any) -> Tensor:
        """The tensor several times along each axis, as ``numpy.tile``."""
        times = _ints(repeats)
        if len(times) < self.ndim:
            raise ValueError(f"repeat: needs at least {self.ndim} numbers, got {list(times)}")
        return sh.Tile.apply(self, times)

    def split(self, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """See :func:`pyfast.split`."""
        return sh.split(self, split_size, dim)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """See :func:`pyfast.chunk`."""
        return sh.chunk(self, chunks, dim)

    def matmul(self, other: Any) -> Tensor:
        """Matrix product."""
        return self @ other

    # -- copies and dtypes -----------------------------------------------------------------------

    def clone(self) -> Tensor:
        """A C-contiguous copy that passes gradients on."""
        return sh.Clone.apply(self)

    def contiguous(self) -> Tensor:
        """Itself when C-contiguous, else a copy that passes gradients on."""
        return self if self._data.flags.c_contiguous else self.clone()

    def astype(self, dtype: Any) -> Tensor:
        """Converted; itself when it has that dtype."""
        return self if self.dtype == dtype else sh.Cast.apply(self, np.dtype(dtype))

    def to(self, target: Any) -> Tensor:
        """On another device (``"cpu"``, ``"cuda"``, ``"cuda:1"``), or converted to a dtype."""
        if not isinstance(target, str) or target.partition(":")[0] not in ("cpu", "cuda"):
            return self.astype(target)
        return self if target == self.device else sh.Move.apply(self, target)

    def cpu(self) -> Tensor:
        """On the CPU; itself when it is there."""
        return self.to("cpu")

    def cuda(self, device: int | None = None) -> Tensor:
        """On a GPU, as a CuPy array; the current one unless another is named."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def float(self) -> Tensor:
        """Converted to float32."""
        return self.astype(np.float32)

    def double(self) -> Tensor:
        """Converted to float64."""
        return self.astype(np.float64)

    def long(self) -> Tensor:
        """Converted to int64."""
        return self.astype(np.int64)

    def bool(self) -> Tensor:
        """Converted to bool."""
        return self.astype(np.bool_)


_UFUNCS = {
    np.add: "__add__",
    np.subtract: "__sub__",
    np.multiply: "__mul__",
    np.divide: "__truediv__",
    np.floor_divide: "__floordiv__",
    np.remainder: "__mod__",
    np.power: "__pow__",
    np.matmul: "__matmul__",
    np.maximum: "maximum",
    np.minimum: "minimum",
    np.equal: "__eq__",
    np.not_equal: "__ne__",
    np.less: "__lt__",
    np.less_equal: "__le__",
    np.greater: "__gt__",
    np.greater_equal: "__ge__",
    np.bitwise_and: "__and__",
    np.bitwise_or: "__or__",
    np.bitwise_xor: "__xor__",
    np.invert: "__invert__",
    np.negative: "__neg__",
    np.absolute: "abs",
    np.exp: "exp",
    np.expm1: "expm1",
    np.log: "log",
    np.log1p: "log1p",
    np.sqrt: "sqrt",
    np.square: "square",
    np.sin: "sin",
    np.cos: "cos",
    np.tanh: "tanh",
}


def _axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < max(ndim, 1):
        raise IndexError(f"dim must be in [{-ndim}, {ndim - 1}], got {axis}")
    return axis % max(ndim, 1)


def _over(axis: Axis, keepdims: bool, dim: Axis, keepdim: bool) -> tuple[Axis, bool]:
    """Axes and whether to keep them, from NumPy's names or PyTorch's."""
    chosen = dim if axis is None else axis
    return tuple(chosen) if isinstance(chosen, list) else chosen, keepdims or keepdim


def _ops() -> Any:
    from . import ops

    return ops


autograd.register_tensor_class(Tensor)
