"""Test surfaces, optimizer paths, loss landscapes, smoothness along the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyfast as pf
from pyfast import nn

analysis = pf.analysis
SURFACES = analysis.SURFACES


@pytest.mark.parametrize("name", list(SURFACES))
def test_surfaces_take_arrays_and_tensors_alike(name: str) -> None:
    surface = SURFACES[name]
    x, y, z = surface.grid(7)
    assert z.shape == (7, 7)
    for i, j in ((0, 0), (3, 5)):
        point = pf.Tensor(np.array([x[j], y[i]]), requires_grad=True)
        assert surface(point).item() == pytest.approx(z[i, j], rel=1e-12)
    (xs, ys), at = surface.bounds, surface.start
    assert xs[0] <= at[0] <= xs[1]
    assert ys[0] <= at[1] <= ys[1]


@pytest.mark.parametrize("name", [n for n in SURFACES if SURFACES[n].minima])
def test_known_heights(name: str) -> None:
    lowest = {"styblinski-tang": -78.33233140754285, "goldstein-price": 3.0, "saddle": -1.0}
    surface = SURFACES[name]
    heights = [float(surface(np.array(m, float))) for m in surface.minima]
    assert min(heights) == pytest.approx(lowest.get(name, 0.0), abs=1e-9)
    assert surface.grid(101)[2].min() >= min(heights) - 1e-9


def test_gradient_descent_on_the_ravine_is_what_the_formula_says() -> None:
    path = analysis.optimizer_path(
        SURFACES["ravine"], lambda p: pf.optim.SGD(p, lr=0.015), steps=20
    )
    steps = np.arange(21)
    expected = np.stack([-8.0 * (1 - 0.015) ** steps, (1 - 1.5) ** steps], axis=1)
    np.testing.assert_allclose(path.points, expected, rtol=1e-12)
    np.testing.assert_allclose(path.losses, 0.5 * (expected**2 @ [1, 100]), rtol=1e-12)
    assert not path.diverged


def test_a_path_that_leaves_for_infinity_ends() -> None:
    path = analysis.optimizer_path(SURFACES["beale"], lambda p: pf.optim.SGD(p, lr=1.0), steps=500)
    assert path.diverged
    assert len(path.points) < 501
    assert np.isfinite(path.points).all()


@pytest.mark.parametrize(
    "name", ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW", "Adamax", "NAdam", "RAdam"]
)
def test_every_optimizer_goes_down_the_ravine(name: str) -> None:
    rate = {"SGD": 0.01, "Adagrad": 0.5, "Adadelta": 20.0, "RAdam": 0.015}.get(name, 0.05)
    # RAdam's first steps are plain momentum, which bears no more than gradient descent does
    cls = getattr(pf.optim, name)
    path = analysis.optimizer_path(SURFACES["ravine"], lambda p: cls(p, lr=rate), steps=1500)
    assert path.losses[-1] < 0.1 * path.losses[0]


def test_optimizer_path_bad_input() -> None:
    def make(p: Any) -> Any:
        return pf.optim.SGD(p, lr=0.1)

    with pytest.raises(ValueError, match="steps must be positive"):
        analysis.optimizer_path(SURFACES["ravine"], make, steps=0)
    with pytest.raises(ValueError, match="start must be given"):
        analysis.optimizer_path(lambda x: (x * x).sum(), make)


def test_filter_normalised_directions_follow_the_weights_scale() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 3))
    one = analysis.filter_normalized_direction(model, seed=1)
    model[0].weight.data[...] *= 10
    ten = analysis.filter_normalized_direction(model, seed=1)
    n = model[0].weight.size
    np.testing.assert_allclose(ten[:n], 10 * one[:n], rtol=1e-5)
    np.testing.assert_allclose(ten[n:], one[n:])
    assert (one[n : n + 4] == 0).all()  # the bias
    lengths = np.linalg.norm(ten[:n].reshape(4, -1), axis=1)
    np.testing.assert_allclose(
        lengths, np.linalg.norm(model[0].weight.data.reshape(4, -1), axis=1), rtol=1e-5
    )


def test_landscape_of_a_quadratic_with_its_path() -> None:
    x = pf.Tensor(np.array([0.0, 0.0, 5.0]), requires_grad=True)
    path = [[3.0, 1.0, 5.0], [2.0, 0.5, 5.0], [1.0, -0.5, 5.0], [0.0, 0.0, 5.0]]
    plane = analysis.loss_landscape(
        lambda: x[0] ** 2 + 4 * x[1] ** 2 + x[2], x, path=path, points=9, span=0.1
    )
    assert plane.explained.sum() == pytest.approx(1)
    back = plane.path @ plane.directions + np.array([0.0, 0.0, 5.0])
    np.testing.assert_allclose(back, path, atol=1e-12)
    for i, j in ((0, 0), (4, 7)):
        at = plane.alphas[j] * plane.directions[0] + plane.betas[i] * plane.directions[1]
        assert plane.losses[i, j] == pytest.approx(at[0] ** 2 + 4 * at[1] ** 2 + 5)
    np.testing.assert_array_equal(x.data, [0, 0, 5])


def test_landscape_of_a_float32_model_with_batch_norm_leaves_it_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 3)).astype(np.float32), rng.integers(0, 2, 16)
    before = {k: v.data.copy() for k, v in model.state_dict().items()}

    def loss() -> Any:
        return pf.ops.cross_entropy(model(pf.Tensor(x)), y)

    plane = analysis.loss_landscape(loss, model, points=5)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name])
    assert plane.losses[2, 2] == pytest.approx(loss().item(), rel=1e-6)
    assert plane.losses.max() > plane.losses[2, 2]


def test_landscape_bad_input() -> None:
    x = pf.Tensor(np.ones(3), requires_grad=True)

    def loss() -> Any:
        return (x * x).sum()

    with pytest.raises(ValueError, match=r"directions must have shape \(2, 3\), got \(2, 2\)"):
        analysis.loss_landscape(loss, x, directions=np.eye(2))
    with pytest.raises(ValueError, match=r"path must have shape \(T, 3\)"):
        analysis.loss_landscape(loss, x, path=np.ones((4, 2)))
    with pytest.raises(ValueError, match="one line"):
        analysis.path_directions(np.outer(np.arange(4.0), np.ones(3)))
    with pytest.raises(ValueError, match="span must be positive"):
        analysis.loss_landscape(loss, x, span=0)
    with pytest.raises(ValueError, match="points must be positive"):
        analysis.loss_landscape(loss, x, points=0)


def test_smoothness_of_a_quadratic_is_its_curvature() -> None:
    x = pf.Tensor(np.array([0.0, 1.0]), requires_grad=True)
    seen = analysis.smoothness(lambda: x[0] ** 2 + 3 * x[1] ** 2, x, [0.01, 0.1])
    assert seen.effective_beta == pytest.approx(6)
    np.testing.assert_allclose(seen.losses, [3 * 0.94**2, 3 * 0.4**2])
    with pytest.raises(ValueError, match="steps must be positive"):
        analysis.smoothness(lambda: (x * x).sum(), x, [0.0])
    x.data[...] = 0
    with pytest.raises(ValueError, match="gradient must not be zero"):
        analysis.smoothness(lambda: (x * x).sum(), x, [0.1])
