"""Every layer against PyTorch's of the same name: state, values, gradients, repr."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast import nn

IMAGE = (2, 4, 6, 6)
ROW = (2, 4, 9)
FLAT = (3, 5)

# class, arguments, keywords, shapes of the input
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Identity", (3,), {"x": 1}, FLAT),
    ("Linear", (5, 4), {}, FLAT),
    ("Linear", (5, 4), {"bias": False}, (2, 3, 5)),
    ("Conv1d", (4, 6, 3), {}, ROW),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}, ROW),
    ("Conv1d", (4, 6, 4), {"padding": "same", "bias": False}, ROW),
    ("Conv2d", (4, 6, 3), {}, IMAGE),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "groups": 2}, IMAGE),
    ("Conv2d", (4, 6, 3), {"padding": "valid"}, IMAGE[1:]),
    ("Conv2d", (4, 6, 4), {"padding": "same", "padding_mode": "reflect"}, IMAGE),
    ("Conv2d", (4, 6, 3), {"padding": 2, "padding_mode": "circular"}, IMAGE),
    ("Conv2d", (4, 6, 3), {"padding": (1, 2), "padding_mode": "replicate"}, IMAGE),
    ("Conv2d", (4, 6, 3), {"padding": "valid", "padding_mode": "circular"}, IMAGE),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1, "groups": 2}, ROW),
    ("ConvTranspose2d", (4, 6, 3), {"padding": 1, "dilation": 2}, IMAGE),
    ("ConvTranspose2d", (4, 6, (2, 3)), {"stride": 2, "bias": False}, IMAGE),
    ("MaxPool1d", (2,), {}, ROW),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1, "return_indices": True}, ROW),
    ("MaxPool2d", (2,), {}, IMAGE),
    ("MaxPool2d", ((3, 2),), {"stride": 2, "padding": 1, "ceil_mode": True}, IMAGE),
    ("MaxPool2d", (2,), {"dilation": 2, "return_indices": True}, IMAGE),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, ROW),
    ("AvgPool2d", (2,), {}, IMAGE),
    ("AvgPool2d", (3,), {"stride": 2, "ceil_mode": True, "divisor_override": 5}, IMAGE),
    ("AdaptiveAvgPool1d", (4,), {}, ROW),
    ("AdaptiveAvgPool2d", ((3, None),), {}, IMAGE),
    ("AdaptiveMaxPool1d", (4,), {}, ROW),
    ("AdaptiveMaxPool2d", ((3, 2),), {"return_indices": True}, IMAGE),
    ("BatchNorm1d", (5,), {}, FLAT),
    ("BatchNorm1d", (4,), {"momentum": None}, ROW),
    ("BatchNorm2d", (4,), {"eps": 1e-3, "momentum": 0.3}, IMAGE),
    ("BatchNorm2d", (4,), {"affine": False}, IMAGE),
    ("BatchNorm2d", (4,), {"bias": False}, IMAGE),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, IMAGE),
    ("InstanceNorm1d", (4,), {}, ROW),
    ("InstanceNorm1d", (4,), {"affine": True}, ROW[1:]),
    ("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True}, IMAGE),
    ("LayerNorm", (6,), {}, IMAGE),
    ("LayerNorm", ((6, 6),), {"bias": False, "eps": 1e-3}, IMAGE),
    ("LayerNorm", (6,), {"elementwise_affine": False}, IMAGE),
    ("RMSNorm", (6,), {}, IMAGE),
    ("RMSNorm", ((6, 6),), {"elementwise_affine": False, "eps": 1e-4}, IMAGE),
    ("GroupNorm", (2, 4), {}, IMAGE),
    ("GroupNorm", (4, 4), {"affine": False}, ROW),
    ("Dropout", (0.0,), {}, FLAT),
    ("Dropout1d", (0.0,), {}, ROW),
    ("Dropout2d", (0.0,), {}, IMAGE),
    ("AlphaDropout", (0.0,), {}, FLAT),
    ("Flatten", (), {}, IMAGE),
    ("Flatten", (-3, -2), {}, IMAGE),
    ("Unflatten", (1, (2, -1)), {}, IMAGE),
    ("Unflatten", (-1, (2, 3)), {}, IMAGE),
    ("Unfold", (2,), {"padding": 1, "stride": 2}, IMAGE),
    ("Fold", (6, 2), {"stride": 2}, (2, 8, 9)),
    ("ReLU", (), {}, FLAT),
    ("ReLU", (), {"inplace": False}, FLAT),
    ("ReLU6", (), {}, FLAT),
    ("GELU", (), {}, FLAT),
    ("GELU", ("tanh",), {}, FLAT),
    ("SiLU", (), {}, FLAT),
    ("ELU", (0.7,), {}, FLAT),
    ("SELU", (), {}, FLAT),
    ("CELU", (0.7,), {}, FLAT),
    ("LeakyReLU", (0.2,), {}, FLAT),
    ("PReLU", (), {}, FLAT),
    ("PReLU", (4, 0.1), {}, IMAGE),
    ("Sigmoid", (), {}, FLAT),
    ("LogSigmoid", (), {}, FLAT),
    ("Tanh", (), {}, FLAT),
    ("Tanhshrink", (), {}, FLAT),
    ("Softplus", (2.0, 1.5), {}, FLAT),
    ("Softsign", (), {}, FLAT),
    ("Mish", (), {}, FLAT),
    ("Hardswish", (), {}, FLAT),
    ("Hardsigmoid", (), {}, FLAT),
    ("Hardtanh", (-0.5, 0.3), {}, FLAT),
    ("Hardshrink", (0.3,), {}, FLAT),
    ("Softshrink", (0.3,), {}, FLAT),
    ("Threshold", (0.1, 2.0), {}, FLAT),
    ("GLU", (1,), {}, IMAGE),
    ("Softmax", (1,), {}, IMAGE),
    ("Softmin", (1,), {}, IMAGE),
    ("LogSoftmax", (1,), {}, IMAGE),
    ("ZeroPad1d", (2,), {}, ROW),
    ("ZeroPad2d", ((1, 2, 0, 1),), {}, IMAGE),
    ("ConstantPad1d", (1, 0.5), {}, ROW),
    ("ConstantPad2d", ((1, 2, 0, 1), -0.5), {}, IMAGE),
    ("ReflectionPad1d", (2,), {}, ROW),
    ("ReflectionPad2d", ((1, 2, 0, 1),), {}, IMAGE),
    ("ReplicationPad1d", ((2, 1),), {}, ROW),
    ("ReplicationPad2d", (2,), {}, IMAGE),
    ("CircularPad1d", (2,), {}, ROW),
    ("CircularPad2d", ((1, 2, 0, 1),), {}, IMAGE),
]

LOSSES: list[tuple[str, dict[str, Any], str]] = [
    ("MSELoss", {}, "same"),
    ("MSELoss", {"reduction": "none"}, "same"),
    ("L1Loss", {"reduction": "sum"}, "same"),
    ("SmoothL1Loss", {"beta": 0.5}, "same"),
    ("HuberLoss", {"delta": 0.5}, "same"),
    ("KLDivLoss", {"reduction": "batchmean"}, "probability"),
    ("KLDivLoss", {"log_target": True, "reduction": "sum"}, "same"),
    ("BCELoss", {"weight": np.array([1.0, 2, 3, 4])}, "probability"),
    ("BCEWithLogitsLoss", {"pos_weight": np.array([1.0, 2, 3, 4])}, "probability"),
    ("CrossEntropyLoss", {}, "label"),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, "probability"),
    ("CrossEntropyLoss", {"weight": np.array([1.0, 2, 3, 4]), "ignore_index": 1}, "label"),
    ("NLLLoss", {"weight": np.array([1.0, 2, 3, 4]), "reduction": "none"}, "label"),
]


def label(value: Any) -> str:
    return value if isinstance(value, str) else ""


def pair(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Our layer with PyTorch's weights, and PyTorch's own."""
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def first(outputs: Any) -> Any:
    return outputs[0] if isinstance(outputs, tuple) else outputs


def compare(got: Any, want: Any, what: str) -> None:
    np.testing.assert_allclose(
        np.asarray(got), want.detach().numpy(), rtol=2e-4, atol=2e-5, err_msg=what
    )


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS, ids=label)
def test_layer_is_torchs(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[int, ...]
) -> None:
    ours, theirs = pair(name, args, kwargs)
    assert repr(ours) == repr(theirs)
    rng = np.random.default_rng(1)
    for mode in (True, True, False):
        ours.train(mode)
        theirs.train(mode)
        data = rng.standard_normal(shape).astype(np.float32)
        x, y = pf.Tensor(data, True), torch.tensor(data, requires_grad=True)
        got, want = ours(x), theirs(y)
        for a, b in zip(*[o if isinstance(o, tuple) else (o,) for o in (got, want)], strict=True):
            compare(a, b, "output")
        seed = rng.standard_normal(first(got).shape).astype(np.float32)
        ours.zero_grad()
        theirs.zero_grad()
        first(got).backward(seed)
        first(want).backward(torch.from_numpy(seed))
        compare(x.grad, y.grad, "gradient of the input")
        gradients = dict(theirs.named_parameters())
        for path, parameter in ours.named_parameters():
            compare(parameter.grad, gradients[path].grad, path)
        buffers = dict(theirs.named_buffers())
        for path, buffer in ours.named_buffers():
            compare(buffer, buffers[path], path)


@pytest.mark.parametrize(("name", "kwargs", "kind"), LOSSES, ids=label)
def test_loss_is_torchs(name: str, kwargs: dict[str, Any], kind: str) -> None:
    rng = np.random.default_rng(2)
    ours = getattr(nn, name)(**kwargs)
    on_torch = {
        k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()
    }
    theirs = getattr(torch.nn, name)(**on_torch)
    data = rng.standard_normal((3, 4))
    data = 1 / (1 + np.exp(-data)) if name == "BCELoss" else data
    targets = {
        "same": rng.standard_normal((3, 4)),
        "probability": rng.dirichlet(np.ones(4), 3),
        "label": np.array([0, 1, 3]),
    }
    x, y = pf.Tensor(data, True), torch.tensor(data, requires_grad=True)
    got, want = ours(x, targets[kind]), theirs(y, torch.from_numpy(targets[kind]))
    compare(got, want, name)
    got.sum().backward()
    want.sum().backward()
    compare(x.grad, y.grad, name)


def test_every_layer_is_compared() -> None:
    modules = {n for n in nn.__all__ if inspect.isclass(getattr(nn, n))}
    modules -= {"IncompatibleKeys", "Module", "ModuleDict", "ModuleList", "Parameter"}
    modules -= {"ParameterDict", "ParameterList", "Sequential", "Embedding"}
    # these have files of their own: test_nn_attention, test_nn_transformer, test_nn_position
    modules = {n for n in modules if not n.lower().endswith("attention")}
    modules = {n for n in modules if "Transformer" not in n and "Positional" not in n}
    assert modules == {case[0] for case in LAYERS} | {case[0] for case in LOSSES}


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("Linear", (400, 300), {}),
        ("Conv2d", (64, 48, 3), {"groups": 2}),
        ("ConvTranspose1d", (48, 64, 5), {}),
        ("Embedding", (300, 50), {}),
        ("BatchNorm2d", (64,), {}),
    ],
)
def test_initial_values_are_distributed_as_torchs(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for path, want in theirs.state_dict().items():
        got = ours.state_dict()[path].numpy()
        assert got.shape == tuple(want.shape)
        assert got.dtype == want.numpy().dtype
        if want.numel() > 1:
            tolerance = 4 * want.numpy().std() / np.sqrt(want.numel()) + 1e-7
            assert abs(got.std() - want.numpy().std()) < 10 * tolerance
            assert abs(got.mean() - want.numpy().mean()) < 2 * tolerance


def test_state_goes_back_to_torch() -> None:
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(8, 3)
    )
    theirs.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in ours.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 1, 4, 4)).astype(np.float32)
    compare(ours(x), theirs(torch.from_numpy(x)), "output")


@pytest.mark.parametrize(
    "kwargs", [{}, {"padding_idx": -1}, {"scale_grad_by_freq": True}, {"max_norm": 1.0}]
)
def test_embedding_is_torchs(kwargs: dict[str, Any]) -> None:
    ours, theirs = pair("Embedding", (7, 3), kwargs)
    assert repr(ours) == repr(theirs)
    indices = np.array([[1, 2, 1], [6, 0, 6]])
    got, want = ours(indices), theirs(torch.from_numpy(indices))
    compare(got, want, "output")
    got.sum().backward()
    want.sum().backward()
    compare(ours.weight.grad, theirs.weight.grad, "gradient")
    compare(ours.weight, theirs.weight, "weight")


def test_embedding_from_pretrained() -> None:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    layer = nn.Embedding.from_pretrained(table)
    assert layer(np.array([2])).tolist() == [[4, 5]]
    assert not layer.weight.requires_grad
    assert layer.num_embeddings == 3
    assert nn.Embedding(4, 2, padding_idx=-1).weight.data[3].tolist() == [0, 0]


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize(
    ("layer", "args", "shape"),
    [("Linear", (5, 4), FLAT), ("Conv1d", (4, 6, 3), ROW), ("Conv2d", (4, 6, 3), IMAGE),
     ("BatchNorm1d", (4,), ROW), ("BatchNorm2d", (4,), IMAGE)],
)  # fmt: skip
def test_fused_activation_is_the_activation(
    layer: str, args: tuple[Any, ...], shape: tuple[int, ...], activation: str
) -> None:
    fused = getattr(nn, layer)(*args, activation=activation)
    plain = getattr(nn, layer)(*args)
    plain.load_state_dict(fused.state_dict())
    assert f"activation={activation}" in repr(fused)
    data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x, y = pf.Tensor(data, True), pf.Tensor(data, True)
    got, want = fused(x), getattr(pf.ops, activation)(plain(y))
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5, atol=1e-6)
    seed = np.random.default_rng(1).standard_normal(got.shape).astype(np.float32)
    got.backward(seed)
    want.backward(seed)
    assert x.grad is not None
    assert y.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_dropout_of_nothing_is_no_op() -> None:
    x = pf.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    assert nn.Dropout(0.0)(x) is x


def test_dropout_layers_are_active_in_training_only() -> None:
    x = pf.ones(4, 50, 3)
    for layer in (nn.Dropout(0.5), nn.Dropout1d(0.5), nn.AlphaDropout(0.5)):
        assert not np.array_equal(layer(x), x.numpy())
        assert np.array_equal(layer.eval()(x), x.numpy())


def test_transposed_convolution_takes_an_output_size() -> None:
    layer = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1)
    x = np.zeros((1, 4, 3, 3), np.float32)
    assert layer(x, output_size=(6, 5)).shape == (1, 2, 6, 5)
    with pytest.raises(ValueError, match="output_size"):
        layer(x, output_size=(9, 5))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError),
        (lambda: nn.Conv2d(4, 4, (3, 3, 3)), ValueError),
        (lambda: nn.Conv1d(4, 4, 3, padding_mode="none"), ValueError),
        (lambda: nn.Conv2d(4, 4, 3.5), TypeError),  # type: ignore[arg-type]
        (lambda: nn.ConvTranspose2d(4, 4, 3, padding_mode="reflect"), ValueError),
        (lambda: nn.Dropout(1.5), ValueError),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ValueError),
        (lambda: nn.Embedding.from_pretrained(np.zeros(3)), ValueError),
        (lambda: nn.GroupNorm(3, 4), ValueError),
        (lambda: nn.ZeroPad2d((1, 2)), ValueError),
        (lambda: nn.BatchNorm1d(3)(np.zeros((2, 3, 4, 5), np.float32)), ValueError),
        (lambda: nn.BatchNorm2d(3)(np.zeros((2, 3), np.float32)), ValueError),
        (lambda: nn.InstanceNorm2d(3)(np.zeros((2, 3), np.float32)), ValueError),
        (lambda: nn.Flatten(5)(np.zeros((2, 3))), IndexError),
        (lambda: nn.Unflatten(5, (1, 1))(np.zeros((2, 3))), IndexError),
        (lambda: nn.Linear(3, 2)(np.zeros((2, 4), np.float32)), ValueError),
        (lambda: nn.Linear(3, 2)(np.zeros((2, 3))), TypeError),
    ],
)
def test_bad_settings_are_refused(call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


def test_functional_is_ops() -> None:
    assert nn.functional.conv2d is pf.ops.conv2d
    assert set(pf.ops.__all__) <= set(dir(nn.functional))


ROWS = [
    (lambda: nn.Conv2d(3, 4, 3), (2, 3, 6, 6)),
    (lambda: nn.Conv1d(3, 4, 3), (2, 3, 9)),
    (lambda: nn.Linear(5, 7), (4, 5)),
    (lambda: nn.BatchNorm2d(3), (4, 3, 5, 5)),
    (lambda: nn.BatchNorm1d(5), (6, 5)),
]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Tanh, lambda: nn.ELU(0.5)])
@pytest.mark.parametrize(("make", "shape"), ROWS)
def test_sequential_runs_a_layer_and_its_activation_as_one_op(
    make: Any, shape: tuple[int, ...], activation: Any
) -> None:
    pf.manual_seed(0)
    layer, last = make(), activation()
    together = nn.Sequential(layer, last)
    values = np.random.default_rng(1).standard_normal(shape)
    layer.to(np.float64)
    x, y = pf.Tensor(values, requires_grad=True), pf.Tensor(values, requires_grad=True)
    apart = last(layer(x))
    (apart**2).sum().backward()
    expected = [x.grad.numpy(), layer.weight.grad.numpy()]
    layer.zero_grad()
    found = together(y)
    (found**2).sum().backward()
    np.testing.assert_allclose(found.numpy(), apart.numpy(), rtol=1e-12, atol=1e-12)
    for gradient, want in zip([y.grad, layer.weight.grad], expected, strict=True):
        np.testing.assert_allclose(gradient.numpy(), want, rtol=1e-9, atol=1e-9)


def test_sequential_takes_an_activation_over_unless_watched(monkeypatch: Any) -> None:
    calls: list[str] = []
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: calls.append("relu") or x)
    x = pf.Tensor(np.ones((2, 3), np.float32))

    def runs_alone(model: Any) -> bool:
        calls.clear()
        model(x)
        return bool(calls)

    assert not runs_alone(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    assert runs_alone(nn.Sequential(nn.Linear(3, 3, activation="tanh"), nn.ReLU()))
    assert runs_alone(nn.Sequential(nn.Flatten(), nn.ReLU()))
    for watched in (0, 1):
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        seen: list[Any] = []
        handle = model[watched].register_forward_hook(lambda m, a, out, seen=seen: seen.append(out))
        assert runs_alone(model)
        assert len(seen) == 1
        handle.remove()
        assert not runs_alone(model)
