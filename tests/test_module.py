"""Module and containers: registration, state, walking, hooks, repr, copies."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast import nn


class Scale(nn.Module):
    def __init__(self, n: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(np.arange(n, dtype=np.float32))
        self.register_parameter("bias", None)
        self.register_buffer("steps", np.array(0))
        self.register_buffer("scratch", np.zeros(2, np.float32), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.weight * x

    def extra_repr(self) -> str:
        return f"n={self.weight.size}"


class Tree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = Scale()
        self.right = nn.Sequential(Scale(2), nn.Identity())
        self.shared = self.left
        self.tied = self.left.weight

    def forward(self, x: Any) -> Any:
        return self.left(x)


def test_names_are_paths_and_shared_things_are_shown_once() -> None:
    tree = Tree()
    assert [n for n, _ in tree.named_parameters()] == ["tied", "right.0.weight"]
    assert len(list(tree.named_parameters(remove_duplicate=False))) == 4
    assert [n for n, _ in tree.named_modules()] == ["", "left", "right", "right.0", "right.1"]
    assert [n for n, _ in tree.named_children()] == ["left", "right"]
    assert [n for n, _ in tree.named_buffers()] == [
        "left.steps", "left.scratch", "right.0.steps", "right.0.scratch",
    ]  # fmt: skip
    assert list(tree.state_dict()) == [
        "tied", "left.weight", "left.steps", "right.0.weight", "right.0.steps", "shared.weight",
        "shared.steps",
    ]  # fmt: skip
    assert tree.count_parameters() == 5
    tree.left.requires_grad_(False)
    assert tree.count_parameters(trainable=True) == 2


def test_lookup_by_path() -> None:
    tree = Tree()
    assert tree.get_submodule("right.0") is tree.right[0]
    assert tree.get_submodule("") is tree
    assert tree.get_parameter("right.0.weight") is tree.right[0].weight
    with pytest.raises(AttributeError, match=r"nothing.*right\.nothing"):
        tree.get_submodule("right.nothing")
    with pytest.raises(AttributeError, match="bias"):
        tree.get_parameter("left.bias")


def test_attributes_register_replace_and_disappear() -> None:
    layer = Scale()
    layer.weight = nn.Parameter(np.ones(2, np.float32))
    assert layer.get_parameter("weight").shape == (2,)
    layer.steps = np.array(5)
    assert isinstance(layer.steps, pf.Tensor)
    assert layer.state_dict()["steps"].item() == 5
    layer.bias = nn.Parameter(np.zeros(2, np.float32))
    assert "bias" in layer.state_dict()
    layer.bias = None
    assert "bias" not in layer.state_dict()
    del layer.weight
    assert not hasattr(layer, "weight")
    assert list(layer.parameters()) == []
    layer.scratch = nn.Parameter(np.zeros(1, np.float32))
    assert "scratch" in layer.state_dict()
    assert [n for n, _ in layer.named_buffers()] == ["steps"]


class Early(nn.Module):
    def __init__(self) -> None:
        self.weight = nn.Parameter(np.zeros(1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: Early(), AttributeError, "__init__"),
        (lambda m: setattr(m, "weight", np.zeros(3)), TypeError, "Scale.weight must be a Param"),
        (lambda m: setattr(m, "steps", 3), TypeError, "Scale.steps must be a Tensor"),
        (lambda m: m.register_buffer("forward", np.zeros(1)), KeyError, "already exists"),
        (lambda m: m.register_parameter("a.b", None), KeyError, "dots"),
        (lambda m: m.register_parameter("", None), KeyError, "non-empty"),
        (lambda m: m.register_parameter("p", np.zeros(1)), TypeError, "Parameter"),
        (lambda m: m.register_module("m", 3), TypeError, "Module"),
        (lambda m: m.to(np.int32), TypeError, "float32 or float64"),
        (lambda m: m.nothing, AttributeError, "nothing"),
    ],
)
def test_misuse_is_explained(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(Scale())


def test_modules_may_be_replaced_by_none_but_nothing_else() -> None:
    tree = Tree()
    tree.right = None
    assert "right.0.weight" not in tree.state_dict()
    with pytest.raises(TypeError, match="a Module or None"):
        tree.left = 3


@pytest.mark.parametrize(
    "convert",
    [lambda t: t, np.asarray, lambda t: torch.tensor(np.asarray(t)), lambda t: t.tolist()],
)
def test_state_goes_from_model_to_model(convert: Any) -> None:
    source, target = Tree(), Tree()
    for p in source.parameters():
        p.data += 7
    before = target.left.weight.data
    state = {k: convert(v) for k, v in source.state_dict().items()}
    assert target.load_state_dict(state) == ([], [])
    assert target.left.weight.data is before
    np.testing.assert_array_equal(target.left.weight, source.left.weight.numpy())
    assert not source.state_dict()["left.weight"].requires_grad
    assert source.state_dict(keep_vars=True)["left.weight"] is source.left.weight
    assert next(iter(source.state_dict("model."))) == "model.tied"


def test_load_names_every_problem_and_writes_nothing() -> None:
    tree = Tree()
    before = {k: v.numpy().copy() for k, v in tree.state_dict().items()}
    state: dict[str, Any] = {k: v + 1 for k, v in before.items() if k != "left.weight"}
    state["right.0.weight"] = np.zeros(9)
    state["surplus"] = np.zeros(1)
    with pytest.raises(RuntimeError) as caught:
        tree.load_state_dict(state)
    for part in ("Tree", "missing keys: left.weight", "unexpected keys: surplus",
                 "right.0.weight: shape (9,) in the checkpoint, (2,) in the model"):  # fmt: skip
        assert part in str(caught.value)
    with pytest.raises(RuntimeError, match=r"\(9,\)"):
        tree.load_state_dict(state, strict=False)
    for name, value in tree.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    del state["right.0.weight"]
    result = tree.load_state_dict(state, strict=False)
    assert result.missing_keys == ["left.weight", "right.0.weight"]
    assert result.unexpected_keys == ["surplus"]
    with pytest.raises(TypeError, match="'tied' must be an array of numbers"):
        tree.load_state_dict({"tied": "text"}, strict=False)


def test_torch_bfloat16_and_gradient_tensors_load() -> None:
    layer = Scale()
    layer.load_state_dict(
        {
            "weight": torch.ones(3, dtype=torch.bfloat16, requires_grad=True),
            "steps": torch.tensor(4),
        }
    )
    assert layer.weight.tolist() == [1, 1, 1]


def test_train_eval_apply_to_zero_grad() -> None:
    tree = Tree()
    assert tree.eval() is tree
    assert not tree.right[0].training
    tree.train()
    assert tree.right[0].training
    seen: list[str] = []
    tree.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Tree"
    tree(pf.ones(3)).sum().backward()
    tree.double()
    assert tree.left.weight.grad is not None
    assert tree.left.weight.dtype == tree.left.weight.grad.dtype == np.float64
    assert tree.left.scratch.dtype == np.float64
    assert tree.left.steps.dtype == np.int64
    tree.zero_grad(set_to_none=False)
    assert tree.left.weight.grad.tolist() == [0, 0, 0]
    tree.zero_grad()
    assert tree.left.weight.grad is None
    assert tree.float().left.weight.dtype == np.float32


def test_hooks_see_and_change_what_passes() -> None:
    layer = Scale()
    before = layer.register_forward_pre_hook(lambda m, args: args[0] * 2)
    after = layer.register_forward_hook(lambda m, args, out: out + args[0])
    x = np.ones(3, np.float32)
    assert layer(x).tolist() == [2, 4, 6]
    before.remove()
    assert layer(x).tolist() == [1, 2, 3]
    after.remove()
    assert layer(x).tolist() == [0, 1, 2]


def test_repr_nests_as_torch_does() -> None:
    assert repr(Scale()) == "Scale(n=3)"
    assert repr(Tree()) == (
        "Tree(\n  (left): Scale(n=3)\n  (right): Sequential(\n    (0): Scale(n=2)\n"
        "    (1): Identity()\n  )\n  (shared): Scale(n=3)\n)"
    )
    ours, theirs = [
        lib.Sequential(
            lib.Conv2d(1, 2, 3, padding=1), lib.BatchNorm2d(2), lib.ReLU(), lib.Flatten()
        )
        for lib in (nn, torch.nn)
    ]
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_whole_and_keep_sharing(copied: Any) -> None:
    tree = Tree()
    tree(pf.ones(3)).sum().backward()
    twin = copied(tree)
    assert list(twin.state_dict()) == list(tree.state_dict())
    assert twin.left is twin.shared
    assert twin.tied is twin.left.weight
    assert isinstance(twin.left.weight, nn.Parameter)
    assert twin.left.weight is not tree.left.weight
    assert twin.get_parameter("left.weight") is twin.left.weight
    twin.left.weight.data += 1
    assert tree.left.weight.tolist() == [0, 1, 2]


def test_value_and_grad_of_a_module() -> None:
    layer = Scale()
    value, gradients = pf.value_and_grad(layer, lambda x: layer(x).sum())(np.ones(3, np.float32))
    assert value.item() == 3
    assert gradients["weight"].tolist() == [1, 1, 1]
    assert layer.weight.grad is None


def test_sequential_is_a_list_of_modules() -> None:
    a, b, c = nn.Identity(), nn.Identity(), nn.Identity()
    row = nn.Sequential(a, b)
    assert row.append(c) is row
    assert list(row) == [a, b, c]
    assert row[-1] is c
    assert list(row[1:]) == [b, c]
    assert isinstance(row[1:], nn.Sequential)
    row.insert(0, c)
    del row[1]
    assert list(row._modules) == ["0", "1", "2"]
    assert list(row) == [c, b, c]
    row[0] = a
    assert row[0] is a
    assert b in row
    assert row(5) == 5
    named = nn.Sequential({"first": a, "second": b})
    assert named.first is a
    with pytest.raises(IndexError, match="index 7"):
        row[7]
    with pytest.raises(TypeError, match="Module"):
        nn.Sequential(3)


def test_module_list_dict_and_parameters() -> None:
    layers = nn.ModuleList([Scale(1)])
    layers += [Scale(2)]
    layers.extend([Scale(3)])
    assert [m.weight.size for m in layers] == [1, 2, 3]
    assert layers.pop().weight.size == 3
    assert isinstance(layers[:1], nn.ModuleList)
    assert list(layers.state_dict())[:2] == ["0.weight", "0.steps"]
    heads = nn.ModuleDict({"a": Scale(1)})
    heads["b"] = Scale(2)
    assert list(heads) == ["a", "b"]
    assert "b" in heads
    assert heads.pop("a").weight.size == 1
    assert [k for k, _ in heads.items()] == list(heads.keys()) == ["b"]
    assert len(list(heads.values())) == len(heads) == 1
    row = nn.ParameterList([np.zeros(1)])
    row.append(nn.Parameter(np.ones(2)))
    row[0] = np.ones(3)
    assert [p.size for p in row] == [3, 2]
    assert len(row) == len(list(row.parameters())) == 2
    named = nn.ParameterDict({"x": np.zeros(1)})
    assert list(named.state_dict()) == ["x"]
