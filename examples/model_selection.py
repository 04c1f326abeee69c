"""Choosing a model: three networks, five folds, the best validation score, one final test.

The digits are split once. The quarter that is held out plays no part until the choice is made and
is then looked at a single time: a score that was used for choosing is no longer a fair one.

    python examples/model_selection.py [--output FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
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


def search(x: np.ndarray, y: np.ndarray, epochs: int, n_jobs: int) -> GridSearchCV:
    """Every network on every fold; the best one is fitted again to all of x."""
    model = NetClassifier(
        optimizer="AdamW", lr=2e-3, weight_decay=0.02, batch_size=64, max_epochs=epochs,
        random_state=0,
    )  # fmt: skip
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    grid = {"module": [linear, perceptron, convolutional]}
    return GridSearchCV(model, grid, cv=folds, n_jobs=n_jobs, verbose=1).fit(x, y)


def fold_scores(result: GridSearchCV) -> dict[str, np.ndarray]:
    """Validation accuracy of each network on each fold."""
    table = result.cv_results_
    scores = np.stack([table[f"split{i}_test_score"] for i in range(result.n_splits_)], 1)
    return {m.__name__: row for m, row in zip(table["param_module"], scores, strict=True)}


def draw(scores: dict[str, np.ndarray], test: float, best: str, path: Path) -> None:
    """Each fold's score, their mean, and the test score of the chosen network."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    percent = {name: 100 * row for name, row in scores.items()}
    pf.plot.cv_scores(percent, test={best: 100 * test}, ylabel="accuracy (%)", ax=ax)
    ax.set_title("Digits: validation decides, the test set is looked at once")
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.savefig(path, dpi=80)


def main() -> None:
    """Choose by cross-validation, then look at the test set."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=80)
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--output", type=Path, default=Path("figures"), metavar="FOLDER")
    chosen = options.parse_args()
    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(
        x, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    result = search(x, y, chosen.epochs, chosen.jobs)
    scores = fold_scores(result)
    for name, row in scores.items():
        print(f"{name:14} {100 * row.mean():6.2f} %   folds {np.round(100 * row, 1)}")
    best = result.best_params_["module"].__name__
    test = result.score(x_test, y_test)
    print(f"chosen: {best}, {100 * result.best_score_:.2f} % cross-validated; ", end="")
    print(f"on the {len(y_test)} test images {100 * test:.2f} %")
    draw(scores, test, best, chosen.output / "model_selection.png")


if __name__ == "__main__":
    main()
