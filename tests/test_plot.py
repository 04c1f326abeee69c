"""Figures: what is drawn where, that nothing is shown or loaded early, bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from interpreter import python

import pyfast as pf

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

plot, analysis = pf.plot, pf.analysis
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def quadratic() -> tuple[Any, Any]:
    x = pf.Tensor(np.ones(3), requires_grad=True)
    return (lambda: 0.5 * (x * x * [1.0, 2.0, 5.0]).sum() + 1), x


def tradeoff(sharpness: float = 3.0) -> Any:
    runs = [
        analysis.BatchSizeRun(b, s, 10, 1e-3 * b, 0.1, 0.5, 0.9, 0.6, 0.8, sharpness)
        for b in (8, 64)
        for s in (0, 1)
    ]
    return analysis.BatchSizeTradeoff(runs)


def flow() -> Any:
    return analysis.GradientFlow(["a", "b"], np.array([0.1, 0.2]), np.ones(2), np.ones(2))


def path() -> Any:
    return analysis.optimizer_path(
        analysis.SURFACES["beale"], lambda p: pf.optim.SGD(p, lr=0.01), steps=9
    )


LR = analysis.LRFinder(
    np.geomspace(1e-3, 1, 12), RNG.random(12) + 1, np.linspace(2, 1, 12), 0.1, False
)

FIGURES: dict[str, Callable[[Any], Any]] = {
    "history": lambda ax: plot.history({"training": [1, 0.5], "validation": [1, 0.7]}, ax=ax),
    "lr_finder": lambda ax: plot.lr_finder(LR, ax=ax),
    "schedules": lambda ax: plot.schedules({"step": [0.1, 0.01]}, ax=ax),
    "cv_scores": lambda ax: plot.cv_scores({"a": [0.9, 0.8], "b": [0.7]}, test={"a": 0.85}, ax=ax),
    "optimizer_paths": lambda ax: plot.optimizer_paths(
        analysis.SURFACES["beale"], {"SGD": path()}, ax=ax),
    "loss_surface": lambda ax: plot.loss_surface(
        analysis.loss_landscape(*quadratic(), path=RNG.random((5, 3)), points=5), ax=ax),
    "hessian_spectrum": lambda ax: plot.hessian_spectrum(
        analysis.hessian_spectrum(*quadratic()), exact=[1, 2, 5], ax=ax),
    "batch_size_tradeoff": lambda ax: plot.batch_size_tradeoff(tradeoff(), ax=ax),
    "gradient_flow": lambda ax: plot.gradient_flow({"one": flow(), "two": flow()}, ax=ax),
    "filters": lambda ax: plot.filters(RNG.random((5, 2, 3, 3)) - 0.5, ax=ax),
    "feature_maps": lambda ax: plot.feature_maps(RNG.random((5, 4, 4)), ax=ax),
    "receptive_field": lambda ax: plot.receptive_field(
        np.eye(8), (slice(1, 4), slice(2, 5)), np.eye(8), ax=ax),
    "saliency": lambda ax: plot.saliency(np.eye(8), np.eye(8) - 0.5, ax=ax),
    "confusion": lambda ax: plot.confusion([[5, 1], [0, 4]], ax=ax),
}  # fmt: skip

PICTURES = ("filters", "feature_maps", "receptive_field", "saliency")
NO_LEGEND = (*PICTURES, "confusion")


@pytest.mark.parametrize("name", FIGURES)
def test_axes_are_taken_made_labelled_and_returned(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("show() was called"))
    given = plt.figure(layout="constrained").add_subplot()
    assert FIGURES[name](given) is given
    made = FIGURES[name](None)
    assert isinstance(made, Axes)
    assert made is not given
    made.figure.savefig(tmp_path / "figure.png")
    if name not in PICTURES:
        assert made.get_xlabel()
        assert made.get_ylabel()
    assert (made.get_legend() is None) == (name in NO_LEGEND)


def test_every_figure_is_tested() -> None:
    homes = {n: getattr(plot, n).__module__.split(".")[-1] for n in plot.__all__}
    ours = {n for n, home in homes.items() if home in ("training", "surface", "network")}
    assert ours == set(FIGURES)


def test_matplotlib_is_loaded_when_a_figure_is_drawn() -> None:
    script = (
        "import sys, pyfast as pf; pf.plot.history; assert 'matplotlib' not in sys.modules;"
        "pf.analysis.critical_point; assert 'scipy' not in sys.modules; print('late')"
    )
    assert python("-W", "error", "-c", script).stdout.strip() == "late"


def test_without_the_extra_one_line_names_the_command() -> None:
    script = """
import importlib.util, sys
find = importlib.util.find_spec
absent = ("matplotlib", "scipy")
importlib.util.find_spec = lambda name, *a: None if name in absent else find(name, *a)
import pyfast as pf
x = pf.Tensor([1.0], requires_grad=True)
for call in (lambda: pf.plot.history({"a": [1]}),
             lambda: pf.analysis.critical_point(lambda: x.sum(), x)):
    try:
        call()
    except ImportError as problem:
        print(problem)
"""
    lines = python("-c", script).stdout.splitlines()
    assert lines == [
        "plot.history: matplotlib is not installed: pip install 'pyfast-nn[analysis]'",
        "critical_point: scipy is not installed: pip install 'pyfast-nn[analysis]'",
    ]


def test_colours_are_drawn_from_okabe_and_ito() -> None:
    ax = plot.history({str(i): [1, 2] for i in range(7)})
    colours = [line.get_color() for line in ax.get_lines()]
    assert len(set(colours)) == 7
    assert colours[:2] == ["#0072B2", "#D55E00"]
    assert len({line.get_linestyle() for line in ax.get_lines()}) >= 4


def test_mosaic_puts_every_image_in_its_place() -> None:
    ax = plot.feature_maps(np.arange(1, 6)[:, None, None] * np.ones((5, 2, 2)), columns=3)
    shown = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert shown.shape == (5, 8)
    np.testing.assert_array_equal(shown[[0, 0, 0, 3, 3], [0, 3, 6, 0, 3]], [1, 2, 3, 4, 5])
    assert np.isnan(shown[2]).all()
    assert np.isnan(shown[3, 6])


def test_confusion_shows_counts() -> None:
    ax = plot.confusion([[5, 1], [0, 4]], ["cat", "dog"])
    assert sorted(t.get_text() for t in ax.texts) == ["1", "4", "5"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["cat", "dog"]


def test_batch_size_accuracy_is_shown_as_errors() -> None:
    ax = plot.batch_size_tradeoff(tradeoff(), show="accuracy")
    means = [line.get_ydata() for line in ax.get_lines() if line.get_label() == "test"]
    np.testing.assert_allclose(means[0], [20, 20])


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: plot.history({}), "plot.history: curves"),
    (lambda: plot.history([1, 2]), "plot.history: curves"),
    (lambda: plot.schedules({}), "plot.schedules: rates"),
    (lambda: plot.history({"a": [1, 2]}, x=[1]), "plot.history: x has 1 places, 'a' 2"),
    (lambda: plot.cv_scores({}), "plot.cv_scores: scores"),
    (lambda: plot.cv_scores({"a": []}), "plot.cv_scores: scores must not be empty"),
    (lambda: plot.cv_scores({"a": [1]}, test={"b": 1}), r"test must be of \['a'\], got 'b'"),
    (lambda: plot.confusion(np.ones((2, 3))), r"plot.confusion: counts.*\(2, 3\)"),
    (lambda: plot.confusion(np.ones((2, 2)), ["a"]), "2 classes"),
    (lambda: plot.filters(np.ones((2, 3))), r"plot.filters: weight.*\(2, 3\)"),
    (lambda: plot.feature_maps(np.ones((2, 3))), "plot.feature_maps: maps"),
    (lambda: plot.receptive_field(np.ones(3)), "plot.receptive_field: image"),
    (lambda: plot.saliency(np.ones((2, 2)), np.ones((3, 2))), "plot.saliency: image"),
    (lambda: plot.batch_size_tradeoff(tradeoff(), show="speed"), "show must be one of"),
    (lambda: plot.batch_size_tradeoff(tradeoff(np.nan), show="sharpness"), "not measured"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[b[1][:24] for b in BAD])
def test_bad_input(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
    assert not plt.get_fignums()


def test_unknown_names_are_attribute_errors() -> None:
    for module in (plot, analysis):
        with pytest.raises(AttributeError, match="no_such"):
            module.no_such  # noqa: B018
        assert set(module.__all__) <= set(dir(module))
