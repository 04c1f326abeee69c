"""Choosing a learning rate: the range test, schedules, and gradients layer by layer.

On scikit-learn's breast-cancer data (569 samples, 30 features) and diabetes (442, 10).

    python examples/learning_rate.py --output docs/figures
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from figures import options, save
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer, load_diabetes
from tqdm import tqdm

import pyfast as pf
from pyfast import nn


def standardised(load: Any) -> tuple[Any, Any]:
    """Features of mean 0 and deviation 1, float32, and targets."""
    x, y = load(return_X_y=True)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y


def range_test(epochs: int) -> Any:
    """The learning-rate finder on diabetes, and training at three rates around its suggestion."""
    x, y = standardised(load_diabetes)
    y = ((y - y.mean()) / y.std()).astype(np.float32)[:, None]
    data = pf.data.DataLoader((x, y), 32, shuffle=True, seed=0)

    def start(lr: float) -> tuple[nn.Module, Any]:
        pf.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
        return model, pf.optim.SGD(model.parameters(), lr=lr)

    model, optimizer = start(0.1)
    found = pf.analysis.lr_finder(model, pf.ops.mse_loss, optimizer, data, min_lr=1e-4)
    print(f"diabetes: suggestion {found.suggestion:.3g}, diverged: {found.diverged}")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    pf.plot.lr_finder(found, ax=left)
    curves = {}
    for factor in (0.05, 1.0, 8.0):
        lr = factor * found.suggestion
        model, optimizer = start(lr)
        losses = []
        for _ in tqdm(range(epochs), desc=f"lr {lr:.3g}", unit="epoch"):
            total = 0.0
            for inputs, targets in data:
                loss = pf.ops.mse_loss(model(pf.Tensor(inputs)), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(inputs) / len(x)
            losses.append(total)
        curves[f"lr {lr:.2g}"] = losses
        print(f"  lr {lr:.3g}: training loss {losses[-1]:.3f} after {epochs} epochs")
    pf.plot.history(curves, ylabel="training loss (squared deviations)", ax=right)
    left.set_title("range test on diabetes")
    right.set_title("training below, at and above the suggestion")
    return figure


def schedules_figure(steps: int = 100) -> Any:
    """Learning rates over time."""
    lr = pf.optim.lr_scheduler
    makers = {
        "warm-up, then cosine": lambda o: lr.SequentialLR(
            o, [lr.LinearLR(o, 0.05, total_iters=10), lr.CosineAnnealingLR(o, steps - 10)], [10]
        ),
        "one cycle": lambda o: lr.OneCycleLR(o, max_lr=0.1, total_steps=steps),
        "step": lambda o: lr.StepLR(o, 30, gamma=0.3),
        "exponential": lambda o: lr.ExponentialLR(o, 0.97),
        "cosine with restarts": lambda o: lr.CosineAnnealingWarmRestarts(o, 33),
    }
    rates = {}
    for name, make in makers.items():
        optimizer = pf.optim.SGD([pf.Tensor(np.zeros(1), requires_grad=True)], lr=0.1)
        schedule, values = make(optimizer), []
        for _ in range(steps):
            values.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        rates[name] = values
    return pf.plot.schedules(rates).figure


def gradients_figure() -> Any:
    """Twelve layers on breast cancer: sigmoids let gradients vanish, ReLU and norms do not."""
    x, y = standardised(load_breast_cancer)
    flows = {}
    for name, parts in {
        "sigmoid": lambda: [nn.Sigmoid()],
        "ReLU, He initialisation": lambda: [nn.ReLU()],
        "batch norm + sigmoid": lambda: [nn.BatchNorm1d(30), nn.Sigmoid()],
    }.items():
        pf.manual_seed(0)
        layers = [m for _ in range(11) for m in (nn.Linear(30, 30), *parts())]
        model = nn.Sequential(*layers, nn.Linear(30, 2))
        for module in model.modules():
            if isinstance(module, nn.Linear) and "ReLU" in name:
                nn.init.kaiming_normal_(module.weight)
        pf.ops.cross_entropy(model(pf.Tensor(x)), y).backward()
        flow = pf.analysis.gradient_flow(model)
        linear = [i for i, n in enumerate(flow.names)]
        flows[name] = pf.analysis.GradientFlow(
            [str(i + 1) for i in linear], flow.mean, flow.maximum, flow.relative
        )
        print(f"breast cancer, {name}: mean gradient {flow.mean[0]:.1e} in the first layer, "
              f"{flow.mean[-1]:.1e} in the last")  # fmt: skip
    _, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    ax = pf.plot.gradient_flow(flows, ax=ax)
    ax.set(xlabel="linear layer, from input to output", title="after one backward, no training")
    ax.tick_params(axis="x", rotation=0)
    return ax.figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    chosen = options(__doc__, argv)
    save(range_test(3 if chosen.quick else 40), chosen.output / "lr_finder.png")
    save(schedules_figure(), chosen.output / "schedules.png")
    save(gradients_figure(), chosen.output / "gradient_flow.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
