"""The tape: Function, backward, grad modes, hooks, value_and_grad."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import pyfast as pf
from pyfast.autograd import Function, sum_to


class Scale(Function):
    """Two outputs, and integers beside them."""

    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:
        ctx.factor = factor
        return x * factor, x + 1, np.argsort(x), None

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        assert grads[2:] == (None, None)
        return grads[0] * ctx.factor + grads[1], None


def leaf(*shape: int) -> pf.Tensor:
    values = np.random.default_rng(0).standard_normal(shape)
    return pf.Tensor(values, requires_grad=True)


def test_several_outputs_and_missing_gradients_are_zeros() -> None:
    x = leaf(3)
    scaled, _, order, nothing = Scale.apply(x, 3.0)
    assert nothing is None
    assert not order.requires_grad
    scaled.sum().backward()
    np.testing.assert_array_equal(x.grad, np.full(3, 3.0))


def test_plain_arguments_are_recorded_only_where_needed() -> None:
    x = leaf(3)
    assert Scale.apply(x.detach(), 2.0)[0].is_leaf
    with pf.no_grad():
        assert Scale.apply(x, 2.0)[0].is_leaf
    assert isinstance(Scale.run(x.numpy(), 2.0)[0], np.ndarray)


class Wrong(Function):
    result: Any = None

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 1

    @classmethod
    def backward(cls, ctx: Any, grad: Any) -> Any:
        return cls.result


@pytest.mark.parametrize(
    ("result", "message"),
    [((np.zeros(2), None), "2 gradients for 1"), (np.zeros(5), r"shape \(5,\) for \(3,\)")],
)
def test_wrong_gradients_are_named(result: Any, message: str) -> None:
    Wrong.result = result
    with pytest.raises(RuntimeError, match=f"Wrong.backward returned .*{message}"):
        Wrong.apply(leaf(3)).sum().backward()


def test_gradients_add_up_and_alias_nothing() -> None:
    x, y = leaf(3), leaf(3)
    seed = np.ones(3)
    (x + y).backward(seed)
    assert x.grad is not None
    assert y.grad is not None
    x.grad *= 5.0
    np.testing.assert_array_equal(y.grad, np.ones(3))
    np.testing.assert_array_equal(seed, np.ones(3))
    first = x.grad
    (x + x + x).backward(seed)
    assert x.grad is first
    np.testing.assert_array_equal(x.grad, np.full(3, 8.0))


def test_second_backward_needs_retain_graph() -> None:
    x = leaf(3)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_allclose(x.grad, 4 * x.numpy())
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        loss.backward()


def test_very_deep_chains_need_no_stack() -> None:
    x = leaf(2)
    y = x
    for _ in range(20_000):
        y = y + 0.0
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(2))
    del y


def test_diamonds_are_walked_once_each() -> None:
    calls = []

    class Count(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x + 0

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            calls.append(1)
            return grad

    x = leaf(1)
    y = x
    for _ in range(30):
        y = Count.apply(y)
        y = y + y
    y.backward()
    assert len(calls) == 30
    assert x.grad is not None
    assert x.grad.item() == 2.0**30


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pf.Tensor(np.zeros(2)).sum().backward(), RuntimeError, "does not require grad"),
        (lambda: leaf(2).backward(), RuntimeError, "one element"),
        (lambda: leaf(2).backward(np.zeros(3)), ValueError, "shape"),
        (lambda: pf.Tensor([1, 2], requires_grad=True), RuntimeError, "floating"),
        (lambda: leaf(2).sum().requires_grad_(False), RuntimeError, "detach"),
        (lambda: pf.grad(leaf(1), leaf(1)), RuntimeError, "not used"),
        (lambda: pf.grad(leaf(1), pf.Tensor(np.zeros(1))), RuntimeError, "input 0 does not"),
        (lambda: pf.Tensor(np.zeros(1)).register_hook(print), RuntimeError, "register_hook"),
        (lambda: pickle.dumps(leaf(2).sum()), RuntimeError, "leaf"),
        (lambda: leaf(2).__iadd__(1), RuntimeError, "leaf"),
        (lambda: leaf(2).__setitem__(0, 1), RuntimeError, "missed by the tape"),
        (lambda: setattr(leaf(2), "grad", np.zeros(3)), ValueError, "shape"),
        (lambda: leaf(2).__dlpack__(), BufferError, "detach"),
    ],
)
def test_misuse_is_explained(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_grad_of_chosen_tensors_touches_no_grad_attribute() -> None:
    x, w = leaf(3), leaf(3)
    hidden = x * w
    out = (hidden * hidden).sum()
    by_hidden, by_w = pf.grad(out, [hidden, w])
    np.testing.assert_allclose(by_hidden, 2 * hidden.numpy())
    np.testing.assert_allclose(by_w, 2 * hidden.numpy() * x.numpy())
    assert x.grad is None
    assert w.grad is None
    unused = pf.grad(x.sum(), [x, w], allow_unused=True)
    assert unused[1] is None


def test_value_and_grad_gives_every_parameter_a_gradient() -> None:
    parameters = {"w": leaf(2), "unused": leaf(3), "frozen": pf.Tensor(np.ones(2))}
    (value, extra), gradients = pf.value_and_grad(
        parameters, lambda x: ((parameters["w"] * parameters["frozen"] * x).sum(), "extra")
    )(np.array([2.0, 3.0]))
    assert extra == "extra"
    assert value.shape == ()
    assert set(gradients) == {"w", "unused"}
    np.testing.assert_array_equal(gradients["w"], [2.0, 3.0])
    np.testing.assert_array_equal(gradients["unused"], np.zeros(3))
    assert parameters["w"].grad is None


def test_grad_mode_is_a_context_a_decorator_and_per_thread() -> None:
    seen = []

    @pf.no_grad()
    def silent() -> bool:
        return pf.is_grad_enabled()

    with pf.no_grad():
        thread = threading.Thread(target=lambda: seen.append(pf.is_grad_enabled()))
        thread.start()
        thread.join()
        with pf.enable_grad():
            assert pf.is_grad_enabled()
        assert not pf.is_grad_enabled()
    assert seen == [True]
    assert not silent()
    assert pf.is_grad_enabled()
    with pf.set_grad_enabled(False):
        assert not pf.is_grad_enabled()
    assert pf.is_grad_enabled()


def test_hooks_see_the_whole_gradient_and_may_replace_it() -> None:
    x = leaf(2)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.numpy().copy()))
    y = x * 2
    y.register_hook(lambda g: g * 10)
    (y + y).sum().backward()
    np.testing.assert_array_equal(seen[0], np.full(2, 40.0))
    np.testing.assert_array_equal(x.grad, np.full(2, 40.0))
    handle.remove()
    x.sum().backward()
    assert len(seen) == 1


def test_retain_grad_keeps_the_gradient_of_the_middle() -> None:
    x = leaf(2)
    y = x * 3
    y.retain_grad()
    (y * y).sum().backward()
    np.testing.assert_allclose(y.grad, 2 * y.numpy())
    assert (x * 2).grad is None


def test_gradient_takes_the_dtype_of_its_tensor() -> None:
    x = pf.Tensor(np.ones(2, np.float32), requires_grad=True)
    (x * pf.Tensor(np.ones(2))).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == np.float32


def test_leaves_copy_and_pickle_with_their_gradient() -> None:
    x = leaf(2)
    (x * x).sum().backward()
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad
        np.testing.assert_array_equal(twin, x.numpy())
        np.testing.assert_array_equal(twin.grad, x.grad.numpy())
        assert twin.numpy() is not x.numpy()


def test_user_gradient_may_be_a_read_only_view() -> None:
    x = leaf(2, 3)
    (x + 0).backward(np.broadcast_to(np.ones(3), (2, 3)))
    (x + 0).backward(np.broadcast_to(np.ones(3), (2, 3)))
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 2.0))


def test_sum_to_undoes_broadcasting() -> None:
    full = np.arange(24.0).reshape(2, 3, 4)
    assert sum_to(full, (2, 3, 4)) is full
    np.testing.assert_array_equal(sum_to(full, (3, 1)), full.sum((0, 2)).reshape(3, 1))
    assert sum_to(full, ()).shape == ()


def test_graphs_of_several_threads_do_not_meet() -> None:
    results: list[Any] = [None] * 8

    def work(i: int) -> None:
        x = leaf(4)
        y = x
        for _ in range(200):
            y = y * 1.01
        (y * i).sum().backward()
        results[i] = x.grad

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i, result in enumerate(results):
        np.testing.assert_allclose(result, np.full(4, i * 1.01**200))


def test_a_gradient_that_somebody_else_holds_is_copied() -> None:
    kept: list[Any] = []

    class Stash(pf.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            kept.append(grad * 2)
            return kept[-1]

    x = pf.Tensor(np.ones(3), requires_grad=True)
    seed = np.ones(3)
    Stash.apply(x).backward(seed)
    x.grad.numpy()[:] = 7  # type: ignore[union-attr]
    np.testing.assert_array_equal(kept[0], [2, 2, 2])
    y = pf.Tensor(np.ones(3), requires_grad=True)
    (y + 0).backward(seed)
    y.grad.numpy()[:] = 7  # type: ignore[union-attr]
    np.testing.assert_array_equal(seed, [1, 1, 1])
    a, b = (pf.Tensor(np.ones(3), requires_grad=True) for _ in range(2))
    (a + b).sum().backward()  # both are handed one array
    a.grad.numpy()[:] = 7  # type: ignore[union-attr]
    np.testing.assert_array_equal(b.grad.numpy(), [1, 1, 1])  # type: ignore[union-attr]


def test_a_gradient_that_nobody_else_holds_is_kept() -> None:
    x = pf.Tensor(np.ones(1 << 16, np.float32), requires_grad=True)
    kept: list[int] = []

    class Fresh(pf.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            fresh = pf.ops.relu(grad)
            kept.append(fresh.ctypes.data)
            return fresh

    Fresh.apply(x).sum().backward()
    assert x.grad.numpy().ctypes.data == kept[0]  # type: ignore[union-attr]


def test_a_gradient_nobody_else_sees_is_not_copied() -> None:
    made: list[int] = []

    class Double(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            result = 2 * grad
            made.append(result.__array_interface__["data"][0])
            return result

    x = pf.Tensor(np.ones(1000), requires_grad=True)
    Double.apply(x).sum().backward()
    assert np.asarray(x.grad).__array_interface__["data"][0] == made[0]


def test_gradients_of_leaves_do_not_share_memory() -> None:
    kept: list[Any] = []

    class Both(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            kept.append(2 * grad)
            return kept[0], kept[0][:]

    x, y = (pf.Tensor(np.ones(10), requires_grad=True) for _ in range(2))
    Both.apply(x, y).sum().backward()
    gradients = [np.asarray(x.grad), np.asarray(y.grad), kept[0]]
    for i in range(3):
        assert not np.shares_memory(gradients[i], gradients[i - 1])
