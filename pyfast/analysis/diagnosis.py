"""What is wrong with a training run: model bias, optimisation, overfitting, or other data.

The questions are those of a first course. Is the training loss large? Then a simpler model, which
rarely has trouble with optimisation, tells whether the model is too simple or was not optimised.
Is only the validation loss large? Then a classifier that tries to tell training from validation
inputs says whether the two are distributed alike: overfitting, or mismatch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..extras import missing_extra

__all__ = ["Diagnosis", "TwoSampleResult", "diagnose", "two_sample_test"]

Array = np.ndarray[Any, Any]

REMEDIES = {
    "model bias": (
        "a more flexible model: more layers, more units, another architecture",
        "more or better input features",
        "less regularisation",
    ),
    "optimisation": (
        "another optimiser: momentum, Adam; warm-up and decay of the learning rate",
        "another learning rate: find one with a range test",
        "normalisation, residual connections, another initialisation or activation",
        "start from the simpler model's solution",
    ),
    "overfitting": (
        "more data, or augmentation",
        "a constrained model: fewer parameters, shared weights, convolution",
        "early stopping, weight decay, dropout",
        "fewer features",
    ),
    "mismatch": (
        "training data that are distributed like what the model will meet",
        "know how the two sets came about, and undo the difference in preprocessing",
        "augmentation that covers the difference",
        "validation data drawn like the test data",
    ),
    "large training loss": (
        "train a simpler model and give its training loss as baseline_train_loss: it tells model "
        "bias from trouble with optimisation",
    ),
    "overfitting or mismatch": (
        "give train_inputs and val_inputs: whether they are distributed alike tells the two apart",
    ),
    "good": ("nothing to mend: look at the test set once, at the very end",),
}


@dataclass(frozen=True)
class TwoSampleResult:
    """Whether a classifier can tell two samples apart.

    Attributes
    ----------
    accuracy : float
        On held-out members of both; 0.5 if they cannot be told apart.
    p_value : float
        How often guessing is as accurate.
    n_test : int
        Held-out members.
    """

    accuracy: float
    p_value: float
    n_test: int


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, why one thinks so, and what helps.

    Attributes
    ----------
    kind : str
        "model bias", "optimisation", "overfitting", "mismatch" or "good"; "large training loss" and
        "overfitting or mismatch" where what was given does not tell more.
    evidence : list of str
        The comparisons that led there, with their numbers.
    remedies : list of str
        What to try, most direct first.
    two_sample : TwoSampleResult or None
        Of training against validation inputs, where they were given and needed.
    """

    kind: str
    evidence: list[str]
    remedies: list[str]
    two_sample: TwoSampleResult | None = field(default=None, repr=False)

    def __str__(self) -> str:
        lines = [f"diagnosis: {self.kind}", "because"]
        lines += [f"  - {reason}" for reason in self.evidence]
        lines += ["try", *(f"  - {remedy}" for remedy in self.remedies)]
        return "\n".join(lines)


def diagnose(
    train_loss: float | Sequence[float],
    val_loss: float | Sequence[float],
    baseline_train_loss: float | Sequence[float] | None = None,
    *,
    acceptable_loss: float | None = None,
    gap: float = 0.5,
    margin: float = 0.05,
    train_inputs: Any = None,
    val_inputs: Any = None,
    alpha: float = 0.01,
    random_state: int | None = 0,
) -> Diagnosis:
    """Find out what is wrong with a training run.

    The training loss is *large* if it is above `acceptable_loss`. Where that is not known, it is
    large if the validation loss is mostly made of it: less than `gap` above it, relative to it. A
    large training loss is trouble with *optimisation* if a simpler model's is smaller, by more than
    `margin` of it: the larger model could do at least as well. Else it is *model bias*. A small
    training loss under a validation loss that is not small is *mismatch* if a classifier can tell
    the inputs of the two sets apart (:func:`two_sample_test`, p < `alpha`), else *overfitting*.

    Parameters
    ----------
    train_loss, val_loss : float, or sequence of float
        At the end, or epoch by epoch: the last one counts, and the course is evidence.
    baseline_train_loss : float, or sequence of float, optional
        The same loss, on the same data, of a simpler model: linear, or shallower.
    acceptable_loss : float, optional
        A loss one would be content with.
    gap : float
        The relative difference of validation and training loss that is worth a thought.
    margin : float
        The relative difference of two models' training losses that counts.
    train_inputs, val_inputs : array of shape (N, ...), optional
        Inputs of both sets.
    alpha : float
        Level of the two-sample test.
    random_state : int, optional
        Of its split.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If a loss is negative or not finite, a sequence is empty, or one set of inputs is missing.

    Examples
    --------
    >>> diagnose(train_loss=0.9, val_loss=1.0, baseline_train_loss=0.4).kind
    'optimisation'
    >>> diagnose(train_loss=0.3, val_loss=0.33, baseline_train_loss=0.4, acceptable_loss=0.1).kind
    'model bias'
    >>> diagnose(train_loss=0.01, val_loss=0.8, acceptable_loss=0.1).kind
    'overfitting or mismatch'
    """
    train, val = _losses("train_loss", train_loss), _losses("val_loss", val_loss)
    if acceptable_loss is not None:
        _losses("acceptable_loss", acceptable_loss)
    if (train_inputs is None) != (val_inputs is None):
        raise ValueError("diagnose: train_inputs and val_inputs must be given together")
    evidence = _course(train, val)
    if baseline_train_loss is not None:
        baseline = _losses("baseline_train_loss", baseline_train_loss)[-1]
        if train[-1] > baseline * (1 + margin):
            evidence.append(
                f"a simpler model reaches the training loss {baseline:.4g}, this one only "
                f"{train[-1]:.4g}: it could do as well, so optimisation has failed"
            )
            return _diagnosis("optimisation", evidence)
    large, reason = _is_large(train[-1], val[-1], acceptable_loss, gap)
    evidence.append(reason)
    if large and baseline_train_loss is None:
        return _diagnosis("large training loss", evidence)
    if large:
        evidence.append(
            f"a simpler model's training loss is {baseline:.4g}, not smaller than {train[-1]:.4g}: "
            "optimisation does its work, the model cannot do better"
        )
        return _diagnosis("model bias", evidence)
    if _generalises(train[-1], val[-1], acceptable_loss, gap, evidence):
        return _diagnosis("good", evidence)
    if train_inputs is None:
        return _diagnosis("overfitting or mismatch", evidence)
    test = two_sample_test(train_inputs, val_inputs, random_state=random_state)
    evidence.append(
        f"a classifier tells training from validation inputs in {test.accuracy:.1%} of "
        f"{test.n_test} cases (guessing: 50 %; p = {test.p_value:.2g})"
    )
    return _diagnosis("mismatch" if test.p_value < alpha else "overfitting", evidence, test)


def _diagnosis(
    kind: str, evidence: list[str], two_sample: TwoSampleResult | None = None
) -> Diagnosis:
    return Diagnosis(kind, evidence, list(REMEDIES[kind]), two_sample)


def _losses(name: str, value: Any) -> Array:
    try:
        losses = np.atleast_1d(np.asarray(value, np.float64))
    except (TypeError, ValueError):
        losses = np.empty(0)
    if losses.ndim != 1 or losses.size == 0:
        raise ValueError(f"diagnose: {name} must be a number or a sequence of them, got {value!r}")
    if not np.isfinite(losses).all() or (losses < 0).any():
        raise ValueError(f"diagnose: {name} must be finite and not negative, got {losses.min()}")
    return losses


def _course(train: Array, val: Array) -> list[str]:
    """What the curves say: where the validation loss was best."""
    if len(val) < 2:
        return []
    best = int(val.argmin())
    if best + 1 < len(val) and val[-1] > 1.05 * val[best]:
        return [
            f"the validation loss was best in epoch {best + 1} ({val[best]:.4g}) and has risen to "
            f"{val[-1]:.4g} since"
        ]
    return []


def _is_large(train: float, val: float, acceptable: float | None, gap: float) -> tuple[bool, str]:
    if acceptable is not None:
        large = train > acceptable
        word = "above" if large else "not above"
        return large, f"the training loss {train:.4g} is {word} the acceptable {acceptable:.4g}"
    large = val <= (1 + gap) * train
    if large:
        return True, f"most of the validation loss {val:.4g} is training loss, {train:.4g}, already"
    return False, f"the validation loss {val:.4g} is far above the training loss {train:.4g}"


def _generalises(
    train: float, val: float, acceptable: float | None, gap: float, evidence: list[str]
) -> bool:
    """Whether the validation loss is small too, given that the training loss is."""
    if acceptable is None:
        return False
    if val <= acceptable:
        evidence.append(f"and so is the validation loss {val:.4g}")
        return True
    evidence.append(f"but the validation loss is {val:.4g}")
    return False


def two_sample_test(
    a: Any, b: Any, classifier: Any = None, *, random_state: int | None = 0
) -> TwoSampleResult:
    """Test whether two samples come from one distribution, by trying to tell them apart.

    As many members of each are taken; on half of all a classifier learns which sample they are
    from, on the other half it is tried. If both come from one distribution it is right as often
    as a coin: the p-value is the binomial probability of being right at least as often. (Lopez-Paz
    and Oquab, "Revisiting classifier two-sample tests", 2017.)

    Parameters
    ----------
    a, b : array of shape (N, ...)
    classifier : scikit-learn classifier, optional
        Default: gradient-boosted trees.
    random_state : int, optional
        Of the split, and of the default classifier.

    Returns
    -------
    TwoSampleResult

    Raises
    ------
    ValueError
        If there are fewer than 20 of either, or their shapes disagree.
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> r = np.random.default_rng(0)
    >>> a, b = r.standard_normal((2, 400, 3))
    >>> two_sample_test(a, b).p_value > 0.05
    True
    >>> two_sample_test(a, b + 0.7).p_value < 1e-4
    True
    """
    problem = missing_extra(["sklearn", "scipy"], "train")
    if problem:
        raise ImportError(f"two_sample_test: {problem}")
    from scipy.stats import binomtest
    from sklearn.base import clone
    from sklearn.ensemble import HistGradientBoostingClassifier

    first, second = (_as_rows(name, x) for name, x in (("a", a), ("b", b)))
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"two_sample_test: a and b must have as many values each, got {first.shape[1]} and "
            f"{second.shape[1]}"
        )
    rng = np.random.default_rng(random_state)
    n = min(len(first), len(second))
    x = np.concatenate([rng.permutation(s)[:n] for s in (first, second)])
    order = rng.permutation(2 * n)
    x, label = x[order], np.repeat([0, 1], n)[order]
    if classifier is None:
        classifier = HistGradientBoostingClassifier(max_iter=60, random_state=random_state)
    model = clone(classifier).fit(x[:n], label[:n])
    right = int((model.predict(x[n:]) == label[n:]).sum())
    p_value = float(binomtest(right, n, 0.5, alternative="greater").pvalue)
    return TwoSampleResult(right / n, p_value, n)


def _as_rows(name: str, values: Any) -> Array:
    array = np.asarray(values)
    if array.ndim == 0 or len(array) < 20:
        size = 0 if array.ndim == 0 else len(array)
        raise ValueError(f"two_sample_test: {name} must have at least 20 members, got {size}")
    return array.reshape(len(array), math.prod(array.shape[1:]))
