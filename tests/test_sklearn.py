"""The estimators: scikit-learn's own checks, and life in pipelines and searches."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import pyfast as pf
from pyfast.sklearn import EXPECTED_FAILURES, NetClassifier, NetRegressor, mlp

IRIS = load_iris(return_X_y=True)


def quick(**settings: Any) -> NetClassifier:
    return NetClassifier(**{"max_epochs": 20, "lr": 0.01, "random_state": 0, **settings})


def linear(n_inputs: int, n_outputs: int) -> pf.nn.Module:
    return pf.nn.Linear(n_inputs, n_outputs)


def no_module(n_inputs: int, n_outputs: int) -> Any:
    return "a module"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [NetClassifier(), NetRegressor()], ids=lambda e: str(e)[:12])
def test_scikit_learns_own_checks(estimator: Any) -> None:
    results = check_estimator(
        estimator, expected_failed_checks=EXPECTED_FAILURES, on_skip=None, on_fail=None
    )
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert len(results) > 50
    assert len(EXPECTED_FAILURES) <= 3


def test_pipeline_folds_and_search_in_processes() -> None:
    model = make_pipeline(StandardScaler(), quick())
    scores = cross_val_score(model, *IRIS, cv=KFold(3, shuffle=True, random_state=0))
    assert scores.mean() > 0.9
    grid = {"netclassifier__module": [linear, mlp], "netclassifier__lr": [0.003, 0.01]}
    search = GridSearchCV(model, grid, cv=3, n_jobs=2).fit(*IRIS)
    alone = GridSearchCV(model, grid, cv=3).fit(*IRIS)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    assert search.best_score_ > 0.9


def test_the_random_state_decides_and_nothing_else() -> None:
    state = pf.get_rng_state()
    a, b, other = quick().fit(*IRIS), quick().fit(*IRIS), quick(random_state=1).fit(*IRIS)
    np.testing.assert_array_equal(a.predict_proba(IRIS[0]), b.predict_proba(IRIS[0]))
    assert not np.array_equal(a.predict_proba(IRIS[0]), other.predict_proba(IRIS[0]))
    np.testing.assert_array_equal(pf.get_rng_state(), state)


def falling(optimizer: pf.optim.Optimizer, updates: int) -> Any:
    return pf.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=updates)


def test_a_schedule_ends_with_the_last_update() -> None:
    model = quick(scheduler=falling, batch_size=50).fit(*IRIS)  # 20 epochs of 3 updates
    rates = [row["lr"] for row in model.history_]
    assert [rates[9], rates[19]] == pytest.approx([0.0055, 0.001])
    again = clone(model).partial_fit(*IRIS, classes=[0, 1, 2]).partial_fit(*IRIS)
    assert [row["lr"] for row in again.history_] == [0.01, 0.01]
    with pytest.raises(TypeError, match="scheduler must be callable or None, got 'cosine'"):
        quick(scheduler="cosine").fit(*IRIS)


def test_clone_and_pickle() -> None:
    model = quick(module=linear, clip_norm=1.0).fit(*IRIS)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(IRIS[0])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(IRIS[0]), model.predict_proba(IRIS[0]))
    model.partial_fit(*IRIS)  # the optimizer's memory has come along
    again.partial_fit(*IRIS)
    np.testing.assert_array_equal(again.predict_proba(IRIS[0]), model.predict_proba(IRIS[0]))


def test_partial_fit() -> None:
    x, y = IRIS
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = quick()
    with pytest.raises(ValueError, match="classes must be given in the first partial_fit"):
        model.partial_fit(x, names)
    for _ in range(30):
        model.partial_fit(x[:100], names[:100], classes=np.unique(names))
        model.partial_fit(x[100:], names[100:])
    assert model.n_iter_ == 60
    assert model.score(x, names) > 0.9
    with pytest.raises(ValueError, match="y must hold the classes of the first call, got 'rose'"):
        model.partial_fit(x[:2], ["setosa", "rose"])
    with pytest.raises(ValueError, match="classes must stay"):
        model.partial_fit(x, names, classes=["rose"])
    assert model.fit(x, y).n_iter_ == 20  # begins anew
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])


def test_probabilities() -> None:
    model = quick().fit(*IRIS)
    p = model.predict_proba(IRIS[0])
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_allclose(np.log(p), model.predict_log_proba(IRIS[0]), atol=1e-9)
    np.testing.assert_array_equal(p.argmax(1), model.predict(IRIS[0]))


def test_early_stopping() -> None:
    model = quick(early_stopping=True, patience=3, max_epochs=500, lr=0.05).fit(*IRIS)
    losses = model.history_["val_loss"]
    assert len(losses) == int(np.argmin(losses)) + 5 < 500
    assert model.score(*IRIS) > 0.9


def test_sample_weights() -> None:
    x, y = IRIS
    weight = np.where(y == 2, 0.0, 1.0)
    predicted = quick(max_epochs=60).fit(x, y, sample_weight=weight).predict(x)
    assert 2 not in predicted
    np.testing.assert_array_equal(
        quick().fit(x, y, np.full(150, 7.0)).predict(x), quick().fit(x, y, np.ones(150)).predict(x)
    )
    with pytest.raises(ValueError, match="zero"):
        quick().fit(x, y, np.zeros(150))


def test_regression_with_several_outputs() -> None:
    x, y = load_diabetes(return_X_y=True)
    x, y = StandardScaler().fit_transform(x), (y - y.mean()) / y.std()
    model = NetRegressor(max_epochs=30, random_state=0).fit(x, y)
    assert model.predict(x).shape == (442,)
    assert model.score(x, y) > 0.5
    both = NetRegressor(max_epochs=30, random_state=0).fit(x, np.stack([y, -y], 1))
    assert both.predict(x).shape == (442, 2)
    assert both.partial_fit(x, np.stack([y, -y], 1)).n_iter_ == 31


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"lr": 0}, ValueError, "lr must be positive, got 0"),
        ({"max_epochs": 0}, ValueError, "max_epochs must be a positive int, got 0"),
        ({"batch_size": 1.5}, ValueError, "batch_size must be a positive int, got 1.5"),
        ({"validation_fraction": 1}, ValueError, r"validation_fraction must be in \(0, 1\)"),
        ({"module": no_module}, TypeError, "module must return a Module, got str"),
        ({"module": mlp(4, 3)}, TypeError, "module must be a function that makes one, got Seq"),
        ({"optimizer": "Speedy"}, ValueError, "optimizer must be callable or one of .*, got 'Sp"),
        ({"optimizer": "LBFGS"}, ValueError, "optimizer must be callable or one of .*, got 'LB"),
    ],
)
def test_bad_settings_show_when_fitting(settings: dict[str, Any], error: Any, match: str) -> None:
    model = quick(**settings)  # not before: scikit-learn sets parameters without __init__
    with pytest.raises(error, match=match):
        model.fit(*IRIS)
