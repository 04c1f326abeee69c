"""Choosing a model: three networks, five folds, the best validation score, one final test.

The digits are split once. The quarter that is held out plays no part until the choice is made and
is then looked at a single time: a score that was used for choosing is no longer a fair one.

    python examples/model_selection.py --output docs/figures
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from figures import options, save
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split

import pyfast as pf
from pyfast import nn
from pyfast.sklearn import NetClassifier


def linear(n_inputs: int, n_outputs: int) -> nn.Module:
    """Too simple: a straight boundary between any two digits."""
    return nn.Linear(n_inputs, n_outputs)


def perceptron(n_inputs: int, n_outputs: int) -> nn.Module:
    """One hidden layer, which knows nothing of which pixels are neighbours."""
    return nn.Sequential(
        nn.Linear(n_inputs, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, n_outputs)
    )


class Shift(nn.Module):
    """While training, each image is moved by at most one pixel each way."""

    def forward(self, x: Any) -> Any:
        """Images of shape (N, 1, H, W) in and out."""
        if not self.training:
            return x
        images = x.numpy() if isinstance(x, pf.Tensor) else x
        height, width = images.shape[2:]
        padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
        rng = pf.random.default_generator.numpy()
        down, right = rng.integers(0, 3, (2, len(images)))
        return pf.Tensor(np.ascontiguousarray(windows[np.arange(len(images)), :, down, right]))


def convolutional(n_inputs: int, n_outputs: int) -> nn.Module:
    """Filters that see neighbours, and learn from shifted copies."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        Shift(),
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Conv2d(64, 128, 3, padding=1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(512, n_outputs),
    )


def one_cycle(optimizer: pf.optim.Optimizer, updates: int) -> pf.optim.lr_scheduler.LRScheduler:
    """The learning rate rises, then falls to nearly zero."""
    return pf.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=updates)


def search(x: np.ndarray, y: np.ndarray, epochs: int) -> GridSearchCV:
    """Every network on every fold; the best one is fitted again to all of x."""
    model = NetClassifier(
        optimizer="AdamW",
        weight_decay=0.02,
        scheduler=one_cycle,
        max_epochs=epochs,
        random_state=0,
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    grid = {"module": [linear, perceptron, convolutional]}
    return GridSearchCV(model, grid, cv=folds, verbose=1).fit(x, y)


def fold_scores(result: GridSearchCV) -> dict[str, np.ndarray]:
    """Validation accuracy of each network on each fold."""
    table = result.cv_results_
    scores = np.stack([table[f"split{i}_test_score"] for i in range(result.n_splits_)], 1)
    return {m.__name__: row for m, row in zip(table["param_module"], scores, strict=True)}


def draw(scores: dict[str, np.ndarray], test: float, best: str) -> Any:
    """Each fold's score, their mean, and the test score of the chosen network."""
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    percent = {name: 100 * row for name, row in scores.items()}
    pf.plot.cv_scores(percent, test={best: 100 * test}, ylabel="accuracy (%)", ax=ax)
    ax.set_title("Digits: validation decides, the test set is looked at once")
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Choose by cross-validation, then look at the test set."""
    chosen = options(__doc__, argv)
    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(
        x, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    result = search(x, y, 1 if chosen.quick else 40)
    scores = fold_scores(result)
    for name, row in scores.items():
        print(f"{name:14} {100 * row.mean():6.2f} %   folds {np.round(100 * row, 1)}")
    best = result.best_params_["module"].__name__
    test = result.score(x_test, y_test)
    print(f"chosen: {best}, {100 * result.best_score_:.2f} % cross-validated; ", end="")
    print(f"on the {len(y_test)} test images {100 * test:.2f} %")
    save(draw(scores, test, best), chosen.output / "model_selection.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
