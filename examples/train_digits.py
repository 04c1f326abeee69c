"""A CNN learns the digits through fit: stop it at any moment and start it again, it goes on.

python examples/train_digits.py [--output FOLDER] [--epochs N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyfast as pf
from pyfast.demo import build_model, load_digits
from pyfast.training import evaluate, fit


def main() -> None:
    """Train with validation, early stopping and checkpoints; test once."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--output", type=Path, default=Path("digits-run"), metavar="FOLDER")
    options.add_argument("--epochs", type=int, default=20)
    chosen = options.parse_args()
    pf.manual_seed(0)
    (x, y), test = load_digits()
    model = build_model()
    optimizer = pf.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    loader = pf.data.DataLoader((x[:1100], y[:1100]), batch_size=64, shuffle=True, seed=0)
    steps = chosen.epochs * len(loader)
    history = fit(
        model,
        pf.ops.cross_entropy,
        optimizer,
        loader,
        epochs=chosen.epochs,
        validation=(x[1100:], y[1100:]),
        metrics=["accuracy"],
        scheduler=pf.optim.lr_scheduler.WarmupLR(optimizer, 40, steps, "cosine"),
        schedule_every="step",
        clip_norm=5.0,
        patience=8,
        folder=chosen.output,
        checkpoint_every=20,
        resume=True,
    )
    best = history.best("val_loss")
    print(f"best epoch {best['epoch']}: validation accuracy {best['val_accuracy']:.2%}")
    print(
        f"test accuracy {evaluate(model, pf.ops.cross_entropy, test, ['accuracy'])['accuracy']:.2%}"
    )


if __name__ == "__main__":
    main()
