"""Networks as scikit-learn estimators: in pipelines, cross-validation and grid searches.

The traps that others fell into are avoided by scikit-learn's own rules: ``__init__`` stores its
arguments and does nothing else, what fitting finds out ends in an underscore, and ``BaseEstimator``
comes last. ``check_estimator`` is run in the tests; ``EXPECTED_FAILURES`` names what it does not
grant.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from .extras import missing_extra

_problem = missing_extra(["sklearn"], "train")
if _problem:
    raise ImportError(f"pyfast.sklearn: {_problem}")

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.utils import check_random_state  # noqa: E402
from sklearn.utils.multiclass import check_classification_targets  # noqa: E402
from sklearn.utils.validation import (  # noqa: E402
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from . import nn, ops, optim  # noqa: E402
from .random import get_rng_state, manual_seed, set_rng_state  # noqa: E402
from .training import History, Trainer, predict  # noqa: E402

__all__ = ["EXPECTED_FAILURES", "NetClassifier", "NetRegressor", "mlp"]

Array = np.ndarray[Any, Any]

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a sample of weight 2 and the same sample twice are shuffled into different batches, and "
        "where all fits into one batch, float32 sums in another order differ in the last bits"
    ),
}
"""What check_estimator asks for and stochastic training does not grant, with the reason."""

_OPTIMIZERS = tuple(name for name in optim.__all__ if name not in ("LBFGS", "Optimizer"))


def mlp(n_inputs: int, n_outputs: int) -> nn.Module:
    """The default network: one hidden layer of 64 ReLUs.

    Parameters
    ----------
    n_inputs, n_outputs : int

    Returns
    -------
    Module

    Examples
    --------
    >>> mlp(4, 3).count_parameters()
    515
    """
    return nn.Sequential(nn.Linear(n_inputs, 64), nn.ReLU(), nn.Linear(64, n_outputs))


class _Net(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: parameters, training, and saving."""

    def __init__(
        self,
        module: Callable[[int, int], nn.Module] = mlp,
        *,
        optimizer: str | Callable[..., optim.Optimizer] = "Adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        scheduler: Callable[[optim.Optimizer, int], Any] | None = None,
        max_epochs: int = 100,
        batch_size: int = 32,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        clip_norm: float | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.scheduler = scheduler
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.clip_norm = clip_norm
        self.random_state = random_state
        self.verbose = verbose

    # What a kind of target needs: given by the two estimators.
    def _read_targets(self, y: Array, classes: Array | None) -> Array:
        raise NotImplementedError

    def _losses(self, output: Any, target: Array) -> Any:
        """One loss for each sample."""
        raise NotImplementedError

    def _strata(self, target: Array) -> Array | None:
        return None

    def _check_settings(self) -> None:
        name = type(self).__name__
        for setting in ("max_epochs", "batch_size"):
            value = getattr(self, setting)
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name}: {setting} must be a positive int, got {value!r}")
        if not isinstance(self.lr, Real) or not self.lr > 0:
            raise ValueError(f"{name}: lr must be positive, got {self.lr!r}")
        if isinstance(self.module, nn.Module) or not callable(self.module):
            raise TypeError(
                f"{name}: module must be a function that makes one, got {self.module!r}"
            )
        if self.scheduler is not None and not callable(self.scheduler):
            raise TypeError(f"{name}: scheduler must be callable or None, got {self.scheduler!r}")
        if not callable(self.optimizer) and self.optimizer not in _OPTIMIZERS:
            raise ValueError(
                f"{name}: optimizer must be callable or one of {', '.join(_OPTIMIZERS)}, "
                f"got {self.optimizer!r}"
            )
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"{name}: validation_fraction must be in (0, 1), got {self.validation_fraction}"
            )

    def _build(self, n_features: int, n_outputs: int) -> None:
        module = self.module(n_features, n_outputs)
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"{type(self).__name__}: module must return a Module, got {type(module).__name__}"
            )
        make = getattr(optim, self.optimizer) if isinstance(self.optimizer, str) else self.optimizer
        self.module_ = module
        self.optimizer_ = make(module.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        self.history_ = History()

    def _train(self, x: Array, target: Array, weight: Array | None, whole: bool) -> None:
        """All epochs or one more, with random numbers of the estimator's own."""
        epochs = self.max_epochs if whole else 1
        parts: tuple[Array, ...] = (x, target)
        if weight is not None:
            parts = (*parts, (weight / weight.mean()).astype(np.float32))
        held_out = None
        if self.early_stopping and epochs > 1:
            split = train_test_split(
                *parts,
                test_size=self.validation_fraction,
                random_state=int(self._random.randint(2**31 - 1)),
                stratify=self._strata(target),
            )
            parts, held_out = tuple(split[::2]), tuple(split[1::2])
        schedule = None
        if self.scheduler is not None and whole:
            updates = epochs * -(-len(parts[0]) // self.batch_size)
            schedule = self.scheduler(self.optimizer_, updates)
        trainer = Trainer(
            self.module_,
            self._loss,
            self.optimizer_,
            parts,
            batch_size=self.batch_size,
            validation=held_out,
            patience=self.patience if self.early_stopping else None,
            scheduler=schedule,
            schedule_every="step",
            clip_norm=self.clip_norm,
            targets=len(parts) - 1,
        )
        trainer.run(epochs, progress=bool(self.verbose))
        done = len(self.history_)
        for row in trainer.history:
            self.history_.append({**row, "epoch": row["epoch"] + done})
        self.n_iter_ = len(self.history_)

    def _loss(self, output: Any, target: Array, weight: Array | None = None) -> Any:
        losses = self._losses(output, target)
        return losses.mean() if weight is None else (losses * weight).mean()

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        whole: bool,
        again: bool,
        classes: Array | None = None,
    ) -> None:
        """Validate, build unless it is there and goes on, train."""
        self._check_settings()
        x, y = validate_data(
            self, X, y, dtype=np.float32, order="C", reset=not again, multi_output=True,
            y_numeric=isinstance(self, RegressorMixin),
        )  # fmt: skip
        if not again:
            self._random = check_random_state(self.random_state)
        target = self._read_targets(y, classes)
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(
                sample_weight, x, dtype=np.float64, ensure_non_negative=True
            )
            if not weight.sum() > 0:
                raise ValueError("sample_weight must not be zero for every sample")
        before = get_rng_state()
        manual_seed(int(self._random.randint(2**31 - 1)))
        try:
            if not again:
                self._build(x.shape[1], self.n_outputs_)
            self._train(x, target, weight, whole)
        finally:
            set_rng_state(before)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Build the network and train it.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Taken as float32.
        y : array of shape (n_samples,)
            NetRegressor also takes (n_samples, n_outputs).
        sample_weight : array of shape (n_samples,), optional
            What each sample's loss is multiplied by, relative to their mean.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If shapes disagree, values are not finite, or a setting is out of range.
        """
        self._fit(X, y, sample_weight, whole=True, again=False)
        return self

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float32, order="C", reset=False)
        # A product with one row adds up in another order than one with many. Never fewer than 32:
        # then a sample's prediction does not depend on which others are asked for with it.
        filled = np.concatenate([x, np.zeros((-len(x) % 32, x.shape[1]), x.dtype)])
        return predict(self.module_, filled)[: len(x)].astype(np.float64)


class NetClassifier(ClassifierMixin, _Net):  # type: ignore[misc]
    """A network that classifies, trained with cross-entropy.

    Parameters
    ----------
    module : callable
        ``module(n_features, n_classes)`` returns a Module that gives logits. A top-level function,
        so that it can be pickled.
    optimizer : str or callable
        A name in ``pf.optim``, or ``f(parameters, lr=, weight_decay=)``.
    lr : float
    weight_decay : float
    scheduler : callable, optional
        ``f(optimizer, updates)`` returns a schedule, stepped after each of so many updates;
        ``partial_fit``, which knows no end, keeps to `lr`.
    max_epochs : int
    batch_size : int
    early_stopping : bool
        Hold samples out, stop when their loss has not improved for `patience` epochs, and end with
        the best weights.
    validation_fraction : float
        The share that is held out, stratified by class.
    patience : int
    clip_norm : float, optional
    random_state : int, RandomState or None
        Of initial weights, order, dropout and the held-out samples.
    verbose : bool
        Show a bar.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    module_ : Module
    optimizer_ : Optimizer
    history_ : History
    n_features_in_, n_iter_, n_outputs_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), NetClassifier(lr=0.01, random_state=0))
    >>> bool(cross_val_score(model, X, y, cv=3).mean() > 0.9)
    True
    """

    def _read_targets(self, y: Array, classes: Array | None) -> Array:
        """Numbers of the classes, which are found in y unless they are given."""
        if y.ndim == 2 and y.shape[1] == 1:
            _warn_column()
            y = y.ravel()
        check_classification_targets(y)
        if y.ndim != 1:
            raise ValueError(f"NetClassifier: y must have one column, got shape {y.shape}")
        self.classes_ = np.unique(y) if classes is None else classes
        self.n_outputs_ = len(self.classes_)
        target = np.searchsorted(self.classes_, y).clip(max=self.n_outputs_ - 1)
        if (self.classes_[target] != y).any():
            strange = np.setdiff1d(y, self.classes_)[0]
            raise ValueError(
                f"NetClassifier: y must hold the classes of the first call, got {str(strange)!r}"
            )
        return np.asarray(target, np.int64)

    def _losses(self, output: Any, target: Array) -> Any:
        return ops.cross_entropy(output, target, reduction="none")

    def _strata(self, target: Array) -> Array:
        return target

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """One epoch more; the first call builds the network.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples,)
        classes : array of shape (n_classes,)
            All there will be; needed in the first call.
        sample_weight : array of shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `classes` is missing, or `y` has others.
        """
        again = hasattr(self, "module_")
        if not again and classes is None:
            raise ValueError("NetClassifier: classes must be given in the first partial_fit")
        known = self.classes_ if again else np.unique(classes)
        if classes is not None and not np.array_equal(np.unique(classes), known):
            raise ValueError(f"NetClassifier: classes must stay {known}, got {np.unique(classes)}")
        self._fit(X, y, sample_weight, False, again, known)
        return self

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples, n_classes), float64
        """
        return np.asarray(ops.softmax(self._outputs(X), 1))

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of the probability of each class.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples, n_classes), float64
        """
        return np.asarray(ops.log_softmax(self._outputs(X), 1))

    def predict(self, X: Any) -> Array:
        """The most probable class.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,)
        """
        numbers = self._outputs(X).argmax(1)
        return np.asarray(self.classes_[numbers])


class NetRegressor(RegressorMixin, _Net):  # type: ignore[misc]
    """A network that predicts numbers, trained with the mean squared error.

    Parameters
    ----------
    module : callable
        ``module(n_features, n_outputs)`` returns a Module. A top-level function, so that it can be
        pickled.
    optimizer : str or callable
        A name in ``pf.optim``, or ``f(parameters, lr=, weight_decay=)``.
    lr : float
    weight_decay : float
    scheduler : callable, optional
        ``f(optimizer, updates)`` returns a schedule, stepped after each of so many updates;
        ``partial_fit``, which knows no end, keeps to `lr`.
    max_epochs : int
    batch_size : int
    early_stopping : bool
        Hold samples out, stop when their loss has not improved for `patience` epochs, and end with
        the best weights.
    validation_fraction : float
        The share that is held out.
    patience : int
    clip_norm : float, optional
    random_state : int, RandomState or None
        Of initial weights, order, dropout and the held-out samples.
    verbose : bool
        Show a bar.

    Attributes
    ----------
    module_ : Module
    optimizer_ : Optimizer
    history_ : History
    n_features_in_, n_iter_, n_outputs_ : int

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 80)[:, None]
    >>> model = NetRegressor(lr=0.01, random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(model.score(X, X[:, 0] ** 2) > 0.95)
    True
    """

    def _read_targets(self, y: Array, classes: Array | None) -> Array:
        column = y.ndim == 2 and y.shape[1] == 1
        if column:
            _warn_column()
        self._flat = y.ndim == 1 or column
        target = np.ascontiguousarray(y.reshape(len(y), -1), np.float32)
        self.n_outputs_ = target.shape[1]
        return target

    def _losses(self, output: Any, target: Array) -> Any:
        return ops.mse_loss(output, target, reduction="none").mean(1)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """One epoch more; the first call builds the network.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array of shape (n_samples,), optional

        Returns
        -------
        self
        """
        self._fit(X, y, sample_weight, whole=False, again=hasattr(self, "module_"))
        return self

    def predict(self, X: Any) -> Array:
        """The predicted numbers.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs), float64
        """
        outputs = self._outputs(X)
        return outputs.ravel() if self._flat else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _warn_column() -> None:
    import warnings

    from sklearn.exceptions import DataConversionWarning

    warnings.warn(
        "A column-vector y was passed when a 1d array was expected.",
        DataConversionWarning,
        stacklevel=6,
    )
