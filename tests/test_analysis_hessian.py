"""Critical points and Hessians: known functions, dense and PyTorch's exact Hessians, bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast import nn

analysis = pf.analysis
SURFACES = analysis.SURFACES


def at(point: Any) -> pf.Tensor:
    return pf.Tensor(np.array(point, np.float64), requires_grad=True)


def classify(function: Callable[[Any], Any], point: Any, **settings: Any) -> Any:
    x = at(point)
    before = x.data.copy()
    result = analysis.critical_point(lambda: function(x), x, **settings)
    np.testing.assert_array_equal(x.data, before)
    assert x.grad is None
    return result


KNOWN = [
    (lambda x: x[0] ** 2 + 3 * x[1] ** 2, [0, 0], "minimum", 2, 6),
    (lambda x: -(x * x).sum(), [0, 0], "maximum", -2, -2),
    (lambda x: x[0] ** 2 - x[1] ** 2, [0, 0], "saddle", -2, 2),
    (lambda x: x[0] * x[1], [0, 0], "saddle", -1, 1),
    (SURFACES["monkey saddle"], [0, 0], "saddle", 0, 0),
    (lambda x: (x**4).sum(), [0, 0], "minimum", 0, 0),
    (lambda x: -(x**4).sum(), [0, 0, 0], "maximum", 0, 0),
    (lambda x: x[0] ** 2 + x[1] ** 3, [0, 0], "saddle", 0, 2),
    (lambda x: x[0] ** 2 + 0 * x[1], [0, 0], "minimum", 0, 2),
    (lambda x: x[0] ** 4 - x[1] ** 2, [0, 0], "saddle", -2, 0),
    (lambda x: (0 * x).sum() + 1, [0, 0], "plateau", 0, 0),
    (SURFACES["rosenbrock"], [1, 1], "minimum", 0.39936077, 1001.60064),
    (SURFACES["beale"], [0, 1], "saddle", -10.875194, 10.875194),
    (lambda x: x.cos().sum(), [0, np.pi], "saddle", -1, 1),
    (lambda x: (-(x * x).sum()).exp(), [0, 0, 0], "maximum", -2, -2),
]


@pytest.mark.parametrize(("function", "point", "kind", "low", "high"), KNOWN)
def test_kind_and_eigenvalues_of_known_functions(
    function: Any, point: Any, kind: str, low: float, high: float
) -> None:
    if function is SURFACES["beale"]:
        low, high = np.linalg.eigvalsh(beale_hessian())[[0, -1]]
    result = classify(function, point)
    assert result.kind == kind
    np.testing.assert_allclose([result.smallest[0], result.largest[-1]], [low, high],
                               rtol=1e-5, atol=1e-6)  # fmt: skip
    assert result.escaped == (kind in ("saddle", "maximum"))


def beale_hessian() -> Any:
    x = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return torch.autograd.functional.hessian(lambda p: SURFACES["beale"].function(p[0], p[1]), x)


@pytest.mark.parametrize("name", list(SURFACES))
def test_the_named_points_of_surfaces_are_what_they_are_called(name: str) -> None:
    surface = SURFACES[name]
    for kind in ("minima", "saddles", "maxima"):
        for point in getattr(surface, kind):
            found = classify(surface, point, gradient_tol=1e-6)
            assert found.kind == {"minima": "minimum", "saddles": "saddle"}.get(kind, "maximum")


def test_where_the_gradient_is_not_zero_it_says_so() -> None:
    result = classify(SURFACES["beale"], [0, 0])
    assert result.kind == "not critical"
    assert not result.escaped
    assert "not critical" in str(result)


def test_a_single_way_down_among_a_hundred_thousand() -> None:
    n = 100_000
    scales = np.where(np.arange(n) % 2, 3.0, 1.0)
    scales[777] = -0.25
    result = classify(lambda x: 0.5 * (x * x * scales).sum(), np.zeros(n))
    assert result.kind == "saddle"
    np.testing.assert_allclose([result.smallest[0], result.largest[-1]], [-0.25, 3], rtol=1e-4)
    (direction,) = result.escape_direction
    assert abs(direction[777]) > 0.999
    assert result.escape_losses[-1] < -0.01


def test_a_non_quadratic_minimum_of_a_hundred_thousand() -> None:
    n = 100_000
    low = -2.903534027771178
    point = np.full(n, low)
    result = classify(lambda x: 0.5 * (x**4 - 16 * x**2 + 5 * x).mean() * n, point)
    assert result.kind == "minimum"
    np.testing.assert_allclose(result.smallest[0], 6 * low**2 - 16, rtol=1e-6)


def mlp() -> tuple[nn.Module, Callable[[], Any], Callable[[Any], Any]]:
    """A network of 305 parameters with its loss, and the same loss for PyTorch, flat."""
    pf.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 10)), rng.integers(0, 5, 40)
    model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 5)).double()

    def loss() -> Any:
        return pf.ops.cross_entropy(model(pf.Tensor(x)), y)

    def flat(theta: Any) -> Any:
        w1, b1, w2, b2 = theta.split([200, 20, 100, 5])
        hidden = torch.tanh(torch.from_numpy(x) @ w1.view(20, 10).T + b1)
        return torch.nn.functional.cross_entropy(
            hidden @ w2.view(5, 20).T + b2, torch.from_numpy(y)
        )

    return model, loss, flat


def exact_hessian(model: nn.Module, flat: Callable[[Any], Any]) -> Any:
    theta = torch.from_numpy(analysis.flat_parameters(model))
    return torch.autograd.functional.hessian(flat, theta).numpy()


def test_products_and_hessian_against_the_exact_one() -> None:
    model, loss, flat = mlp()
    exact = exact_hessian(model, flat)
    np.testing.assert_allclose(analysis.hessian(loss, model), exact, atol=1e-9)
    v = np.random.default_rng(1).standard_normal(325)
    product = analysis.hessian_vector_product(loss, model, v)
    np.testing.assert_allclose(product, exact @ v, atol=1e-8)
    pieces = analysis.hessian_vector_product(
        loss, model, [v[:200].reshape(20, 10), v[200:220], v[220:320].reshape(5, 20), v[320:]]
    )
    np.testing.assert_array_equal(np.concatenate([p.ravel() for p in pieces]), product)


def test_extreme_eigenvalues_by_lanczos_are_the_dense_ones() -> None:
    model, loss, flat = mlp()
    values = np.linalg.eigvalsh(exact_hessian(model, flat))
    ends = analysis.hessian_eigenvalues(loss, model, k=3)
    assert ends.every is None  # 325 parameters: not the dense way
    scale = np.abs(values).max()
    np.testing.assert_allclose(ends.smallest, values[:3], atol=1e-4 * scale)
    np.testing.assert_allclose(ends.largest, values[-3:], rtol=1e-4)
    again = analysis.hessian_eigenvalues(loss, model, k=3, seed=0)
    np.testing.assert_array_equal(again.largest, ends.largest)
    assert analysis.sharpness(loss, model) == pytest.approx(values[-1], rel=1e-4)


def test_eigenvectors_belong_to_their_values() -> None:
    model, loss, flat = mlp()
    exact = exact_hessian(model, flat)
    ends = analysis.hessian_eigenvalues(loss, model, k=2)
    pairs = ((ends.smallest, ends.smallest_vectors), (ends.largest, ends.largest_vectors))
    for values, vectors in pairs:
        np.testing.assert_allclose(exact @ vectors, vectors * values, atol=1e-4)


def test_a_linear_network_has_its_saddle_at_zero() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 6)), rng.standard_normal((50, 3))
    first, second = at(np.zeros((6, 4))), at(np.zeros((4, 3)))
    point = analysis.critical_point(
        lambda: 0.5 * ((pf.Tensor(x) @ first @ second - y) ** 2).sum() / 50, [first, second]
    )
    expected = np.linalg.svd(x.T @ y / 50)[1][0]
    assert point.kind == "saddle"
    np.testing.assert_allclose(point.smallest[0], -expected, rtol=1e-6)
    np.testing.assert_allclose(point.largest[-1], expected, rtol=1e-6)
    assert [d.shape for d in point.escape_direction] == [(6, 4), (4, 3)]
    assert point.escape_losses.min() < point.loss - 1e-3


def test_a_deeper_linear_network_is_flat_to_second_order_and_still_a_saddle() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 3)), rng.standard_normal((50, 2))
    layers = [at(np.zeros((3, 3))), at(np.zeros((3, 3))), at(np.zeros((3, 2)))]

    def loss() -> Any:
        out = pf.Tensor(x)
        for w in layers:
            out = out @ w
        return ((out - y) ** 2).mean()

    point = analysis.critical_point(loss, layers)
    assert point.degenerate
    assert point.kind == "saddle"


def test_an_exact_product_is_used() -> None:
    x = at(np.zeros(300))
    scales = np.linspace(-1, 2, 300)
    calls = []

    def hvp(v: Any) -> Any:
        calls.append(1)
        return scales * v

    point = analysis.critical_point(lambda: 0.5 * (x * x * scales).sum(), x, hvp=hvp)
    assert len(calls) == point.products
    np.testing.assert_allclose([point.smallest[0], point.largest[-1]], [-1, 2], atol=1e-5)


def test_batch_norm_statistics_are_put_back() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    x = np.random.default_rng(0).standard_normal((8, 3))
    before = {k: v.data.copy() for k, v in model.state_dict().items()}
    analysis.critical_point(lambda: (model(pf.Tensor(x)) ** 2).mean(), model)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name], err_msg=name)


def test_spectrum_against_dense_eigenvalues() -> None:
    model, loss, flat = mlp()
    exact = exact_hessian(model, flat)
    values = np.linalg.eigvalsh(exact)
    spectrum = analysis.hessian_spectrum(loss, model, probes=30, steps=40, seed=3)
    assert spectrum.size == 325
    rng = np.random.default_rng(3)
    probes = rng.standard_normal((30, 325))
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    for power in (0, 1, 2, 7):  # Gauss quadrature: exact for each probe
        wanted = np.mean([v @ np.linalg.matrix_power(exact, power) @ v for v in probes])
        assert spectrum.moment(power) == pytest.approx(wanted, rel=1e-6)
    assert spectrum.share_below(0.05) == pytest.approx((values < 0.05).mean(), abs=0.03)
    assert spectrum.nodes.max() == pytest.approx(values[-1], rel=1e-4)
    x, y = spectrum.density()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-3)


def test_spectrum_of_few_distinct_eigenvalues_ends_early() -> None:
    x = at(np.zeros(50))
    scales = np.where(np.arange(50) < 10, -1.0, 3.0)
    spectrum = analysis.hessian_spectrum(lambda: 0.5 * (x * x * scales).sum(), x, probes=40)
    seen = np.unique(spectrum.nodes.round(6))
    np.testing.assert_allclose(seen, [-1, 3], atol=1e-6)
    assert spectrum.share_below(0) == pytest.approx(0.2, abs=0.04)


def test_finding_points_of_either_kind() -> None:
    himmelblau = SURFACES["himmelblau"]
    x = at([0.1, 2.5])
    found = analysis.find_critical_point(lambda: himmelblau(x), x)
    assert found.converged
    np.testing.assert_allclose(x.data, himmelblau.saddles[0], atol=1e-8)
    x = at([0.1, 2.5])
    memory = x.data
    assert analysis.find_critical_point(lambda: himmelblau(x), x, seek="minimum").converged
    assert x.data is memory
    assert min(np.linalg.norm(x.data - m) for m in himmelblau.minima) < 1e-6


BAD: list[tuple[str, Any, type[Exception], str]] = [
    ("no gradient", lambda a: a(lambda: pf.Tensor([1.0]), pf.Tensor(np.ones(2))), ValueError,
     "params must hold at least one tensor that requires grad"),
    ("no parameters", lambda a: a(lambda: 1.0, []), ValueError, "requires grad"),
    ("not tensors", lambda a: a(lambda: 1.0, [np.ones(2)]), TypeError, "ndarray"),
    ("not a collection", lambda a: a(lambda: 1.0, 3), TypeError, "int"),
    ("loss not scalar", lambda a: a(lambda: X * X, X), ValueError, r"one element.*\(2,\)"),
    ("loss not a tensor", lambda a: a(lambda: 1.0, X), TypeError, "float"),
    ("loss not callable", lambda a: a((X * X).sum(), X), TypeError, "loss must be a callable"),
    ("independent", lambda a: a(lambda: pf.Tensor([1.0]), X), ValueError, "does not depend"),
    ("nan", lambda a: a(lambda: (X * np.nan).sum(), X), ValueError, "loss is nan"),
    ("float32", lambda a: a(lambda: F.sum(), F), TypeError, r"float64, got float32.*double\(\)"),
    ("two dtypes", lambda a: a(lambda: F.sum(), [F, X]), TypeError, "one dtype"),
    ("not repeatable", lambda a: a(lambda: (X * RNG.random()).sum(), X), ValueError, "same"),
    ("not a leaf", lambda a: a(lambda: X.sum(), [X * 2]), ValueError, "leaves"),
]  # fmt: skip
X = at([1.0, 2.0])
F = pf.Tensor(np.ones(2, np.float32), requires_grad=True)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("entry", ["critical_point", "hessian", "hessian_spectrum", "sharpness"])
@pytest.mark.parametrize(("what", "call", "error", "text"), BAD, ids=[b[0] for b in BAD])
def test_bad_input(entry: str, what: str, call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        call(getattr(analysis, entry))
    assert str(caught.value).startswith(f"{entry}:")
    np.testing.assert_array_equal(X.data, [1.0, 2.0])


def test_bad_settings() -> None:
    def loss() -> Any:
        return (X * X).sum()

    with pytest.raises(ValueError, match="k must be from 1 to the 2 parameters, got 3"):
        analysis.critical_point(loss, X, k=3)
    with pytest.raises(ValueError, match="k must be from 1"):
        analysis.hessian_eigenvalues(loss, X, k=0)
    with pytest.raises(TypeError, match="k must be an int"):
        analysis.critical_point(loss, X, k=1.5)
    with pytest.raises(ValueError, match=r"vector must have shape \(2,\), got \(3,\)"):
        analysis.hessian_vector_product(loss, X, np.ones(3))
    with pytest.raises(ValueError, match="probes must be positive"):
        analysis.hessian_spectrum(loss, X, probes=0)
    with pytest.raises(ValueError, match="seek must be"):
        analysis.find_critical_point(loss, X, seek="down")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hvp must return shape"):
        analysis.critical_point(loss, X, hvp=lambda v: v[:1])
    big = at(np.zeros(20_001))
    with pytest.raises(ValueError, match="at most 20000"):
        analysis.hessian(lambda: (big * big).sum(), big)
    with pytest.raises(ValueError, match="at most 2000"):
        analysis.find_critical_point(lambda: (big * big).sum(), big)


def test_parameters_are_put_back_after_an_error() -> None:
    x = at([1.0, 2.0])
    memory, calls = x.data, []

    def loss() -> Any:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return (x * x).sum()

    with pytest.raises(KeyboardInterrupt):
        analysis.critical_point(loss, x)
    assert x.data is memory
