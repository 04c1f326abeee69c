"""What models are and see: summary, receptive fields, saliency, batch size, learning rate."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import pyfast as pf
from pyfast import nn

analysis = pf.analysis


def cnn() -> nn.Sequential:
    pf.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, bias=False),
        nn.Flatten(), nn.Linear(16 * 16, 10),
    )  # fmt: skip


# -- summary -------------------------------------------------------------------------------------


def test_summary_counts_as_pytorch_does() -> None:
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, padding=2, dilation=2, bias=False),
        torch.nn.Flatten(), torch.nn.Linear(16 * 16, 10),
    )  # fmt: skip
    with FlopCounterMode(display=False) as counter:
        twin(torch.zeros(2, 3, 16, 16))
    table = pf.summary(cnn(), (2, 3, 16, 16))
    assert 2 * table.macs == counter.get_total_flops()
    assert table.parameters == sum(p.numel() for p in twin.parameters())
    assert [r.output_shape for r in table.rows][3:5] == [(2, 8, 8, 8), (2, 16, 4, 4)]
    assert table.uncounted == ()


def test_summary_of_transposed_convolutions() -> None:
    with FlopCounterMode(display=False) as counter:
        torch.nn.ConvTranspose2d(4, 6, 3, stride=2)(torch.zeros(1, 4, 5, 5))
    assert 2 * pf.summary(nn.ConvTranspose2d(4, 6, 3, stride=2), (1, 4, 5, 5)).macs == (
        counter.get_total_flops()
    )


def test_summary_leaves_modes_and_statistics_alone_and_counts_shared_weights_once() -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.BatchNorm1d(4), nn.Dropout(0.5), layer)
    model[1].eval()
    table = pf.summary(model, np.ones((2, 4), np.float32))
    assert [m.training for m in model] == [True, False, True, True]
    assert model[1].num_batches_tracked.item() == 0
    assert [r.parameters for r in table.rows] == [20, 8, 0, 0]
    assert table.parameters == 28
    model[0].requires_grad_(False)
    assert "trainable parameters: 8" in str(pf.summary(model, (2, 4)))


def test_summary_says_what_it_cannot_count() -> None:
    class Odd(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + 1

    assert "FLOPs not counted: Odd" in str(pf.summary(nn.Sequential(Odd()), (2, 3)))


def test_summary_bad_input() -> None:
    with pytest.raises(TypeError, match="model must be a Module, got int"):
        pf.summary(3, (1, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"positive lengths, got \(1, 0\)"):
        pf.summary(nn.Linear(2, 2), (1, 0))


# -- receptive fields ----------------------------------------------------------------------------


def box_of(seen: np.ndarray[Any, Any]) -> tuple[slice, ...]:
    at = np.argwhere(seen)
    return tuple(slice(a, b + 1) for a, b in zip(at.min(0), at.max(0), strict=True))


MODELS = {
    "strides and dilation": lambda: cnn()[:7],
    "same padding": lambda: nn.Sequential(nn.Conv2d(3, 2, 5, padding="same"), nn.AvgPool2d(3, 1)),
    "oblong": lambda: nn.Sequential(nn.Conv2d(3, 2, (3, 1), (1, 2)), nn.GELU(),
                                    nn.MaxPool2d((1, 2), padding=(0, 1))),
    "padding layer": lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 3, 0)), nn.Conv2d(3, 2, 3)),
    "residual": lambda: Residual(),
    "plain": lambda: nn.Sequential(*[nn.Conv2d(3, 3, 3) for _ in range(4)]),
}  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 4, 1))
        self.last = nn.Conv2d(8, 2, 3, stride=2)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        return self.last(pf.cat([x, self.block(x) * 2 + x], 1))


@pytest.mark.parametrize("name", MODELS)
def test_analytic_fields_are_those_seen_by_gradients(name: str) -> None:
    model, size = MODELS[name](), (3, 23, 25)
    for field in analysis.receptive_field(model, size):
        seen = analysis.gradient_receptive_field(model, field.name, size, samples=200)
        middle = tuple(n // 2 for n in field.output_size)
        assert box_of(seen) == field.box(middle, size[1:]), field


def test_known_fields() -> None:
    fields = analysis.receptive_field(cnn(), (3, 16, 16))
    assert [f.size[0] for f in fields] == [3, 3, 3, 4, 8, 8, 24, 16, 16]
    assert [f.stride[0] for f in fields] == [1, 1, 1, 2, 4, 4, 4, 0, 0]
    assert [f.start[0] for f in fields][:7] == [-1, -1, -1, -1, -3, -3, -11]
    assert fields[0].box((0, 15), (16, 16)) == (slice(0, 2), slice(14, 16))


def test_one_dimension() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.MaxPool1d(2), nn.Conv1d(2, 2, 3))
    assert [f.size for f in analysis.receptive_field(model, (1, 20))] == [(3,), (4,), (8,)]
    assert analysis.gradient_receptive_field(model, "2", (1, 20)).sum() == 8


def test_fields_that_cannot_be_told_are_refused() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3)

        def forward(self, x: Any) -> Any:
            return self.conv(pf.ops.max_pool2d(x, 2))

    with pytest.raises(ValueError, match="MaxPool2d was called as a function"):
        analysis.receptive_field(Functional(), (1, 12, 12))
    with pytest.raises(ValueError, match="ConvTranspose2d"):
        analysis.receptive_field(nn.Sequential(nn.ConvTranspose2d(1, 1, 3)), (1, 12, 12))
    with pytest.raises(ValueError, match=r"input_size must be \(C, H, W\)"):
        analysis.receptive_field(cnn(), 12)
    with pytest.raises(ValueError, match=r"layer must be one of '0', .* got 'x'"):
        analysis.gradient_receptive_field(cnn(), "x", (3, 16, 16))


def test_the_effective_field_lies_in_the_analytic_one() -> None:
    model = cnn()
    images = np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)
    strength = analysis.effective_receptive_field(model, "4", images)
    field = analysis.receptive_field(model, (3, 16, 16))[4]
    inside = np.zeros((16, 16), bool)
    inside[field.box((2, 2), (16, 16))] = True
    assert strength.max() == 1
    assert (strength[~inside] == 0).all()
    assert (strength[inside] > 0).mean() > 0.9


# -- feature maps, saliency ----------------------------------------------------------------------


def test_feature_maps_are_the_layers_outputs() -> None:
    model = cnn()
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    maps = analysis.feature_maps(model, x, ["3", model[8]])
    model.eval()
    np.testing.assert_array_equal(maps["3"], np.asarray(model[:4](x)))
    np.testing.assert_array_equal(maps["8"], np.asarray(model(x)))
    with pytest.raises(ValueError, match="layer must be one of"):
        analysis.feature_maps(model, x, ["nine"])


def test_saliency_of_a_linear_model_is_its_weight() -> None:
    model = nn.Linear(4, 3).double()
    x = np.random.default_rng(0).standard_normal((5, 4))
    target = np.array([0, 1, 2, 1, 0])
    wanted = model.weight.data[target]
    np.testing.assert_allclose(analysis.saliency(model, x, target), wanted)
    np.testing.assert_allclose(analysis.saliency(model, x, target, method="smoothgrad"), wanted)
    np.testing.assert_allclose(analysis.saliency(model, x, target, method="integrated"), wanted * x)


def test_integrated_gradients_add_up_to_the_difference_of_the_scores() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = np.random.default_rng(0).standard_normal((5, 4))
    values = analysis.saliency(model, x, 1, method="integrated", samples=400)
    difference = (model(x) - model(np.zeros((1, 4)))).numpy()[:, 1]
    np.testing.assert_allclose(values.sum(1), difference, atol=1e-4)
    assert model[0].weight.grad is None


def test_saliency_bad_input() -> None:
    model, x = nn.Linear(4, 3), np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match="method must be"):
        analysis.saliency(model, x, method="magic")  # type: ignore[arg-type]
    with pytest.raises(IndexError, match=r"ints in \[0, 3\), got 3"):
        analysis.saliency(model, x, 3)
    with pytest.raises(ValueError, match="input must have shape"):
        analysis.saliency(model, x[:0])
    with pytest.raises(ValueError, match="samples must be positive"):
        analysis.saliency(model, x, samples=0)


# -- learning rate, gradients --------------------------------------------------------------------


def regression() -> tuple[nn.Module, Any, Any]:
    pf.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    model = nn.Sequential(nn.Linear(3, 1))
    data = pf.data.DataLoader((x, x @ np.ones((3, 1), np.float32)), 16, shuffle=True, seed=0)
    return model, pf.optim.SGD(model.parameters(), lr=0.1, momentum=0.5), data


def test_lr_finder_puts_model_and_optimizer_back() -> None:
    model, optimizer, data = regression()
    next(iter(data))
    pf.ops.mse_loss(
        model(pf.Tensor(np.ones((1, 3), np.float32))), np.zeros((1, 1), np.float32)
    ).backward()
    optimizer.step()
    weights = {k: v.data.copy() for k, v in model.state_dict().items()}
    state = copy.deepcopy(optimizer.state_dict())
    found = analysis.lr_finder(model, pf.ops.mse_loss, optimizer, data)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.data, weights[name])
    assert str(optimizer.state_dict()) == str(state)
    assert found.diverged
    assert len(found.lrs) == len(found.losses) == len(found.smoothed) < 100
    # the Hessian of this problem is about 2: SGD diverges above a learning rate of about 1
    assert 1e-3 < found.suggestion < 1
    np.testing.assert_allclose(found.lrs[1:] / found.lrs[:-1], 10 ** (7 / 99))


def test_lr_finder_bad_input() -> None:
    model, optimizer, data = regression()
    find = analysis.lr_finder
    with pytest.raises(ValueError, match="data must not be empty"):
        find(model, pf.ops.mse_loss, optimizer, [])
    with pytest.raises(ValueError, match="0 < min_lr < max_lr"):
        find(model, pf.ops.mse_loss, optimizer, data, min_lr=1, max_lr=0.1)
    with pytest.raises(ValueError, match="steps must be at least 10, got 3"):
        find(model, pf.ops.mse_loss, optimizer, data, steps=3)
    with pytest.raises(ValueError, match="smoothing must be"):
        find(model, pf.ops.mse_loss, optimizer, data, smoothing=1.0)
    with pytest.raises(ValueError, match="optimizer must hold parameters of model"):
        find(model, pf.ops.mse_loss, regression()[1], data)
    with pytest.raises(ValueError, match="not finite"):
        find(model, lambda p, t: pf.ops.mse_loss(p, t) * np.nan, optimizer, data)


def test_gradient_flow_shows_vanishing_gradients() -> None:
    pf.manual_seed(0)
    layers = [m for _ in range(6) for m in (nn.Linear(8, 8), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(8, 1))
    with pytest.raises(ValueError, match=r"backward\(\) first"):
        analysis.gradient_flow(model)
    model(pf.Tensor(np.ones((4, 8), np.float32))).sum().backward()
    flow = analysis.gradient_flow(model)
    assert flow.names == [f"{2 * i}.weight" for i in range(7)]
    assert flow.mean[0] < 1e-2 * flow.mean[-1]
    weight = model[0].weight
    assert flow.relative[0] == pytest.approx(
        np.linalg.norm(weight.grad.data) / np.linalg.norm(weight.data), rel=1e-6
    )
    assert len(analysis.gradient_flow(model, biases=True).names) == 14


# -- batch size ----------------------------------------------------------------------------------


def blobs(n: int = 60) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    x = rng.standard_normal((n, 2)) + 4 * np.eye(3)[labels][:, :2]
    return x.astype(np.float32), labels


def sgd(p: Any, batch_size: int) -> Any:
    return pf.optim.SGD(p, lr=0.1)


def test_batch_sizes_are_measured() -> None:
    result = analysis.batch_size_tradeoff(
        lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)), blobs(), blobs(30),
        [6, 60], optimizer=sgd, epochs=4, seeds=[0, 1],
    )  # fmt: skip
    np.testing.assert_array_equal(result.values("updates"), [[40, 40], [4, 4]])
    assert (result.values("seconds_per_update") > 0).all()
    assert (result.values("sharpness") > 0).all()
    assert result.values("train_loss")[0].mean() < result.values("train_loss")[1].mean()
    assert str(result).count("\n") == 2
    with pytest.raises(ValueError, match="field must be"):
        result.values("speed")


def test_equal_updates_and_repeatability() -> None:
    runs = [
        analysis.batch_size_tradeoff(
            lambda: nn.Linear(2, 3), blobs(), blobs(30), [7, 60], optimizer=sgd, updates=25,
            measure_sharpness=False,
        )
        for _ in range(2)
    ]  # fmt: skip
    np.testing.assert_array_equal(runs[0].values("updates"), [[25], [25]])
    np.testing.assert_array_equal(runs[0].values("train_loss"), runs[1].values("train_loss"))
    assert np.isnan(runs[0].values("sharpness")).all()


def test_batch_size_bad_input() -> None:
    def run(train: Any, sizes: Any, **settings: Any) -> Any:
        settings = {"optimizer": sgd, **settings}
        return analysis.batch_size_tradeoff(
            lambda: nn.Linear(2, 3), train, blobs(), sizes, **settings
        )

    x, y = blobs()
    with pytest.raises(ValueError, match="train must hold as many inputs as labels"):
        run((x[:0], y[:0]), [1])
    with pytest.raises(ValueError, match="60 and 59"):
        run((x, y[:-1]), [1])
    with pytest.raises(ValueError, match="at most the 60 samples, got 61"):
        run((x, y), [61])
    with pytest.raises(ValueError, match="a batch size must be positive, got 0"):
        run((x, y), [0])
    with pytest.raises(ValueError, match="must not be empty"):
        run((x, y), [])
    with pytest.raises(ValueError, match="epochs must be positive"):
        run((x, y), [10], epochs=0)
    with pytest.raises(ValueError, match="loss is nan with batch size 10"):
        run((x, y), [10], loss=lambda p, t: pf.ops.cross_entropy(p, t) * np.nan)
