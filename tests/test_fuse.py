"""pf.fuse: the same outputs from fewer layers, and nothing fused that somebody else looks at."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import pyfast as pf
from pyfast import nn, ops
from pyfast.nn.fused import FusedConv2d, FusedLinear, SealedSequential

RNG = np.random.default_rng(0)


def image(*size: int) -> Any:
    return RNG.standard_normal(size or (2, 3, 8, 8)).astype(np.float32)


def trained(model: Any) -> Any:
    """In evaluation mode, with batch norms that have seen something."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            n = module.num_features
            if module.running_mean is not None:
                module.running_mean.data[...] = RNG.standard_normal(n)
                module.running_var.data[...] = RNG.uniform(0.5, 2, n)
            if module.weight is not None:
                module.weight.data[...] = RNG.uniform(-2, 2, n)
            if module.bias is not None:
                module.bias.data[...] = RNG.standard_normal(n)
    return model.eval()


def assert_same(fused: Any, model: Any, *inputs: Any) -> None:
    with pf.no_grad():
        expected, found = model(*inputs).numpy(), fused(*inputs).numpy()
    tolerance = 1e-5 if expected.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(
        found, expected, rtol=tolerance, atol=tolerance * abs(expected).max()
    )


def kinds(model: Any) -> list[str]:
    return [type(m).__name__ for m in model.modules() if not m._modules]


def conv(*args: Any, **kwargs: Any) -> Any:
    return nn.Sequential(nn.Conv2d(3, 8, 3, *args, **kwargs), nn.BatchNorm2d(8), nn.ReLU())


SEQUENTIALS = {
    "conv2d": lambda: (conv(), image()),
    "no bias, stride, groups": lambda: (conv(2, 1, 1, 1, False), image()),
    "circular padding": lambda: (conv(padding=1, padding_mode="circular"), image()),
    "conv1d": lambda: (
        nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.GELU("tanh")), image(2, 3, 9)),
    "linear": lambda: (
        nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout(), nn.SiLU()), image(4, 5)),
    "nested": lambda: (
        nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3)), nn.Sequential(
            nn.BatchNorm2d(8), nn.Sequential(nn.ELU()))), image()),
    "no affine": lambda: (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False), nn.Tanh()), image()),
    "norm with activation": lambda: (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, activation="relu")), image()),
    "float64": lambda: (conv().double(), image().astype(np.float64)),
}  # fmt: skip


@pytest.mark.parametrize("case", SEQUENTIALS)
@pytest.mark.parametrize("with_example", [False, True])
def test_sequentials_become_one_layer(case: str, with_example: bool) -> None:
    model, x = SEQUENTIALS[case]()
    trained(model)
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    fused = pf.fuse(model, *([x] if with_example else []))
    left = [k for k in kinds(fused) if k not in ("Identity", "Dropout")]
    assert len(left) == 1
    assert left[0].startswith("Fused")
    assert_same(fused, model, x)
    assert not any(k.startswith("Fused") for k in kinds(model))
    assert model.state_dict().keys() == before.keys()
    assert all(np.array_equal(v.numpy(), before[k]) for k, v in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (nn.ReLU(), "relu"), (nn.ReLU6(), "relu6"), (nn.LeakyReLU(), "leaky_relu"),
        (nn.ELU(), "elu"), (nn.Sigmoid(), "sigmoid"), (nn.Tanh(), "tanh"), (nn.GELU(), "gelu"),
        (nn.GELU("tanh"), "gelu_tanh"), (nn.SiLU(), "silu"), (nn.Softplus(), "softplus"),
        (nn.Mish(), "mish"), (nn.Hardswish(), "hardswish"), (nn.Hardsigmoid(), "hardsigmoid"),
        (nn.LeakyReLU(0.2), None), (nn.ELU(0.5), None), (nn.Softplus(2.0), None),
        (nn.SELU(), None), (nn.Softmax(), None), (nn.PReLU(), None),
    ],
    ids=repr,
)  # fmt: skip
def test_activations(activation: Any, name: str | None) -> None:
    model = nn.Sequential(nn.Linear(6, 5), activation).eval()
    fused = pf.fuse(model)
    assert fused[0].activation == name
    assert_same(fused, model, 3 * image(4, 6))


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8)),
        (nn.Conv2d(3, 8, 3, activation="relu"), nn.BatchNorm2d(8)),
        (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)),
        (nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8)),
        (nn.ConvTranspose2d(3, 8, 3), nn.BatchNorm2d(8)),
    ],
    ids=["behind relu", "behind fused relu", "batch statistics", "instance norm", "transposed"],
)
def test_what_cannot_be_folded_stays(layers: Any) -> None:
    model = trained(nn.Sequential(*layers))
    fused = pf.fuse(model, image())
    assert "Norm" in " ".join(kinds(fused))
    assert_same(fused, model, image())


def test_a_weight_that_would_overflow_is_not_folded() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, eps=1e-30)).eval()
    model[0].weight.data[...] = 1e-3
    model[0].bias.data[...] = 0
    model[1].running_var.data[...] = 0
    model[1].weight.data[...] = 1e30
    assert "BatchNorm1d" in kinds(pf.fuse(model))


class Residual(nn.Module):
    """A block as ResNets have it; `again` uses the first convolution's output a second time."""

    def __init__(self, again: str = "") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(3)
        self.relu2 = nn.ReLU()
        self.again = again

    def forward(self, x: Any) -> Any:
        first = self.conv1(x)
        y = self.relu1(self.bn1(first))
        y = self.relu2(self.bn2(self.conv2(y)) + x)
        if self.again == "value":
            y = y + first
        elif self.again == "sign":
            y = y + pf.where(first > 0, np.float32(1), np.float32(0))
        elif self.again == "far above":
            y = y + 1 if (first > 1e3).any() else y
        elif self.again == "far below":
            y = y + 1 if (first < -1e3).any() else y
        elif self.again == "zero":
            y = y + 1 if (first == 0).all() else y
        elif self.again == "module":
            y = y + self.conv1(y)
        elif self.again == "output":
            return pf.cat([y, first], 1)
        return y


def test_a_forward_written_by_hand_is_fused_by_an_example_only() -> None:
    model = trained(Residual())
    assert "BatchNorm2d" in kinds(pf.fuse(model))
    fused = pf.fuse(model, image(2, 3, 8, 8))
    assert kinds(fused) == ["FusedConv2d", "Identity", "Identity", "FusedConv2d", "Identity",
                            "Identity"]  # fmt: skip
    assert fused.conv1.activation == "relu"
    assert fused.conv2.activation is None
    assert fused.conv2.sum_activation == "relu"
    assert_same(fused, model, image(1, 3, 5, 7))


def test_every_block_of_a_deep_model_is_fused() -> None:
    """Arrays that are freed during the run lend their ids to others, which nobody must mix up."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(),
                nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3),
            )  # fmt: skip
            self.shortcut, self.relu = nn.Identity(), nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.shortcut(x))

    model = trained(nn.Sequential(*[Block() for _ in range(6)]))
    fused = pf.fuse(model, image())
    assert set(kinds(fused)) == {"FusedConv2d", "Identity"}
    assert_same(fused, model, image())


class Sum(nn.Module):
    """A convolution's output plus something: `how` the sum is written, and who else looks."""

    def __init__(self, how: str, conv: Any = None, relu: Any = None) -> None:
        super().__init__()
        self.conv = conv or nn.Conv2d(3, 3, 3, padding=1)
        self.other = nn.Conv2d(3, 3, 1)
        self.relu = relu or nn.ReLU()
        self.how = how

    def forward(self, x: Any) -> Any:
        y, z = self.conv(x), x
        if self.how == "right":
            y = z + y
        elif self.how == "in place":
            y += z
        elif self.how == "two convolutions":
            y = self.other(x) + y
        elif self.how == "broadcast":
            y = y + z[:, :1]
        elif self.how == "scalar":
            y = y + 1
        elif self.how == "twice":
            y = (y + z) * (y + z)
        elif self.how == "output looked at":
            y = (y + z) * y.mean()
        else:
            y = y + z
        if self.how == "sum looked at":
            return self.relu(y) - y
        return self.relu(y)


@pytest.mark.parametrize(
    ("how", "layer", "activation"),
    [
        ("left", True, "relu"), ("right", True, "relu"), ("in place", True, "relu"),
        ("two convolutions", True, "relu"), ("sum looked at", True, None),
        ("broadcast", False, None), ("scalar", False, None), ("twice", False, None),
        ("output looked at", False, None),
    ],
)  # fmt: skip
def test_sums_become_part_of_a_convolution(how: str, layer: bool, activation: Any) -> None:
    model = Sum(how).eval()
    fused = pf.fuse(model, image())
    convolutions = [fused.conv, fused.other]
    assert any(c.awaits_sum for c in convolutions) == layer
    assert (type(fused.relu) is nn.Identity) == (activation is not None)
    for x in (image(), pf.Tensor(image(1, 3, 5, 4))):
        assert_same(fused, model, x)


def test_a_layer_whose_activation_stands_before_the_sum() -> None:
    model = Sum("left", nn.Conv2d(3, 3, 3, padding=1, activation="tanh")).eval()
    fused = pf.fuse(model, image())
    assert not fused.conv.awaits_sum
    assert_same(fused, model, image())


@pytest.mark.parametrize("relu", [nn.ReLU(), nn.GELU("tanh"), nn.Softmax(-1)])
def test_gradients_through_a_fused_sum(relu: Any) -> None:
    model = Sum("left", relu=relu).eval()
    fused, values, gradients = pf.fuse(model, image()), image(), []
    for m in (model, fused):
        x = pf.Tensor(values, requires_grad=True)
        m(x).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)


def test_a_sum_that_is_not_made_is_an_error() -> None:
    class Switch(Sum):
        def forward(self, x: Any) -> Any:
            return super().forward(x) if len(x) > 1 else self.conv(x)

    fused = pf.fuse(Switch("left").eval(), image())
    with pytest.raises(RuntimeError, match="was added to another array in the example"):
        fused(image(1, 3, 8, 8)).numpy()
    x = image()
    expected = ops.relu(ops.conv2d(x, fused.conv.weight, fused.conv.bias, 1, 1) + 1)
    np.testing.assert_allclose((fused.conv(x) + 1).numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "again", ["value", "sign", "far above", "far below", "zero", "module", "output"]
)
def test_an_output_that_somebody_else_uses_is_left_alone(again: str) -> None:
    model = trained(Residual(again))
    fused = pf.fuse(model, image())
    assert fused.conv1.folded_ndim is None
    assert type(fused.bn1) is nn.BatchNorm2d
    assert type(fused.conv2) is FusedConv2d
    assert_same(fused, model, image())


class Features(nn.Module):
    """Takes a Sequential apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = conv()

    def forward(self, x: Any) -> Any:
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return pf.cat(outputs, 1)


def test_a_sequential_taken_apart_is_never_silently_wrong() -> None:
    model = trained(Features())
    assert_same(pf.fuse(model, image()), model, image())
    fused = pf.fuse(model)
    assert type(fused.layers) is SealedSequential
    with pytest.raises(RuntimeError, match=r"give pf\.fuse example inputs"):
        fused(image())


def test_a_sequential_in_a_model_works_as_a_whole() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(conv(), nn.Flatten())

        def forward(self, x: Any) -> Any:
            return self.body(x) * 2

    model = trained(Model())
    fused = pf.fuse(model)
    assert type(fused.body) is nn.Sequential
    assert type(fused.body[0]) is SealedSequential
    assert_same(fused, model, image())


@pytest.mark.parametrize("with_example", [False, True])
def test_shared_modules_stay(with_example: bool) -> None:
    layer = nn.Linear(4, 4)
    model = trained(nn.Sequential(layer, nn.BatchNorm1d(4), layer, nn.ReLU()))
    x = image(3, 4)
    fused = pf.fuse(model, *([x] if with_example else []))
    assert fused[0] is fused[2]
    assert fused[0].activation is None
    assert type(fused[1]) is nn.BatchNorm1d
    assert type(fused[3]) is nn.ReLU
    assert_same(fused, model, x)


@pytest.mark.parametrize("with_example", [False, True])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_hooks_see_what_they_saw(which: int, with_example: bool) -> None:
    model = trained(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(), nn.BatchNorm2d(8)))
    seen: list[Any] = []
    model[which].register_forward_hook(lambda m, args, out: seen.append(out.numpy().copy()))
    x = image()
    fused = pf.fuse(model, *([x] if with_example else []))
    assert "BatchNorm2d" in kinds(fused)
    seen.clear()
    assert_same(fused, model, x)
    np.testing.assert_array_equal(*seen)


def test_a_hook_on_a_container_counts() -> None:
    model = trained(nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3)), nn.BatchNorm2d(8)))
    model[0].register_forward_hook(lambda m, args, out: None)
    for example in ([], [image()]):
        assert "BatchNorm2d" in kinds(pf.fuse(model, *example))


def test_errors() -> None:
    with pytest.raises(TypeError, match="fuse: model must be a Module, got function"):
        pf.fuse(ops.relu)  # type: ignore[type-var]
    with pytest.raises(ValueError, match=r"evaluation mode, 1 \(BatchNorm2d\) is training"):
        pf.fuse(conv())
    with pytest.raises(ValueError, match=r"it \(Dropout\) is training"):
        pf.fuse(nn.Dropout())

    class Silent(nn.Module):
        def forward(self, x: Any) -> None:
            return None

    with pytest.raises(TypeError, match="returns no array"):
        pf.fuse(Silent(), image())
    assert type(pf.fuse(nn.Linear(2, 2))) is FusedLinear  # nothing in it minds the mode


def test_a_model_that_does_not_repeat_itself_is_refused() -> None:
    class Counter(nn.Module):
        calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x * self.calls

    with pytest.raises(RuntimeError, match=r"differs by \d+ of its largest magnitude"):
        pf.fuse(Counter(), image())


def test_folded_layers_keep_batch_norms_demands() -> None:
    fused = pf.fuse(trained(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))))
    with pytest.raises(ValueError, match=r"FusedLinear: input must have 2 dimensions.*got 3"):
        fused(image(4, 4, 4))  # BatchNorm1d would take the second axis for the channels
    with pytest.raises(RuntimeError, match="folded into it for inference"):
        fused.train()(image(4, 4))
    wide = trained(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    assert_same(pf.fuse(wide, image(4, 4, 4)), wide, image(4, 4, 4))


def test_parameters_cannot_change_behind_the_packed_weight() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    fused = pf.fuse(model)
    with pytest.raises(ValueError, match="read-only"):
        fused.load_state_dict(model.state_dict())
    x = image(5, 4)
    fused.double()
    assert_same(fused, copy.deepcopy(model).double(), x.astype(np.float64))


@pytest.mark.parametrize("how", ["pickle", "deepcopy"])
def test_copies_compute_the_same(how: str) -> None:
    fused = pf.fuse(trained(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())))
    twin = pickle.loads(pickle.dumps(fused)) if how == "pickle" else copy.deepcopy(fused)
    x = image(3, 4)
    np.testing.assert_array_equal(twin(x).numpy(), fused(x).numpy())
    assert not twin[0].weight.data.flags.writeable


def test_gradients_of_the_input() -> None:
    model = trained(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh()))
    values, gradients = image(3, 4), []
    for m in (model, pf.fuse(model)):
        x = pf.Tensor(values, requires_grad=True)
        m(x).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)
    assert not pf.fuse(model)(values).requires_grad


@pytest.mark.parametrize("rows", [1, 2, 33, 200])
def test_packed_linear(rows: int) -> None:
    model = nn.Linear(37, 65)
    assert_same(pf.fuse(model), model, image(rows, 37))
    assert_same(pf.fuse(model), model, image(2, rows, 37))


def test_tied_weights_and_transformers() -> None:
    config = pf.models.GPTConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    model = pf.models.GPT(config).eval()
    ids = RNG.integers(0, 20, (2, 5))
    assert_same(pf.fuse(model, ids), model, ids)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    fused = pf.fuse(layer, image(2, 5, 16))
    assert "FusedLinear" in kinds(fused)
    assert_same(fused, layer, image(2, 5, 16))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "seq2seq", "bert"])
def test_every_projection_of_a_transformer_is_packed(kind: str) -> None:
    layers = "num_encoder_layers" if kind == "seq2seq" else "num_hidden_layers"
    sizes = {"hidden_size": 16, "num_attention_heads": 2, layers: 1}
    ids = RNG.integers(0, 20, (2, 5))
    if kind == "seq2seq":
        config: Any = pf.models.Seq2SeqConfig(
            20, 20, num_decoder_layers=1, tie_word_embeddings=True, **sizes
        )
        model: Any = pf.models.Seq2SeqTransformer(config).eval()
    elif kind == "bert":
        model = pf.models.Bert(pf.models.BertConfig(vocab_size=20, **sizes)).eval()
    else:
        make = pf.models.GPTConfig.llama if kind == "llama" else pf.models.GPTConfig
        model = pf.models.GPT(make(vocab_size=20, **sizes)).eval()
    fused = pf.fuse(model)
    inputs = (ids, ids) if kind == "seq2seq" else (ids,)
    assert_same(fused, model, *inputs)
    plain = {"Linear", "Embedding", "MultiheadAttention", "GroupedQueryAttention"}
    assert not plain & set(kinds(fused))
    packed = [m for m in fused.modules() if getattr(m, "_packed", None) is not None]
    tables = [m for m in packed if isinstance(m, nn.Embedding)]
    assert len(tables) == (kind in {"gpt2", "seq2seq"})  # where the output layer shares it
    found = [type(m).__name__ for m in packed]
    assert any("Attention" in name for name in found)
    assert "FusedLinear" in found


def test_a_fused_model_decodes_the_same_tokens() -> None:
    pf.manual_seed(0)
    config = pf.models.GPTConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4
    )
    model = pf.models.GPT(config).eval()
    for p in model.parameters():
        p.data[...] *= 4
    for settings in ({}, {"num_beams": 3}):
        found = [
            [h.tokens for h in pf.generation.generate(m, [[3, 1, 4], [7, 5]], 20, **settings)]
            for m in (model, pf.fuse(model))
        ]
        assert found[0] == found[1]
        assert len(set(found[0][0])) > 3


def test_attention_to_something_else_reads_parts_of_the_weight() -> None:
    layer = nn.MultiheadAttention(16, 2, batch_first=True).eval()
    x, y = image(2, 5, 16), image(2, 7, 16)
    fused = pf.fuse(layer)
    for inputs in ((x, x, x), (x, y, y), (x, y, y.copy())):
        np.testing.assert_allclose(
            fused(*inputs)[0].numpy(), layer(*inputs)[0].numpy(), rtol=1e-5, atol=1e-6
        )
    other = pf.fuse(nn.MultiheadAttention(16, 2, kdim=7, vdim=7, batch_first=True).eval())
    assert other(x, y[..., :7], y[..., :7])[0].shape == (2, 5, 16)


def test_a_table_that_shrinks_its_own_rows_is_not_packed() -> None:
    model = nn.Embedding(5, 4, max_norm=1.0)
    assert type(pf.fuse(model)) is nn.Embedding


def test_gradients_through_packed_attention() -> None:
    layer = nn.GroupedQueryAttention(16, 4, 2).eval()
    gradients = []
    for m in (layer, pf.fuse(layer)):
        x = pf.Tensor(np.ones((1, 3, 16), np.float32), requires_grad=True)
        (m(x) ** 2).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)


def test_outputs_may_be_nested() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = conv()

        def forward(self, x: Any, scale: Any) -> Any:
            y = self.body(x)
            return {"y": (y * scale, [y]), "none": None, "count": 3}

    model, x = trained(Several()), image()
    scale = np.float32(2) * np.ones(1, np.float32)
    fused = pf.fuse(model, x, scale)
    assert kinds(fused) == ["FusedConv2d", "Identity", "Identity"]
    a, b = (m(x, scale)["y"][0].numpy() for m in (fused, model))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
