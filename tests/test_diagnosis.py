"""Diagnoses from losses alone, with inputs, and the two-sample test's size and power."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pyfast.analysis import diagnose, two_sample_test


def sample(seed: int, n: int = 300, shift: float = 0.0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((n, 4)) + shift


SAME = {"train_inputs": sample(0), "val_inputs": sample(1)}
OTHER = {"train_inputs": sample(0), "val_inputs": sample(1, shift=1.0)}


@pytest.mark.parametrize(
    ("kind", "losses", "settings"),
    [
        ("optimisation", (0.9, 1.0, 0.4), {}),
        ("optimisation", (0.9, 1.0, 0.4), {"acceptable_loss": 2.0}),
        ("model bias", (0.5, 0.55, 0.7), {}),
        ("model bias", (0.5, 5.0, 0.7), {"acceptable_loss": 0.1}),
        ("model bias", (0.41, 0.5, 0.4), {"acceptable_loss": 0.1}),  # equal within the margin
        ("large training loss", (0.5, 0.55), {}),
        ("overfitting or mismatch", (0.01, 0.8), {}),
        ("overfitting or mismatch", (0.01, 0.8, 0.3), {}),
        ("overfitting", (0.01, 0.8), SAME),
        ("overfitting", (0.01, 0.8, 0.3), {"acceptable_loss": 0.1, **SAME}),
        ("mismatch", (0.01, 0.8), OTHER),
        ("mismatch", (0.0, 0.8, 0.3), {"acceptable_loss": 0.1, **OTHER}),
        ("good", (0.01, 0.02), {"acceptable_loss": 0.1}),
        ("good", (0.01, 0.09, 0.2), {"acceptable_loss": 0.1, **OTHER}),
    ],
)
def test_kinds(kind: str, losses: tuple[float, ...], settings: dict[str, Any]) -> None:
    found = diagnose(*losses, **settings)
    assert found.kind == kind
    assert found.remedies
    assert (found.two_sample is not None) == (kind in ("overfitting", "mismatch"))
    text = str(found)
    assert text.startswith(f"diagnosis: {kind}\nbecause\n  - ")
    assert all(reason in text for reason in (*found.evidence, *found.remedies))


def test_courses_are_evidence() -> None:
    found = diagnose([2.0, 0.5, 0.01], [2.0, 0.4, 0.8], **SAME)
    assert found.kind == "overfitting"
    assert found.evidence[0].startswith("the validation loss was best in epoch 2 (0.4)")
    assert "p = " in found.evidence[-1]
    assert diagnose([2.0, 1.0], [2.0, 1.1], [0.5, 0.4]).kind == "optimisation"


def test_the_test_keeps_its_level() -> None:
    p = [
        two_sample_test(
            sample(2 * i, 100), sample(2 * i + 1, 100), LogisticRegression(), random_state=i
        ).p_value
        for i in range(200)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.09
    assert np.mean(np.array(p) < 0.5) > 0.3


def test_the_test_has_power() -> None:
    result = two_sample_test(sample(0, 400), sample(1, 500, shift=0.8))
    assert result.p_value < 1e-10
    assert result.n_test == 400
    assert result.accuracy > 0.75
    images = np.random.default_rng(0).random((2, 100, 1, 4, 4))
    assert two_sample_test(images[0], images[1] ** 3).p_value < 1e-4


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: diagnose(-1.0, 1.0), "train_loss must be finite and not negative, got -1.0"),
        (lambda: diagnose(1.0, float("nan")), "val_loss must be finite and not negative"),
        (lambda: diagnose([], 1.0), "train_loss must be a number or a sequence"),
        (lambda: diagnose("low", 1.0), "train_loss must be a number or a sequence.*got 'low'"),
        (lambda: diagnose(0.1, 1.0, train_inputs=sample(0)), "must be given together"),
        (lambda: two_sample_test(sample(0), sample(1, 19)), "b must have at least 20 members"),
        (lambda: two_sample_test(sample(0), sample(1)[:, :2]), "must have as many values each"),
    ],
)
def test_bad_input(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
