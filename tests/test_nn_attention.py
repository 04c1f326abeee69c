"""Attention layers: PyTorch's values and gradients under every mask, and what PyTorch has not."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast import nn
from pyfast.nn.masks import band

N, L, S, E, HEADS = 2, 4, 6, 8, 2
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}


def normal(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def agree(got: Any, want: Any, what: str = "") -> None:
    got, want = np.asarray(got), np.asarray(want.detach() if hasattr(want, "detach") else want)
    tolerance = TOLERANCE[got.dtype]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=what)


def layers(dtype: Any = np.float64, **settings: Any) -> tuple[Any, Any]:
    """Our layer with PyTorch's weights, and PyTorch's."""
    theirs = torch.nn.MultiheadAttention(E, HEADS, **settings).to(
        torch.float64 if dtype == np.float64 else torch.float32
    )
    for i, parameter in enumerate(theirs.parameters()):
        start = normal(*parameter.shape, seed=50 + i, dtype=dtype) * dtype(0.3)
        parameter.data = torch.from_numpy(start)
    ours = nn.MultiheadAttention(E, HEADS, **settings, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def compare(
    ours: Any, theirs: Any, inputs: list[Any], masks: dict[str, Any], **options: Any
) -> None:
    """Outputs, weights, and gradients of inputs and parameters through both."""
    unique = list({id(x): x for x in inputs}.values())
    a = {id(x): pf.Tensor(x, requires_grad=True) for x in unique}
    b = {id(x): torch.tensor(x, requires_grad=True) for x in unique}
    torch_masks = {k: None if m is None else torch.from_numpy(m) for k, m in masks.items()}
    got = ours(*[a[id(x)] for x in inputs], **masks, **options)
    want = theirs(*[b[id(x)] for x in inputs], **torch_masks, **options)
    assert got[0].shape == tuple(want[0].shape)
    agree(got[0], want[0], "output")
    assert (got[1] is None) == (want[1] is None)
    seeds = [normal(*got[0].shape, seed=9, dtype=got[0].dtype)]
    outputs = [(got[0] * seeds[0]).sum()]
    expected = [(want[0] * torch.from_numpy(seeds[0])).sum()]
    if got[1] is not None:
        agree(got[1], want[1], "weights")
        seeds.append(normal(*got[1].shape, seed=10, dtype=got[0].dtype))
        outputs.append((got[1] * seeds[1]).sum())
        expected.append((want[1] * torch.from_numpy(seeds[1])).sum())
    sum(outputs[1:], outputs[0]).backward()
    sum(expected[1:], expected[0]).backward()
    for x in unique:
        agree(a[id(x)].grad, b[id(x)].grad, "gradient of an input")
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        agree(parameter.grad, gradients[name].grad, name)


def inputs_of(kind: str, dtype: Any = np.float64, batch_first: bool = False) -> list[Any]:
    def array(length: int, seed: int) -> Any:
        x = normal(length, N, E, seed=seed, dtype=dtype)
        return np.ascontiguousarray(x.swapaxes(0, 1)) if batch_first else x

    if kind == "self":
        return [array(S, 1)] * 3
    if kind == "cross":
        return [array(L, 1), *[array(S, 2)] * 2]
    return [array(L, 1), array(S, 2), array(S, 3)]


def padding(kind: str, dtype: Any) -> Any:
    mask = np.zeros((N, S), bool)
    mask[0, 4:] = True
    mask[1, 1] = True
    return {"none": None, "bool": mask, "float": np.where(mask, -1.5, 0.3).astype(dtype)}[kind]


def mask_of(kind: str, rows: int, dtype: Any) -> Any:
    causal = ~np.tri(rows, S, k=1, dtype=bool)
    rng = np.random.default_rng(4)
    per_head = rng.random((N * HEADS, rows, S)) < 0.3
    per_head[..., 0] = False
    return {
        "none": None,
        "bool": causal,
        "float": np.where(causal, -np.inf, 0.2).astype(dtype),
        "bool per head": per_head,
        "float per head": normal(N * HEADS, rows, S, seed=5, dtype=dtype),
    }[kind]


MASKS = ("none", "bool", "float", "bool per head", "float per head")


@pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")
@pytest.mark.parametrize("attn", MASKS)
@pytest.mark.parametrize("pad", ["none", "bool", "float"])
@pytest.mark.parametrize("kind", ["self", "cross", "three"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_mask_is_torchs(kind: str, pad: str, attn: str, dtype: Any) -> None:
    inputs = inputs_of(kind, dtype)
    masks = {
        "key_padding_mask": padding(pad, dtype),
        "attn_mask": mask_of(attn, len(inputs[0]), dtype),
    }
    for need_weights, average in ((True, True), (True, False), (False, True)):
        compare(
            *layers(dtype),
            inputs,
            masks,
            need_weights=need_weights,
            average_attn_weights=average,
        )


@pytest.mark.parametrize(
    "settings",
    [
        {"bias": False},
        {"batch_first": True},
        {"kdim": 5},
        {"vdim": 3, "bias": False},
        {"add_bias_kv": True},
        {"add_zero_attn": True, "batch_first": True},
        {"add_bias_kv": True, "add_zero_attn": True, "kdim": 5, "vdim": 3},
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_every_setting_is_torchs(settings: dict[str, Any], masked: bool) -> None:
    inputs = inputs_of("three", batch_first=settings.get("batch_first", False))
    inputs[1] = inputs[1][..., : settings.get("kdim", E)].copy()
    inputs[2] = inputs[2][..., : settings.get("vdim", E)].copy()
    masks = {
        "key_padding_mask": padding("bool", np.float64) if masked else None,
        "attn_mask": mask_of("bool per head", L, np.float64) if masked else None,
    }
    for need_weights in (True, False):
        compare(*layers(**settings), inputs, masks, need_weights=need_weights)


@pytest.mark.parametrize("batch_first", [False, True])
def test_inputs_without_a_batch(batch_first: bool) -> None:
    inputs = [x[:, 0].copy() for x in inputs_of("three")]
    masks = {
        "key_padding_mask": padding("bool", np.float64)[0],
        "attn_mask": mask_of("bool per head", L, np.float64)[:HEADS],
    }
    for average in (True, False):
        compare(*layers(batch_first=batch_first), inputs, masks, average_attn_weights=average)


def test_causal_hint_beside_its_mask() -> None:
    inputs = inputs_of("self")
    masks = {"attn_mask": ~np.tri(S, dtype=bool)}
    compare(*layers(), inputs, masks, need_weights=False, is_causal=True)
    ours, _ = layers()
    want = ours(*inputs, **masks)
    got = ours(*inputs, is_causal=True)
    agree(got[0], want[0])
    agree(got[1], want[1])


def test_names_order_and_initial_values() -> None:
    pf.manual_seed(0)
    torch.manual_seed(0)
    for settings in ({}, {"kdim": 3, "add_bias_kv": True}, {"bias": False}):
        ours = nn.MultiheadAttention(64, 4, **settings)  # type: ignore[arg-type]
        theirs = torch.nn.MultiheadAttention(64, 4, **settings)
        want = theirs.state_dict()
        assert list(ours.state_dict()) == list(want)
        for name, value in ours.state_dict().items():
            assert value.shape == tuple(want[name].shape)
            spread = want[name].numpy().std()
            assert abs(value.numpy().std() - spread) <= 5 * spread / np.sqrt(value.size)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("normalizer", ["softmax", "relu", "sigmoid"])
def test_a_query_that_sees_nothing_gets_zeros(normalizer: str, need_weights: bool) -> None:
    layer = nn.MultiheadAttention(E, HEADS, bias=False, dtype=np.float64, normalizer=normalizer)
    x = pf.Tensor(normal(S, N, E), requires_grad=True)
    mask = np.zeros((S, S), bool)
    mask[2] = True
    output, weights = layer(x, x, x, attn_mask=mask, need_weights=need_weights)
    assert not output.numpy()[2].any()
    assert weights is None or not weights.numpy()[:, 2].any()
    total = output.sum() if weights is None else output.sum() + weights.sum()
    total.backward()
    for tensor in (x, *layer.parameters()):
        assert np.isfinite(np.asarray(tensor.grad)).all()


@pytest.mark.parametrize("normalizer", ["softmax", "relu"])
def test_padding_leaves_no_trace(normalizer: str) -> None:
    layer = nn.MultiheadAttention(E, HEADS, dtype=np.float64, normalizer=normalizer)
    query, key = normal(L, N, E), normal(S, N, E, seed=1)
    ignored = np.zeros((N, S), bool)
    ignored[:, 3] = True
    clean = layer(query, key, key, ignored)
    key[3] = np.nan
    for got, want in zip(layer(query, key, key, ignored), clean, strict=True):
        agree(got, want)


def test_dropout_is_for_training() -> None:
    pf.manual_seed(0)
    layer = nn.MultiheadAttention(E, HEADS, dropout=0.5)
    x = normal(S, N, E, dtype=np.float32)
    assert (layer(x, x, x)[0].numpy() != layer(x, x, x)[0].numpy()).any()
    layer.eval()
    assert (layer(x, x, x)[0].numpy() == layer(x, x, x)[0].numpy()).all()


def test_normalizers_follow_their_formulas() -> None:
    """Scores are all 0: 1/n for softmax, 0 for ReLU, sigmoid(-log n) = 1/(1+n) for sigmoid."""
    x = np.zeros((5, 1, E))
    ignored = np.array([[False, False, False, True, True]])
    wanted = {"softmax": 1 / 3, "relu": 0.0, "sigmoid": 1 / 4}
    for normalizer, weight in wanted.items():
        layer = nn.MultiheadAttention(E, HEADS, dtype=np.float64, normalizer=normalizer)
        weights = layer(x, x, x, ignored)[1].numpy()
        np.testing.assert_allclose(weights[..., :3], weight, rtol=1e-12)
        assert not weights[..., 3:].any()


def test_a_callable_normalizer_and_its_gradient() -> None:
    plain, _ = layers()
    own = nn.MultiheadAttention(
        E, HEADS, dtype=np.float64, normalizer=lambda scores: pf.ops.softmax(scores, -1)
    )
    own.load_state_dict(plain.state_dict())
    x = normal(S, N, E)
    a, b = pf.Tensor(x, True), pf.Tensor(x, True)
    ignored = padding("bool", np.float64)
    own(a, a, a, ignored, need_weights=False)[0].sum().backward()
    plain(b, b, b, ignored, need_weights=False)[0].sum().backward()
    agree(a.grad, b.grad)


def test_a_learned_bias_gets_its_gradient() -> None:
    """A float mask that requires grad: relative positions are learned this way."""
    ours, theirs = layers()
    x, bias = normal(S, N, E), normal(S, S, seed=3)
    a, b = pf.Tensor(bias, True), torch.tensor(bias, requires_grad=True)
    y = torch.from_numpy(x)
    ours(x, x, x, attn_mask=a, need_weights=False)[0].sum().backward()
    theirs(y, y, y, attn_mask=b, need_weights=False)[0].sum().backward()
    agree(a.grad, b.grad)


# -- grouped queries, windows, graphs, additive scores ---------------------------------------------


def grouped(dtype: Any = np.float64, **settings: Any) -> nn.GroupedQueryAttention:
    layer = nn.GroupedQueryAttention(E, 4, dtype=dtype, **settings)
    for i, parameter in enumerate(layer.parameters()):
        parameter.data = normal(*parameter.shape, seed=i, dtype=dtype)
    return layer


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_grouped_queries_in_plain_arithmetic(
    groups: int, window: int | None, causal: bool, padded: bool
) -> None:
    layer = grouped(num_kv_heads=groups, window_size=window, bias=True)
    x, ignored = normal(N, S, E, seed=7), padding("bool", np.float64)
    got = layer(x, ignored if padded else None, is_causal=causal)
    projected = x @ layer.in_proj_weight.numpy().T + np.asarray(layer.in_proj_bias)
    heads = projected.reshape(N, S, -1, 2).swapaxes(1, 2)
    q, k, v = heads[:, :4], heads[:, 4 : 4 + groups], heads[:, 4 + groups :]
    k, v = (x.repeat(4 // groups, axis=1) for x in (k, v))
    keep = np.ones((S, S), bool)
    for i, j in itertools.product(range(S), range(S)):
        hidden = (causal and j > i) or (window is not None and abs(i - j) >= window)
        keep[i, j] = not hidden
    keep = keep & ~ignored[:, None, None, :] if padded else keep
    scores = np.where(keep, q @ k.swapaxes(-1, -2) / np.sqrt(2), -1e300)
    weights = np.where(keep, np.exp(scores - scores.max(-1, keepdims=True)), 0)
    total = weights.sum(-1, keepdims=True)
    mixed = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0) @ v
    want = mixed.swapaxes(1, 2).reshape(N, S, -1) @ layer.out_proj.weight.numpy().T
    agree(got, want + np.asarray(layer.out_proj.bias))


@pytest.mark.parametrize("causal", [True, False])
def test_a_window_without_a_cache_builds_no_mask(
    causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel skips the keys outside; outputs and gradients are those of the mask."""
    x, g = normal(2, 90, E, seed=1), normal(2, 90, E, seed=2)
    layer = grouped(num_kv_heads=2, bias=True)
    hidden = nn.sliding_window_mask(90, 7, causal=causal)
    monkeypatch.setattr(layer, "_keep", lambda *_: (~hidden, {}))
    want = pf.Tensor(x, requires_grad=True)
    masked = layer(want, is_causal=causal)
    masked.backward(g)
    monkeypatch.setattr("pyfast.nn.attention.band_beside", None)
    got = pf.Tensor(x, requires_grad=True)
    windowed = grouped(num_kv_heads=2, bias=True, window_size=7)(got, is_causal=causal)
    windowed.backward(g)
    agree(windowed, masked.numpy())
    agree(got.grad, want.grad)


def test_masks_of_windows_and_graphs() -> None:
    assert (nn.causal_mask(4) == ~np.tri(4, dtype=bool)).all()
    window = nn.sliding_window_mask(5, 2, causal=False)
    assert (window == (np.abs(np.subtract.outer(range(5), range(5))) >= 2)).all()
    adjacency = np.array([[0, 1, 0], [0, 0, 2], [0, 0, 0]])
    assert (nn.adjacency_mask(adjacency, self_loops=False) == (adjacency == 0)).all()
    assert not nn.adjacency_mask(adjacency).diagonal().any()
    assert (band(2, 5, start=3) == np.tri(2, 5, k=3, dtype=bool)).all()


def test_a_node_hears_its_neighbours_only() -> None:
    """A graph of two components: nothing passes from one to the other."""
    adjacency = np.kron(np.eye(2), np.ones((3, 3)))
    layer, x = layers()[0], normal(6, 1, E)
    mask = nn.adjacency_mask(adjacency)
    before = layer(x, x, x, attn_mask=mask)[0].numpy()
    x[3:] += 1
    after = layer(x, x, x, attn_mask=mask)[0].numpy()
    agree(after[:3], before[:3])
    assert (after[3:] != before[3:]).any()


@pytest.mark.parametrize("masked", [False, True])
def test_additive_attention_is_its_formula(masked: bool) -> None:
    layer = nn.AdditiveAttention(3, 5, 7, dtype=np.float64)
    query, key, value = normal(N, L, 3), normal(N, S, 5, seed=1), normal(N, S, 4, seed=2)
    ignored = padding("bool", np.float64) if masked else None
    attn = mask_of("bool", L, np.float64) if masked else None
    a = [pf.Tensor(x, True) for x in (query, key, value)]
    b = [torch.tensor(x, requires_grad=True) for x in (query, key, value)]
    got, weights = layer(*a, ignored, attn)
    w = {k: torch.tensor(v.numpy()) for k, v in layer.state_dict().items()}
    hidden = (b[0] @ w["query_proj.weight"].T + w["query_proj.bias"])[:, :, None]
    hidden = torch.tanh(hidden + (b[1] @ w["key_proj.weight"].T)[:, None])
    scores = hidden @ w["score.weight"][0]
    if masked:
        scores = scores.masked_fill(torch.from_numpy(ignored)[:, None], -torch.inf)
        scores = scores.masked_fill(torch.from_numpy(attn), -torch.inf)
    expected = scores.softmax(-1)
    agree(weights, expected)
    agree(got, expected @ b[2])
    got.sum().backward()
    (expected @ b[2]).sum().backward()
    for ours, theirs in zip(a, b, strict=True):
        agree(ours.grad, theirs.grad)


X = np.zeros((S, N, E), np.float32)
ATTENTION = nn.MultiheadAttention(E, HEADS)
GROUPED = nn.GroupedQueryAttention(E, 4, 2)
ADDITIVE = nn.AdditiveAttention(E, E, 3)
Y = X.swapaxes(0, 1)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: nn.MultiheadAttention(8, 3), ValueError, "num_heads must .* divide .*got 3"),
        (lambda: nn.MultiheadAttention(8, 0), ValueError, "got 0"),
        (lambda: nn.MultiheadAttention(8, 2, dropout=2), ValueError, "dropout must .*got 2"),
        (lambda: nn.MultiheadAttention(8, 2, normalizer="max"), ValueError, "normalizer .*'max'"),
        (lambda: ATTENTION(X[..., :5], X, X), ValueError, "query must have shape .* got"),
        (lambda: ATTENTION(X, X[..., :5], X), ValueError, "key must have shape"),
        (lambda: ATTENTION(X, X, X[0]), ValueError, "value must have shape"),
        (lambda: ATTENTION(X, X, X[:3]), ValueError, "value must have the length"),
        (lambda: ATTENTION(X, X[:, :1], X[:, :1]), ValueError, "key must have the batch"),
        (
            lambda: ATTENTION(X, X, X, np.zeros((S, N), bool)),
            ValueError,
            r"key_padding_mask must have shape \(2, 6\), got \(6, 2\)",
        ),
        (
            lambda: ATTENTION(X, X, X, np.zeros((N, S), int)),
            TypeError,
            "key_padding_mask must be bool or float32, got int64",
        ),
        (
            lambda: ATTENTION(X, X, X, attn_mask=np.zeros((S, S))),
            TypeError,
            "attn_mask must be bool or float32, got float64",
        ),
        (
            lambda: ATTENTION(X, X, X, attn_mask=np.zeros((N, S, S), bool)),
            ValueError,
            r"attn_mask must have shape \(6, 6\) or \(4, 6, 6\), got \(2, 6, 6\)",
        ),
        (lambda: ATTENTION(X.astype(float), X, X), TypeError, "float"),
        (lambda: nn.GroupedQueryAttention(8, 4, 3), ValueError, "num_kv_heads .*got 3"),
        (lambda: nn.GroupedQueryAttention(8, 4, window_size=0), ValueError, "window_size .*0"),
        (
            lambda: nn.GroupedQueryAttention(8, 4, rotary=nn.RotaryPositionalEmbedding(4)),
            ValueError,
            "rotary must turn 2 features, got 4",
        ),
        (lambda: GROUPED(X[0]), ValueError, "input must have shape"),
        (lambda: GROUPED(Y, np.zeros((N, 3), bool)), ValueError, "key_padding_mask must have"),
        (lambda: GROUPED(Y, np.zeros((N, S))), TypeError, "key_padding_mask must be bool"),
        (lambda: nn.AdditiveAttention(2, 2, 2, normalizer=""), ValueError, "normalizer"),
        (lambda: ADDITIVE(X[0], X), ValueError, "3 dimensions"),
        (lambda: ADDITIVE(X, X[:3]), ValueError, "batch and length must agree"),
        (lambda: ADDITIVE(Y, Y, None, np.zeros((N, 3), bool)), ValueError, "key_padding_mask"),
        (lambda: nn.sliding_window_mask(4, 0), ValueError, "window_size must be positive, got 0"),
        (lambda: nn.adjacency_mask(np.zeros((2, 3))), ValueError, r"got \(2, 3\)"),
        (lambda: nn.adjacency_mask(np.full((2, 2), np.nan)), ValueError, "NaN"),
        (lambda: nn.causal_mask(-1), ValueError, "length must not be negative, got -1"),
        (lambda: nn.sliding_window_mask(-1, 2), ValueError, "length must not be .* got -1"),
        (lambda: nn.MultiheadAttention(8, 2.0), TypeError, "num_heads must be an int, got 2.0"),
        (lambda: nn.MultiheadAttention("8", 2), TypeError, "embed_dim must be an int, got '8'"),
        (lambda: ATTENTION(X.tolist(), X, X), TypeError, "query must be an array, got list"),
        (lambda: ATTENTION(X, None, X), TypeError, "key must be an array, got NoneType"),
        (lambda: GROUPED(Y.tolist()), TypeError, "input must be an array, got list"),
        (lambda: ADDITIVE(Y, Y.tolist()), TypeError, "key must be an array, got list"),
        (
            lambda: nn.MultiheadAttention(E, HEADS, normalizer=lambda s: s[0])(X, X, X),
            ValueError,
            r"normalizer must return the shape of the scores \(2, 2, 6, 6\), got \(2, 6, 6\)",
        ),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("sizes", [(0, 3, 3), (2, 0, 3), (2, 3, 0)], ids=str)
def test_empty_inputs(sizes: tuple[int, int, int], need_weights: bool) -> None:
    batch, queries, keys = sizes
    ours, theirs = nn.MultiheadAttention(E, HEADS), torch.nn.MultiheadAttention(E, HEADS)
    ours.load_state_dict(theirs.state_dict())
    a = [np.ones((n, batch, E), np.float32) for n in (queries, keys, keys)]
    b = [torch.from_numpy(x) for x in a]
    got, weights = ours(*a, need_weights=need_weights)
    expected, _ = theirs(*b, need_weights=need_weights)
    np.testing.assert_allclose(got.numpy(), expected.detach().numpy(), atol=1e-6)
    if need_weights:
        assert weights.shape == (batch, queries, keys)
