"""fit and its pieces: against a hand-written loop, resumed at every step, and in trouble."""

from __future__ import annotations

import csv
import errno
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import training_worker
from interpreter import python

import pyfast as pf
from pyfast import nn
from pyfast.training import (
    DivergenceError,
    EarlyStopping,
    History,
    Trainer,
    TrainingState,
    evaluate,
    first_non_finite,
    fit,
    load_checkpoint,
    predict,
    save_checkpoint,
)

Array = np.ndarray[Any, Any]


def data(n: int = 60) -> tuple[Array, Array]:
    r = np.random.default_rng(0)
    y = r.integers(0, 3, n)
    return (r.standard_normal((n, 4)) + y[:, None]).astype(np.float32), y


def build() -> nn.Sequential:
    pf.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def adam(model: nn.Module, **settings: Any) -> pf.optim.Adam:
    return pf.optim.Adam(model.parameters(), **settings)


def bits(model: nn.Module) -> bytes:
    return b"".join(v.data.tobytes() for v in model.state_dict().values())


def quick(model: nn.Module, optimizer: Any, source: Any = None, **settings: Any) -> History:
    options = {"epochs": 3, "progress": False, "tensorboard": False, **settings}
    return fit(
        model, pf.ops.cross_entropy, optimizer, data() if source is None else source, **options
    )


def loader(**settings: Any) -> pf.data.DataLoader:
    return pf.data.DataLoader(data(), batch_size=8, shuffle=True, seed=3, **settings)


def test_is_a_plain_loop() -> None:
    by_hand = build()
    optimizer = adam(by_hand)
    for _ in range(3):
        for x, y in loader():
            optimizer.zero_grad()
            pf.ops.cross_entropy(by_hand(pf.Tensor(x)), y).backward()
            optimizer.step()
        break
    fitted = build()
    history = quick(fitted, adam(fitted), loader(), epochs=1)
    assert bits(fitted) == bits(by_hand)
    assert history["step"] == [8]


def test_history_and_logs(tmp_path: Path) -> None:
    model = build()
    x, y = data()
    history = quick(
        model, adam(model), (x[:40], y[:40]), validation=(x[40:], y[40:]), folder=tmp_path,
        metrics={"accuracy": "accuracy", "f1": lambda t, p: float((t == p).mean())},
    )  # fmt: skip
    assert len(history) == 3
    assert history.names() == [
        "epoch", "step", "loss", "val_loss", "val_accuracy", "val_f1", "lr", "seconds",
    ]  # fmt: skip
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["val_loss"]) for r in rows] == history["val_loss"]
    assert history["val_accuracy"] == history["val_f1"]
    saved = pf.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(saved["0.weight"], model[0].weight.numpy())
    with pytest.raises(KeyError, match="no column 'speed'"):
        history["speed"]


def test_tensorboard_has_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    code = f"""
import sys, warnings
sys.path.insert(0, {str(Path(__file__).parent)!r})
warnings.simplefilter("ignore")
from test_trainer import build, adam, quick
model = build()
history = quick(model, adam(model), folder={str(tmp_path)!r}, tensorboard=None)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator({str(tmp_path)!r})
events.Reload()
logged = [(e.step, round(e.value, 5)) for e in events.Scalars("loss")]
assert logged == [(r["step"], round(r["loss"], 5)) for r in history], logged
"""
    python("-c", code)


def test_accumulating_is_a_larger_batch() -> None:
    large, small = build().eval(), build().eval()
    source = pf.data.DataLoader(data(), batch_size=20)
    quick(large, pf.optim.SGD(large.parameters(), lr=0.1), source, epochs=1)
    source = pf.data.DataLoader(data(), batch_size=10)
    pf.manual_seed(0)
    for model, batch, accumulate in [(large := build(), 20, 1), (small := build(), 10, 2)]:
        model[2].p = 0.0
        source = pf.data.DataLoader(data(), batch_size=batch)
        optimizer = pf.optim.SGD(model.parameters(), lr=0.1)
        assert quick(model, optimizer, source, accumulate=accumulate)["step"] == [3, 6, 9]
    np.testing.assert_allclose(small[0].weight.numpy(), large[0].weight.numpy(), rtol=1e-4)


def test_what_is_left_over_is_an_update_too() -> None:
    model = build()
    assert quick(model, adam(model), loader(), accumulate=3)["step"] == [3, 6, 9]  # 8 batches


def test_clipping() -> None:
    model = build()
    before = model[0].weight.numpy().copy()
    quick(model, pf.optim.SGD(model.parameters(), lr=1.0), epochs=1, clip_norm=1e-3, batch_size=60)
    assert 0 < np.linalg.norm(model[0].weight.numpy() - before) < 1.001e-3
    model = build()
    quick(model, pf.optim.SGD(model.parameters(), lr=1.0), epochs=1, clip_value=1e-4, batch_size=60)
    assert 0 < np.abs(model[0].weight.numpy() - before).max() < 1.1e-4


def test_early_stopping_ends_with_the_best_weights() -> None:
    model = build()
    x, y = data()
    wrong = (x[40:], (y[40:] + 1) % 3)  # what is learnt makes this worse
    seen: list[tuple[float, bytes]] = []
    history = quick(
        model, adam(model, lr=0.05), (x[:40], y[:40]), epochs=50, validation=wrong, patience=2,
        on_epoch=lambda t: seen.append((t.history["val_loss"][-1], bits(t.model))),
    )  # fmt: skip
    best = int(np.argmin(history["val_loss"]))
    assert len(history) == best + 4 < 50
    assert bits(model) == seen[best][1]
    model = build()
    quick(model, adam(model), validation=wrong, best_weights=False)
    assert history.best()["epoch"] == best + 1


def test_plateau_and_steps_of_schedules() -> None:
    model = build()
    optimizer = adam(model, lr=0.01)
    plateau = pf.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1e9)
    assert quick(model, optimizer, scheduler=plateau)["lr"][-1] < 0.01
    optimizer = adam(model, lr=0.01)
    schedule = pf.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    quick(model, optimizer, loader(), scheduler=schedule, schedule_every="step", epochs=1)
    assert schedule.last_epoch == 8


def test_several_inputs_and_targets() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, a: Any, b: Any) -> Any:
            return self.layer(a + b)

    def loss(output: Any, y: Array, weight: Array) -> Any:
        return (pf.ops.cross_entropy(output, y, reduction="none") * weight).mean()

    x, y = data()
    model = Sum()
    w = np.ones(len(y), np.float32)
    history = fit(model, loss, adam(model), (x, x, y, w), epochs=2, targets=2, progress=False)
    assert history["loss"][1] < history["loss"][0]
    assert predict(model, (x, x)).shape == (60, 3)
    assert evaluate(model, loss, (x, x, y, w), targets=2)["loss"] > 0


def test_pieces() -> None:
    model = build()
    trainer = Trainer(model, pf.ops.cross_entropy, adam(model), loader())
    losses = [trainer.step([batch]) for batch in loader()]
    assert trainer.steps == len(losses) == 8
    assert trainer.epoch()["epoch"] == 1


# -- resuming --------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def trainer_of(folder: Path, every: int, accumulate: int) -> Trainer:
    pf.manual_seed(0)
    model = training_worker.build()
    optimizer = adam(model, lr=0.01)
    x, y = training_worker.data(60)
    return Trainer(
        model, pf.ops.cross_entropy, optimizer,
        pf.data.DataLoader((x[:44], y[:44]), batch_size=8, shuffle=True, seed=1),
        validation=(x[44:], y[44:]), accumulate=accumulate, patience=1, folder=folder,
        scheduler=pf.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5),
        checkpoint_every=every, tensorboard=False,
    )  # fmt: skip


@pytest.mark.parametrize(("every", "accumulate"), [(1, 1), (1, 2), (2, 4)])
def test_stopped_after_any_checkpoint_it_ends_the_same(
    tmp_path: Path, every: int, accumulate: int
) -> None:
    import random

    def run(folder: Path, saves: int) -> bytes:
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        trainer = trainer_of(folder, every, accumulate)
        trainer.resume()
        save, left = trainer.save, saves

        def counted() -> Path:
            nonlocal left
            path = save()
            left -= 1
            if left == 0:
                raise Killed
            return path

        trainer.save = counted  # type: ignore[method-assign,assignment]
        trainer.run(4, progress=False)
        return bits(trainer.model)

    whole = run(tmp_path / "whole", 0)
    for saves in range(1, 40):
        folder = tmp_path / str(saves)
        try:
            run(folder, saves)
        except Killed:
            assert run(folder, 0) == whole, saves
        else:
            break  # there are no more checkpoints
    assert saves > 8
    assert run(tmp_path / "whole", 0) == whole  # a finished run stays as it is


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "history.csv", "model.safetensors"])
def test_what_a_killed_run_left_is_removed(tmp_path: Path, name: str) -> None:
    torn = tmp_path / f".{name}.x1y2"
    torn.write_bytes(b"half")
    assert not trainer_of(tmp_path, 1, 1).resume()
    assert not torn.exists()


# -- trouble ---------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    model = build()
    optimizer = adam(model)
    quick(model, optimizer, loader(), folder=tmp_path, checkpoint_every=1, epochs=1)
    good = (tmp_path / "checkpoint.safetensors").read_bytes()

    class Breaks(nn.Module):
        calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += self.training
            return x * (np.float32(np.inf) if self.calls > 10 else np.float32(1))

    broken = nn.Sequential(model[0], Breaks(), model[1], model[3])
    trainer = Trainer(
        broken, pf.ops.cross_entropy, adam(broken), loader(), folder=tmp_path / "b",
        checkpoint_every=5, tensorboard=False,
    )  # fmt: skip
    with pytest.raises(DivergenceError) as caught:
        trainer.run(3, progress=False)
    checkpoint = tmp_path / "b" / "checkpoint.safetensors"
    assert caught.value.step == 11
    assert caught.value.layer == "output of 1 (Breaks)"
    assert caught.value.checkpoint == checkpoint
    assert re.search(
        r"loss is nan at step 11; first not finite: output of 1 \(Breaks\); the last good "
        r"checkpoint is .*checkpoint\.safetensors", str(caught.value),
    )  # fmt: skip
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == good


def test_weights_that_diverge_do_not_replace_the_checkpoint(tmp_path: Path) -> None:
    model = build()
    trainer = Trainer(model, pf.ops.cross_entropy, adam(model), loader(), folder=tmp_path)
    trainer.save()
    model[3].bias.data[1] = np.nan
    with pytest.raises(DivergenceError, match=r"weights diverged at step 0.*parameter 3\.bias"):
        trainer.save()
    assert np.isfinite(pf.load(tmp_path / "checkpoint.safetensors")["model"]["3.bias"]).all()
    with pytest.raises(DivergenceError, match=r"first not finite: parameter 3\.bias"):
        trainer.step([data()])


def test_a_validation_loss_that_is_no_number_stops() -> None:
    model = build()
    x, y = data()
    bad = x.copy()
    bad[17, 0] = np.nan
    trainer = Trainer(model, pf.ops.cross_entropy, adam(model), loader(), validation=(bad, y))
    with pytest.raises(DivergenceError, match=r"validation loss is nan at step .*: input of 0"):
        trainer.run(3, progress=False)
    assert not trainer.history.rows
    assert all(module.training for module in model.modules())


def test_where_the_first_value_is_not_finite() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    before = bits(model)
    x = data()[0]
    assert first_non_finite(model, lambda: model(x)) == "the loss itself"
    assert bits(model) == before
    x[3, 1] = np.nan
    assert first_non_finite(model, lambda: model(x)) == "input of 0 (BatchNorm1d)"


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    assert resource
    code = f"""
import sys, resource, signal, pathlib
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_trainer import build, adam, loader
import pyfast as pf
from pyfast.training import Trainer
folder = pathlib.Path({str(tmp_path)!r})
model = build()
trainer = Trainer(model, pf.ops.cross_entropy, adam(model), loader(), folder=folder)
trainer.epoch()
old = trainer.save().read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, len(old) // 2))
try:
    trainer.epoch()
    trainer.save()
except OSError as problem:
    print(problem.errno, problem)
assert (folder / "checkpoint.safetensors").read_bytes() == old
assert [p.name for p in folder.iterdir()] == ["checkpoint.safetensors"]
"""
    output = python("-c", code).stdout
    assert output.startswith(f"{errno.EFBIG} ")
    assert "checkpoint.safetensors could not be written" in output
    assert "the old file is intact" in output


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"accumulate": 0}, "accumulate must be positive, got 0"),
        ({"checkpoint_every": 0, "folder": "x"}, "checkpoint_every must be positive, got 0"),
        ({"checkpoint_every": 5}, "checkpoint_every needs a folder"),
        ({"resume": True}, "resume needs a folder"),
        ({"schedule_every": "day"}, "schedule_every must be 'epoch' or 'step', got 'day'"),
        ({"patience": -1}, "patience must not be negative"),
        ({"mode": "up"}, "mode must be 'min' or 'max'"),
        ({"monitor": "val_f1"}, "monitor must be one of .*, got 'val_f1'"),
        ({"metrics": ["speediness"]}, "scikit-learn has no metric 'speediness'"),
        ({"metrics": ["accuracy"]}, "metrics need validation data"),
        ({"epochs": -1}, "epochs must be at least 0, got -1"),
        ({"targets": 0}, "targets must be positive, got 0"),
        ({"clip_norm": 0.0}, r"clip_norm must be positive, got 0\.0"),
        ({"clip_value": float("nan")}, "clip_value must be positive, got nan"),
    ],
)
def test_bad_settings(settings: dict[str, Any], match: str) -> None:
    model = build()
    with pytest.raises(ValueError, match=match):
        quick(model, adam(model), **settings)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"epochs": 1.5}, r"epochs must be an int, got 1\.5"),
        ({"accumulate": 1.5}, r"accumulate must be an int, got 1\.5"),
        ({"scheduler": 3}, "scheduler must be a schedule of pf.optim, got int"),
        ({"loss": 3}, "loss must be callable, got 3"),
        ({"loss": lambda output, y: 1.0}, r"loss must return a Tensor of one value, got 1\.0"),
        (
            {"loss": lambda output, y: pf.ops.cross_entropy(output, y, reduction="none")},
            r"loss must return a Tensor of one value, got shape \(32,\)",
        ),
        ({"model": lambda x: x}, "model must be a Module, got function"),
        ({"optimizer": "Adam"}, "optimizer must be an Optimizer, got str"),
    ],
)
def test_parts_of_another_type(settings: dict[str, Any], match: str) -> None:
    model = build()
    parts = {"model": model, "loss": pf.ops.cross_entropy, "optimizer": adam(model), **settings}
    with pytest.raises(TypeError, match=f"fit: {match}"):
        fit(data=data(), progress=False, **parts)


def test_parts_of_something_else() -> None:
    """Both would run and change nothing."""
    model, other = build(), build()
    with pytest.raises(ValueError, match="optimizer must hold parameters of model"):
        quick(model, adam(other))
    schedule = pf.optim.lr_scheduler.StepLR(adam(other), 3)
    with pytest.raises(ValueError, match="scheduler must be one of optimizer"):
        quick(model, adam(model), scheduler=schedule)


def test_learning_rates_that_train_nothing() -> None:
    model = build()
    for lr in (0, -0.1):
        with pytest.raises(ValueError, match=f"Adam: lr must be positive and finite, got {lr}"):
            adam(model, lr=lr)
    optimizer = adam(model)
    optimizer.param_groups[0]["lr"] = 0.0
    with pytest.raises(ValueError, match=r"fit: lr must be positive, got 0\.0 in group 0"):
        quick(model, optimizer)
    climbs = pf.optim.lr_scheduler.LambdaLR(optimizer := adam(model), lambda epoch: 1.0 - epoch)
    with pytest.raises(ValueError, match=r"adam_step: lr must be finite and not negative, got -0"):
        quick(model, optimizer, scheduler=climbs)


def test_data_that_cannot_be_trained_on() -> None:
    model = build()
    x, y = data()
    with pytest.raises(ValueError, match="data must have at least one batch, got an empty loader"):
        quick(model, adam(model), pf.data.DataLoader((x, y), batch_size=99, drop_last=True))
    with pytest.raises(ValueError, match="data must have at least one batch, got none"):
        quick(model, adam(model), iter([]))
    with pytest.raises(ValueError, match="data must not be empty"):
        quick(model, adam(model), (x[:0], y[:0]))
    with pytest.raises(IndexError, match=r"target must be in \[0, 3\).*got 7"):
        quick(model, adam(model), (x, np.where(y == 1, 7, y)))
    with pytest.raises(ValueError, match="a batch must be a tuple of inputs and then 1"):
        quick(model, adam(model), pf.data.DataLoader(x, batch_size=8))
    with pytest.raises(ValueError, match="checkpoint_every needs data in a DataLoader"):
        quick(model, adam(model), iter([(x, y)]), checkpoint_every=1, folder="x")
    with pytest.raises(ValueError, match="more than once"):
        pf.optim.Adam([{"params": model.parameters()}, {"params": [model[0].weight]}])


def test_checkpoints_of_something_else(tmp_path: Path) -> None:
    model = build()
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, TrainingState(model, adam(model)))
    wide = nn.Sequential(nn.Linear(4, 17), nn.ReLU(), nn.Dropout(0.2), nn.Linear(17, 3))
    deep = nn.Sequential(*build(), nn.Linear(3, 3))
    short = nn.Sequential(nn.Linear(4, 16))
    for other, match in [
        (wide, r"another architecture, 0\.weight has shape \(16, 4\), not \(17, 4\)"),
        (deep, r"another architecture, it lacks 4\.weight"),
        (short, r"another architecture, it also has 3\.(weight|bias)"),
        (build().double(), r"another architecture, 0\.weight has dtype float32, not float64"),
    ]:
        before = bits(other)
        with pytest.raises(ValueError, match=match):
            load_checkpoint(path, TrainingState(other, adam(other)))
        assert bits(other) == before
    pf.save({"w": np.ones(2)}, path)
    with pytest.raises(ValueError, match="not a training checkpoint of this version"):
        load_checkpoint(path, TrainingState(model, adam(model)))


def warm_up(optimizer: Any, *rest: str) -> pf.optim.lr_scheduler.SequentialLR:
    """One step of warm-up, then the named schedules for ten steps each."""
    schedules = pf.optim.lr_scheduler
    parts = [schedules.ConstantLR(optimizer, 0.5)]
    parts += [getattr(schedules, name)(optimizer, 10) for name in rest]
    return schedules.SequentialLR(optimizer, parts, [1 + 10 * i for i in range(len(rest))])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"optimizer": lambda m: pf.optim.SGD(m.parameters())},
            "optimizer must be 'Adam' to go on from it, got 'SGD'",
        ),
        (
            {"optimizer": lambda m: pf.optim.Adam([{"params": m[i].parameters()} for i in (0, 3)])},
            r"parameters in each group must be \[4\] .*got \[2, 2\]",
        ),
        (
            {"schedule": lambda o: pf.optim.lr_scheduler.CosineAnnealingLR(o, 10)},
            "scheduler must be 'SequentialLR.ConstantLR, StepLR.' to go on from it, "
            "got 'CosineAnnealingLR'",
        ),
        (
            {"schedule": lambda o: warm_up(o, "CosineAnnealingLR")},
            "scheduler must be .*StepLR.*, got 'SequentialLR.ConstantLR, CosineAnnealingLR.'",
        ),
        ({"schedule": lambda o: warm_up(o)}, "scheduler must be .*, got '.*LR.ConstantLR.'"),
        ({"schedule": lambda o: None}, "scheduler must be .*, got None"),
        ({"data": lambda: iter([data()])}, "loader must be 'DataLoader' .*, got None"),
        ({"data": lambda: data(52)}, "items in the data must be 60 .*, got 52"),
        ({"batch_size": 12}, "batches in an epoch must be 8 to go on from it, got 5"),
        ({"accumulate": 2}, "accumulate must be 1 to go on from it, got 2"),
        ({"schedule_every": "epoch"}, "schedule_every must be 'step' .*, got 'epoch'"),
    ],
)  # fmt: skip
def test_resuming_with_something_else(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    def trainer(**settings: Any) -> Trainer:
        model = build()
        optimizer = settings.pop("optimizer", adam)(model)
        schedule = settings.pop("schedule", lambda o: warm_up(o, "StepLR"))(optimizer)
        source = settings.pop("data", data)()
        return Trainer(
            model, pf.ops.cross_entropy, optimizer, source, scheduler=schedule, folder=tmp_path,
            **{"batch_size": 8, "schedule_every": "step", **settings},
        )  # fmt: skip

    first = trainer()
    first.epoch()
    first.save()
    assert trainer().resume()
    other = trainer(**changes)
    before = bits(other.model), str(other.optimizer), other.steps
    with pytest.raises(ValueError, match=f"checkpoint .*checkpoint.safetensors: {match}"):
        other.resume()
    assert (bits(other.model), str(other.optimizer), other.steps) == before


def test_the_checkpoint_decides_the_order_of_the_data(tmp_path: Path) -> None:
    saved = Trainer(model := build(), pf.ops.cross_entropy, adam(model), loader(), folder=tmp_path)
    saved.epoch()
    saved.save()
    other = pf.data.DataLoader(data(), batch_size=8, shuffle=True, seed=4)
    trainer = Trainer(model := build(), pf.ops.cross_entropy, adam(model), other, folder=tmp_path)
    assert trainer.resume()
    assert (other.seed, other.epoch) == (3, 1)


def test_early_stopping_counts() -> None:
    stopping = EarlyStopping(patience=None, mode="max", min_delta=0.1)
    assert [stopping.update(s) for s in (0.5, 0.55, 0.7, float("nan"))] == [
        True, False, True, False,
    ]  # fmt: skip
    assert not stopping.should_stop
    with pytest.raises(ValueError, match="min_delta must not be negative"):
        EarlyStopping(min_delta=-1)


def test_history_draws() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    history = History([{"epoch": e, "loss": 1 / e, "val_loss": 2 / e} for e in (1, 2, 3)])
    ax = history.plot()
    assert [line.get_label() for line in ax.get_lines()] == ["training", "validation"]
    assert ax.get_xlabel() == "epoch"
    matplotlib.pyplot.close(ax.figure)
