"""Elementwise arithmetic, reductions and matrix products of Tensors, on NumPy.

These are the operators and methods of :class:`pyfast.Tensor`; the heavy ops have kernels of their
own. Promotion: Python and NumPy scalars, and integer arrays, take the dtype of a floating partner
(as in PyTorch), so that nothing turns float32 into float64 unasked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from .. import _core
from ..autograd import Function, Variable, as_data, on_gpu, sum_to

__all__ = ["binary", "matmul", "maximum", "minimum", "where"]

Axis = int | tuple[int, ...] | None


# NumPy computes on one thread, into pages that are fresh for each large result. From this many
# elements on, kernels of our own are faster.
_LARGE = 1 << 13


def _raw(value: Any) -> Any:
    return value._data if isinstance(value, Variable) else value


def _in_kernels(a: Any, b: Any) -> bool:
    """Whether both are arrays, of one dtype that kernels know."""
    return type(a) is ndarray and type(b) is ndarray and _has_kernels(a, b)


def _large(a: Any, b: Any) -> bool:
    """Whether a kernel should compute this: large, and of one dtype that kernels know."""
    return (a.size >= _LARGE or b.size >= _LARGE) and _in_kernels(a, b)


def _add(a: Any, b: Any) -> Any:
    if a.size < _LARGE and b.size < _LARGE:
        return a + b
    return _core.binary("add", a, b) if _in_kernels(a, b) else a + b


def _sub(a: Any, b: Any) -> Any:
    if a.size < _LARGE and b.size < _LARGE:
        return a - b
    return _core.binary("subtract", a, b) if _in_kernels(a, b) else a - b


def _mul(a: Any, b: Any) -> Any:
    if a.size < _LARGE and b.size < _LARGE:
        return a * b
    return _core.binary("multiply", a, b) if _in_kernels(a, b) else a * b


def _div(a: Any, b: Any) -> Any:
    if _large(a, b):
        return _core.binary("divide", a, b)
    with np.errstate(all="ignore"):
        return a / b


def _quiet(ufunc: Any) -> Callable[[Any], Any]:
    """NumPy's function without warnings, as in PyTorch."""

    def value(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return ufunc(x)

    return value


def _elementary(ufunc: Any) -> Callable[[Any], Any]:
    """A function of one array: a kernel where that is large, else NumPy's."""
    name, small = ufunc.__name__, _quiet(ufunc)
    return lambda x: _core.elementary(name, x) if _large(x, x) else small(x)


def fit(value: Any, other: Any) -> Any:
    """`value` as an operand beside the array or scalar `other`."""
    raw = _raw(value)
    kind = getattr(getattr(other, "dtype", None), "kind", "")
    floating = kind == "f" and (isinstance(other, ndarray) or on_gpu(other))
    if isinstance(raw, bool | int | float | np.generic):
        weak = floating and not isinstance(raw, np.complexfloating)
        if on_gpu(other):  # CuPy takes NumPy's scalars, but none of its arrays
            return other.dtype.type(raw) if weak else raw
        return np.asarray(raw, other.dtype) if weak else np.asarray(raw)
    if not isinstance(raw, ndarray) and not on_gpu(raw):
        value = raw = np.asarray(raw)
    if floating and raw.dtype.kind in "biu":
        return raw.astype(other.dtype)
    return value


def binary(function: type[Function], a: Any, b: Any) -> Any:
    """Apply a function of two operands after giving them fitting dtypes.

    Parameters
    ----------
    function : subclass of Function
    a, b : Tensor, array, list or scalar
        Of shapes that broadcast.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> binary(Add, pf.Tensor(np.ones(2, np.float32)), 0.5).dtype
    dtype('float32')
    """
    x, y = _raw(a), _raw(b)
    if type(x) is ndarray and type(y) is ndarray and x.dtype == y.dtype:
        return function.apply(a, b)
    return function.apply(fit(a, y), fit(b, x))


class Add(Function):
    """a + b."""

    plain = staticmethod(_add)

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        """The sum."""
        ctx.shapes = a.shape, b.shape
        return _add(a, b)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """The gradient goes to both."""
        return sum_to(grad, ctx.shapes[0]), sum_to(grad, ctx.shapes[1])


class Sub(Function):
    """a - b."""

    plain = staticmethod(_sub)

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        """The difference."""
        ctx.shapes = a.shape, b.shape
        return _sub(a, b)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """The gradient goes to `a`, its negative to `b`."""
        need = ctx.needs_input_grad
        return sum_to(grad, ctx.shapes[0]), -sum_to(grad, ctx.shapes[1]) if need[1] else None


class Mul(Function):
    """a * b."""

    plain = staticmethod(_mul)

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        """The product."""
        ctx.save_for_backward(a, b)
        return _mul(a, b)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Each gets the gradient times the other."""
        a, b = ctx.saved_tensors
        need = ctx.needs_input_grad
        return (
            sum_to(_mul(grad, b), a.shape) if need[0] else None,
            sum_to(_mul(grad, a), b.shape) if need[1] else None,
        )


class Div(Function):
    """a / b."""

    plain = staticmethod(_div)

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        """The quotient; division by zero is silent, as in PyTorch."""
        ctx.save_for_backward(a, b)
        return _div(a, b)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """1/b and -a/b²."""
        a, b = ctx.saved_tensors
        need = ctx.needs_input_grad
        with np.errstate(all="ignore"):
            return (
                sum_to(_div(grad, b), a.shape) if need[0] else None,
                sum_to(-grad * ((a / b) / b), b.shape) if need[1] else None,
            )


class Mod(Function):
    """a % b, with the sign of b, as in Python."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        """The remainder."""
        ctx.save_for_backward(a, b)
        with np.errstate(all="ignore"):
            return a % b

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """1 and -floor(a/b)."""
        a, b = ctx.saved_tensors
        with np.errstate(all="ignore"):
            return sum_to(grad, a.shape), sum_to(-grad * np.floor(a / b), b.shape)


class Pow(Function):
    """a ** b."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        """The power."""
        with np.errstate(all="ignore"):
            out = a * a if b.ndim == 0 and b == 2 else a**b
        ctx.save_for_backward(a, b, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """b·a^(b-1), 0 where b is 0; and a^b·log(a), 0 where a is 0 and b is not negative."""
        a, b, out = ctx.saved_tensors
        need = ctx.needs_input_grad
        grad_a = grad_b = None
        with np.errstate(all="ignore"):
            if need[0]:
                grad_a = sum_to(grad * np.where(b == 0, 0, b * a ** (b - 1)), a.shape)
            if need[1]:
                slope = np.where((a == 0) & (b >= 0), 0, out * np.log(a))
                grad_b = sum_to(grad * slope, b.shape)
        return grad_a, grad_b


class Maximum(Function):
    """The larger of two; NaN where either is; ties share the gradient."""

    pick: Any = np.maximum

    @classmethod
    def forward(cls, ctx: Any, a: Any, b: Any) -> Any:
        """The pick of the two."""
        out = cls.pick(a, b)
        ctx.save_for_backward(a, b, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """To the one picked, halves for both where they are equal."""
        a, b, out = ctx.saved_tensors
        half = grad / 2
        share_a = np.where(a == b, half, np.where(a == out, grad, 0))
        share_b = np.where(a == b, half, np.where(b == out, grad, 0))
        return sum_to(share_a, a.shape), sum_to(share_b, b.shape)


class Minimum(Maximum):
    """The smaller of two; NaN where either is; ties share the gradient."""

    pick = np.minimum


class Where(Function):
    """a where the condition holds, else b."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any, condition: Any) -> Any:
        """The choice."""
        ctx.shapes = a.shape, b.shape
        ctx.save_for_backward(condition)
        return np.where(condition, a, b)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """To the one chosen."""
        (condition,) = ctx.saved_tensors
        return (
            sum_to(np.where(condition, grad, 0), ctx.shapes[0]),
            sum_to(np.where(condition, 0, grad), ctx.shapes[1]),
            None,
        )


def unary(
    name: str, value: Callable[[Any], Any], slope: Callable[[Any, Any], Any]
) -> type[Function]:
    """Make the Function of y = value(x) from its derivative slope(x, y)."""

    class Unary(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = value(x)
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            with np.errstate(all="ignore"):
                derivative = slope(*ctx.saved_tensors)
                return _mul(grad, derivative) if type(derivative) is ndarray else grad * derivative

    Unary.__name__ = Unary.__qualname__ = name
    return Unary


Neg = unary("Neg", _elementary(np.negative), lambda x, y: -1)
Abs = unary("Abs", _elementary(np.abs), lambda x, y: np.sign(x))
Exp = unary("Exp", _elementary(np.exp), lambda x, y: y)
Log = unary("Log", _elementary(np.log), lambda x, y: 1 / x)
Log1p = unary("Log1p", _elementary(np.log1p), lambda x, y: 1 / (1 + x))
Expm1 = unary("Expm1", _elementary(np.expm1), lambda x, y: y + 1)
Sqrt = unary("Sqrt", _elementary(np.sqrt), lambda x, y: 0.5 / y)
Sin = unary("Sin", _quiet(np.sin), lambda x, y: np.cos(x))
Cos = unary("Cos", _quiet(np.cos), lambda x, y: -np.sin(x))


class Clip(Function):
    """x kept between two bounds, either of which may be None."""

    @staticmethod
    def forward(ctx: Any, x: Any, low: Any, high: Any) -> Any:
        """The clipped values, of the dtype of `x`."""
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return np.clip(x, low, high).astype(x.dtype, copy=False)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Through where nothing was clipped, bounds included."""
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        inside = np.ones_like(x, bool) if low is None else x >= low
        if high is not None:
            inside = inside & (x <= high)
        return np.where(inside, grad, 0), None, None


def _spread(grad: Any, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Any:
    """A reduction's gradient (or result) seen in the shape of its input, without a copy."""
    if axis is not None and not keepdims and shape:
        axes = (axis,) if isinstance(axis, int | np.integer) else axis
        grad = np.expand_dims(grad, tuple([a % len(shape) for a in axes]))
    return np.broadcast_to(grad, shape)


class Sum(Function):
    """Sum over axes."""

    @staticmethod
    def forward(ctx: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
        """The sum; of float32 in float32."""
        ctx.how = x.shape, axis, keepdims
        return np.sum(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """To every summand."""
        return _spread(grad, *ctx.how), None, None


class Mean(Function):
    """Mean over axes; NaN over none."""

    @staticmethod
    def forward(ctx: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
        """The mean."""
        ctx.how = x.shape, axis, keepdims
        total = as_data(np.sum(x, axis=axis, keepdims=keepdims))
        ctx.count = x.size // max(total.size, 1)
        dtype = x.dtype if x.dtype.kind == "f" else np.float64
        with np.errstate(all="ignore"):
            return np.divide(total, ctx.count, dtype=dtype)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """An equal share to each."""
        return _spread(grad / max(ctx.count, 1), *ctx.how), None, None


class Var(Function):
    """Variance over axes, or its root."""

    @staticmethod
    def forward(ctx: Any, x: Any, axis: Axis, keepdims: bool, correction: int, root: bool) -> Any:
        """The sum of squared deviations over n - correction."""
        with np.errstate(all="ignore"):
            deviation = x - np.mean(x, axis=axis, keepdims=True)
            total = as_data(np.sum(deviation * deviation, axis=axis, keepdims=keepdims))
            ctx.free = max(x.size // max(total.size, 1) - correction, 0)
            out = total / total.dtype.type(ctx.free)
        out = as_data(np.sqrt(out) if root else out)
        ctx.how = x.shape, axis, keepdims
        ctx.root = root
        ctx.save_for_backward(deviation, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """2/(n - correction) times the deviation; a zero root passes nothing on."""
        deviation, out = ctx.saved_tensors
        with np.errstate(all="ignore"):
            slope = deviation.dtype.type(2) / deviation.dtype.type(ctx.free)
            if ctx.root:
                grad = np.where(out == 0, 0, grad / (2 * out))
            return _spread(grad, *ctx.how) * (slope * deviation), None, None, None, None


class Extreme(Function):
    """Maximum or minimum over axes; ties share the gradient equally."""

    @staticmethod
    def forward(ctx: Any, x: Any, axis: Axis, keepdims: bool, pick: Any) -> Any:
        """The extreme."""
        out = as_data(pick.reduce(x, axis=axis, keepdims=keepdims))
        ctx.save_for_backward(x, out)
        ctx.how = x.shape, axis, keepdims
        return out

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """An equal share to each element that is the extreme."""
        x, out = ctx.saved_tensors
        shape, axis, keepdims = ctx.how
        extreme = _spread(out, *ctx.how)
        chosen = (x == extreme) | (np.isnan(x) & np.isnan(extreme))
        ties = np.sum(chosen, axis=axis, keepdims=keepdims, dtype=x.dtype)
        return _spread(grad / ties, shape, axis, keepdims) * chosen, None, None, None


class CumSum(Function):
    """Running sum along one axis."""

    @staticmethod
    def forward(ctx: Any, x: Any, axis: int) -> Any:
        """The partial sums."""
        ctx.axis = axis
        return np.cumsum(x, axis=axis, dtype=x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """The partial sums from the other end."""
        return np.flip(np.cumsum(np.flip(grad, ctx.axis), axis=ctx.axis), ctx.axis), None


class MatMul(Function):
    """Matrix product with NumPy's rules for vectors and batches."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        """The product; of integers and mixed dtypes, NumPy's."""
        ctx.save_for_backward(a, b)
        return ctx.kernels.matmul(a, b) if _has_kernels(a, b) else np.matmul(a, b)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """G·Bᵀ and Aᵀ·G, summed over broadcast batches."""
        a, b = ctx.saved_tensors
        if _has_kernels(a, b):
            return ctx.kernels.matmul_backward(grad, a, b, *ctx.needs_input_grad)
        wide: list[Any] = [np.asarray(x, np.float64) for x in (grad, a, b)]
        gradients = _core.matmul_backward(*wide, *ctx.needs_input_grad)
        pairs = zip(gradients, (a, b), strict=True)
        return tuple([None if g is None else g.astype(x.dtype) for g, x in pairs])


def _has_kernels(a: Any, b: Any) -> bool:
    if type(a) is not ndarray:  # on a GPU, whose kernels say themselves what they take
        return True
    return a.dtype == b.dtype and a.dtype.char in "fd"


def matmul(input: Any, other: Any) -> Any:
    """Matrix product of two tensors or arrays.

    Parameters
    ----------
    input : array of shape (..., n, k) or (k,)
    other : array of shape (..., k, m) or (k,)
        Leading dimensions broadcast.

    Returns
    -------
    Tensor or array of shape (..., n, m)
        A Tensor when either is one. The dimension of a vector is dropped.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> matmul(np.ones((2, 3)), np.ones(3))
    array([3., 3.])
    """
    return _binary_or_array(MatMul, input, other)


def maximum(input: Any, other: Any) -> Any:
    """The larger of two, element by element; NaN where either is NaN.

    Parameters
    ----------
    input, other : Tensor or array of shapes that broadcast

    Returns
    -------
    Tensor or array
        A Tensor when either is one. Where both are equal each gets half the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> maximum(np.array([1.0, 5.0]), np.array([3.0, 2.0]))
    array([3., 5.])
    """
    return _binary_or_array(Maximum, input, other)


def minimum(input: Any, other: Any) -> Any:
    """The smaller of two, element by element; NaN where either is NaN.

    Parameters
    ----------
    input, other : Tensor or array of shapes that broadcast

    Returns
    -------
    Tensor or array
        A Tensor when either is one. Where both are equal each gets half the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> minimum(np.array([1.0, 5.0]), np.array([3.0, 2.0]))
    array([1., 2.])
    """
    return _binary_or_array(Minimum, input, other)


def where(condition: Any, input: Any, other: Any) -> Any:
    """Choose from `input` where the condition holds, else from `other`.

    Parameters
    ----------
    condition : bool Tensor or array
    input, other : Tensor, array or scalar
        All three broadcast.

    Returns
    -------
    Tensor or array
        A Tensor when any of the three is one.

    Examples
    --------
    >>> import numpy as np
    >>> where(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
    array([1., 0.])
    """
    a, b = fit(input, _raw(other)), fit(other, _raw(input))
    if isinstance(condition, Variable) or isinstance(a, Variable) or isinstance(b, Variable):
        return Where.apply(a, b, as_data(_raw(condition)).astype(bool, copy=False))
    return Where.run(a, b, as_data(condition).astype(bool, copy=False))


def _binary_or_array(function: type[Function], a: Any, b: Any) -> Any:
    if isinstance(a, Variable) or isinstance(b, Variable):
        return binary(function, a, b)
    return function.run(fit(a, b), fit(b, a))
