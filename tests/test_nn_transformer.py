"""Every Transformer class against PyTorch's: state, values and gradients under every mask."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast import nn

N, L, S, E, HEADS = 2, 4, 6, 8, 2
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}
pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning"),
    pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning"),
]


def normal(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def agree(got: Any, want: Any, what: str = "") -> None:
    got, want = np.asarray(got), np.asarray(want.detach() if hasattr(want, "detach") else want)
    tolerance = TOLERANCE[got.dtype]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=what)


def pair(build: Any, dtype: Any) -> tuple[Any, Any]:
    """Our model with PyTorch's weights and PyTorch's; `build` makes either from its namespace."""
    theirs = build(torch.nn).to(torch.float64 if dtype == np.float64 else torch.float32)
    for i, parameter in enumerate(theirs.parameters()):
        start = 0.3 * normal(*parameter.shape, seed=i)
        parameter.data = torch.from_numpy((start + (parameter.ndim == 1)).astype(dtype))
    ours = build(nn).to(dtype)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def compare(build: Any, inputs: list[Any], masks: dict[str, Any]) -> None:
    """Outputs, and gradients of inputs and parameters."""
    ours, theirs = pair(build, inputs[0].dtype)
    a = [pf.Tensor(x, requires_grad=True) for x in inputs]
    b = [torch.tensor(x, requires_grad=True) for x in inputs]
    got = ours(*a, **masks)
    want = theirs(
        *b, **{k: torch.from_numpy(m) if isinstance(m, np.ndarray) else m for k, m in masks.items()}
    )
    assert got.shape == tuple(want.shape)
    agree(got, want, "output")
    seed = normal(*got.shape, seed=9, dtype=got.dtype)
    got.backward(seed)
    want.backward(torch.from_numpy(seed))
    for x, y in zip(a, b, strict=True):
        agree(x.grad, y.grad, "gradient of an input")
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        agree(parameter.grad, gradients[name].grad, name)


def attention_mask(kind: str, rows: int, columns: int, dtype: Any) -> Any:
    causal = ~np.tri(rows, columns, k=max(0, columns - rows), dtype=bool)
    return {"none": None, "bool": causal, "float": np.where(causal, -np.inf, 0.2).astype(dtype)}[
        kind
    ]


def padding(kind: str, columns: int, dtype: Any) -> Any:
    mask = np.zeros((N, columns), bool)
    mask[0, -1] = mask[1, 1] = True
    return {"none": None, "bool": mask, "float": np.where(mask, -1.5, 0.3).astype(dtype)}[kind]


KINDS = ("none", "bool", "float")
STACK = {"batch_first": True, "dropout": 0.0, "dim_feedforward": 12}


@pytest.mark.parametrize(("attn", "pad"), list(itertools.product(KINDS, KINDS)))
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoder_layer(norm_first: bool, attn: str, pad: str, dtype: Any) -> None:
    masks = {
        "src_mask": attention_mask(attn, S, S, dtype),
        "src_key_padding_mask": padding(pad, S, dtype),
    }
    compare(
        lambda lib: lib.TransformerEncoderLayer(E, HEADS, norm_first=norm_first, **STACK),
        [normal(N, S, E, dtype=dtype)],
        masks,
    )


# attention and padding, of the target and of the memory: all pairs on either side
DECODER_MASKS = [
    *[(a, p, "none", "none") for a, p in itertools.product(KINDS, KINDS)],
    *[("bool", "none", a, p) for a, p in itertools.product(KINDS, KINDS)],
    ("float", "float", "float", "float"),
    ("bool", "bool", "bool", "bool"),
]


def decoder_masks(kinds: tuple[str, ...], dtype: Any) -> dict[str, Any]:
    return {
        "tgt_mask": attention_mask(kinds[0], L, L, dtype),
        "tgt_key_padding_mask": padding(kinds[1], L, dtype),
        "memory_mask": attention_mask(kinds[2], L, S, dtype),
        "memory_key_padding_mask": padding(kinds[3], S, dtype),
    }


@pytest.mark.parametrize("kinds", DECODER_MASKS, ids="-".join)
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decoder_layer(norm_first: bool, kinds: tuple[str, ...], dtype: Any) -> None:
    compare(
        lambda lib: lib.TransformerDecoderLayer(E, HEADS, norm_first=norm_first, **STACK),
        [normal(N, L, E, dtype=dtype), normal(N, S, E, seed=1, dtype=dtype)],
        decoder_masks(kinds, dtype),
    )


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stacks(norm_first: bool, masked: bool, dtype: Any) -> None:
    def encoder(lib: Any) -> Any:
        layer = lib.TransformerEncoderLayer(E, HEADS, norm_first=norm_first, **STACK)
        return lib.TransformerEncoder(layer, 2, lib.LayerNorm(E) if norm_first else None)

    def decoder(lib: Any) -> Any:
        layer = lib.TransformerDecoderLayer(E, HEADS, norm_first=norm_first, **STACK)
        return lib.TransformerDecoder(layer, 2, lib.LayerNorm(E) if norm_first else None)

    kind = "bool" if masked else "none"
    source = normal(N, S, E, dtype=dtype)
    encoder_masks = {
        "mask": attention_mask(kind, S, S, dtype),
        "src_key_padding_mask": padding(kind, S, dtype),
    }
    compare(encoder, [source], encoder_masks)
    targets = [normal(N, L, E, seed=1, dtype=dtype), source]
    compare(decoder, targets, decoder_masks((kind,) * 4, dtype))


@pytest.mark.parametrize(("kind", "norm_first"), list(itertools.product(KINDS, (False, True))))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transformer(kind: str, norm_first: bool, dtype: Any) -> None:
    masks = {
        "src_mask": attention_mask(kind, S, S, dtype),
        "src_key_padding_mask": padding(kind, S, dtype),
        **decoder_masks((kind,) * 4, dtype),
    }
    compare(
        lambda lib: lib.Transformer(E, HEADS, 2, 2, norm_first=norm_first, **STACK),
        [normal(N, S, E, dtype=dtype), normal(N, L, E, seed=1, dtype=dtype)],
        masks,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "gelu"},
        {"activation": "relu", "bias": False},
        {"layer_norm_eps": 0.1},
        {"batch_first": False},
    ],
)
def test_settings(settings: dict[str, Any]) -> None:
    compare(
        lambda lib: lib.Transformer(E, HEADS, 1, 1, **{**STACK, **settings}),
        [normal(N, S, E), normal(N, L, E, seed=1)]
        if settings.get("batch_first", True)
        else [normal(S, N, E), normal(L, N, E, seed=1)],
        {},
    )


def test_a_callable_activation() -> None:
    def build(lib: Any) -> Any:
        activation = (lambda x: x.tanh()) if lib is nn else torch.tanh
        return lib.TransformerEncoderLayer(E, HEADS, activation=activation, **STACK)

    compare(build, [normal(N, S, E)], {})


def test_functions_of_ops_are_fused() -> None:
    layer = nn.TransformerEncoderLayer(E, HEADS, activation=nn.functional.gelu)
    assert layer.linear1.activation == "gelu"
    assert layer.activation is None


def test_inputs_without_a_batch() -> None:
    compare(
        lambda lib: lib.Transformer(E, HEADS, 1, 1, **STACK),
        [normal(S, E), normal(L, E, seed=1)],
        {"tgt_mask": attention_mask("bool", L, L, np.float64)},
    )


def test_initial_values_are_distributed_as_torchs() -> None:
    pf.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = (lib.Transformer(64, 4, 1, 1, 128) for lib in (nn, torch.nn))
    for name, want in theirs.state_dict().items():
        got, spread = ours.state_dict()[name].numpy(), want.numpy().std()
        assert abs(got.std() - spread) <= 5 * spread / np.sqrt(want.numel()), name


def test_layers_of_a_stack_are_copies() -> None:
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(E, HEADS), 2)
    assert stack.layers[0].linear1.weight is not stack.layers[1].linear1.weight
    assert len({id(p) for p in stack.parameters()}) == len(stack.state_dict())


def test_dropout_is_for_training() -> None:
    pf.manual_seed(0)
    model = nn.Transformer(E, HEADS, 1, 1, 16, batch_first=True)
    source, target = normal(N, S, E, dtype=np.float32), normal(N, L, E, dtype=np.float32)
    assert (model(source, target).numpy() != model(source, target).numpy()).any()
    model.eval()
    assert (model(source, target).numpy() == model(source, target).numpy()).all()


@pytest.mark.parametrize("norm_first", [False, True])
def test_cross_attention_to_matching_layers(norm_first: bool) -> None:
    """By hand from the same layers; and it differs from attention to the last."""
    settings = {"batch_first": True, "norm_first": norm_first, "dropout": 0.0}
    model = nn.Transformer(E, HEADS, 2, 2, 16, cross_attention="matching", **settings).double()
    last = nn.Transformer(E, HEADS, 2, 2, 16, **settings).double()
    last.load_state_dict(model.state_dict())
    source, target = normal(N, S, E), normal(N, L, E, seed=1)
    first = model.encoder.layers[0](source)
    second = model.encoder.layers[1](first)
    y: Any = target
    for layer, memory in zip(model.decoder.layers, (first, second), strict=True):
        y = layer(y, model.encoder.norm(memory), tgt_is_causal=True)
    got = model(source, target, tgt_is_causal=True)
    agree(got, model.decoder.norm(y).numpy())
    other = last(source, target, tgt_is_causal=True).numpy()
    assert np.abs(got.numpy() - other).max() > 1e-3


def test_causal_word_is_the_causal_mask() -> None:
    model = nn.Transformer(E, HEADS, 1, 1, 16, batch_first=True).double().eval()
    source, target = normal(N, S, E), normal(N, L, E, seed=1)
    mask = nn.Transformer.generate_square_subsequent_mask(L, np.float64)
    want = torch.nn.Transformer.generate_square_subsequent_mask(L).numpy()
    assert (mask == want).all()
    agree(model(source, target, tgt_is_causal=True), model(source, target, tgt_mask=mask).numpy())


LAYER = nn.TransformerEncoderLayer(E, HEADS)
MODEL = nn.Transformer(E, HEADS, 1, 1, 16)
X = np.zeros((S, N, E), np.float32)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nn.TransformerEncoderLayer(E, 3), "num_heads must be positive and divide"),
        (lambda: nn.TransformerEncoderLayer(E, 2, activation="max"), "activation .* got 'max'"),
        (lambda: nn.TransformerEncoder(LAYER, -1), "num_layers must not be negative, got -1"),
        (lambda: nn.Transformer(cross_attention="all"), "cross_attention .* got 'all'"),
        (
            lambda: nn.Transformer(E, 2, 1, 2, cross_attention="matching"),
            "as many encoder as decoder layers, got 1 and 2",
        ),
        (lambda: LAYER(X, np.zeros((L, S), bool)), "attn_mask must have shape"),
        (lambda: MODEL(X, X[:, :1]), "key must have the batch of query"),
        (lambda: MODEL(X[..., :3], X), "query must have shape"),
        (lambda: MODEL.decoder(X, [X, X]), "memory must be one array, or one for each"),
    ],
)
def test_bad_input_is_refused(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
