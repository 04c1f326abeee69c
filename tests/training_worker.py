"""A training run in a process of its own, to be killed: ``training_worker.py FOLDER EPOCHS EVERY``.

Everything that a checkpoint must carry is in it: dropout, batch norm's running statistics,
momentum, a schedule by updates, accumulation, NumPy's and Python's global random numbers, early
stopping's memory, the best weights.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np

import pyfast as pf
from pyfast import nn


def data(n: int = 96) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    r = np.random.default_rng(0)
    y = r.integers(0, 3, n)
    x = (r.standard_normal((n, 1, 6, 6)) + y[:, None, None, None]).astype(np.float32)
    return x, y


class Noisy(nn.Module):
    """Adds noise from the two global generators while training."""

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x
        scale = 0.1 * np.random.random() * random.random()  # noqa: NPY002
        return x + np.float32(scale)


def build() -> nn.Module:
    return nn.Sequential(
        Noisy(),
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64, 3),
    )


def main(folder: str, epochs: int, every: int) -> None:
    pf.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    model = build()
    optimizer = pf.optim.AdamW(model.parameters(), lr=0.01)
    x, y = data()
    loader = pf.data.DataLoader((x[:72], y[:72]), batch_size=8, shuffle=True, seed=1)
    print("training", flush=True)
    pf.training.fit(
        model,
        pf.ops.cross_entropy,
        optimizer,
        loader,
        epochs=epochs,
        validation=(x[72:], y[72:]),
        scheduler=pf.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=5 * epochs),
        schedule_every="step",
        clip_norm=1.0,
        accumulate=2,
        folder=folder,
        checkpoint_every=every,
        resume=True,
        tensorboard=False,
        progress=False,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
