"""Whole models, the same code and weights for both: pyfast has PyTorch's names.

Inference runs what `pf.fuse` makes of the model, PyTorch in `inference_mode`. A training step is
forward, loss, backward and SGD with momentum; dropout is off, so that the losses can be compared.
Work is counted for the products of one forward pass, and three of them for a training step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]

WIDTH, HEADS, LAYERS, INNER = 512, 8, 6, 2048
CACHE = 1024  # positions, the new token's included
CLASSES = {"lenet": 10, "resnet18": 1000}


def _lenet(nn: Any, attention: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def _resnet18(nn: Any, attention: Any) -> Any:
    """He et al., CVPR 2016, table 1."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
            )  # fmt: skip
            self.shortcut = nn.Identity()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.shortcut(x))

    layers = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    inputs = 64
    for outputs in (64, 128, 256, 512):
        layers += [Block(inputs, outputs, 1 if outputs == 64 else 2), Block(outputs, outputs, 1)]
        inputs = outputs
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
    return nn.Sequential(*layers)


def _encoder(nn: Any, attention: Any) -> Any:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, 0.0, batch_first=True)
    return nn.TransformerEncoder(layer, LAYERS)


def _decoder(nn: Any, attention: Any) -> Any:
    """One new token at the end of a full cache, pre-norm as in GPT-2."""

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.gelu = nn.Linear(WIDTH, INNER), nn.GELU()
            self.down = nn.Linear(INNER, WIDTH)

        def forward(self, x: Any, keys: Any, values: Any) -> Any:
            qkv = self.qkv(self.norm1(x)).reshape(len(x), 3, HEADS, 1, WIDTH // HEADS)
            keys[:, :, -1:] = qkv[:, 1].data  # an array in pyfast, a tensor in PyTorch
            values[:, :, -1:] = qkv[:, 2].data
            mixed = attention(qkv[:, 0], keys, values)
            x = x + self.out(mixed.reshape(len(x), 1, WIDTH))
            return x + self.down(self.gelu(self.up(self.norm2(x))))

    class Decoder(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Layer() for _ in range(LAYERS)])

        def forward(self, x: Any, keys: Any, values: Any) -> Any:
            for i, layer in enumerate(self.layers):
                x = layer(x, keys[i], values[i])
            return x

    return Decoder()


MODELS: dict[str, Callable[[Any, Any], Any]] = {
    "lenet": _lenet,
    "resnet18": _resnet18,
    "encoder": _encoder,
    "decoder": _decoder,
}


def _labels(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return rng.integers(0, 10, size)


def _shape(model: str, sizes: Mapping[str, tuple[int, ...]], gflop: float, warm: int = 1) -> Shape:
    name = f"{model} {'x'.join(map(str, sizes['x']))}"
    return Shape(name, sizes, gflop * 1e9, params={"model": model}, warm=warm)


def _trained(shape: Shape) -> Shape:
    """With labels where the model classifies."""
    sizes = dict(shape.sizes)
    if shape.params["model"] in CLASSES:
        sizes["labels"] = sizes["x"][:1]
    make = {"labels": _labels}
    return Shape(shape.name, sizes, 3 * shape.work, params=shape.params, make=make)


_PER_TOKEN = 2e-9 * LAYERS * (4 * WIDTH**2 + 2 * WIDTH * INNER)
_KEYS = (LAYERS, 1, HEADS, CACHE, WIDTH // HEADS)
LENET = _shape("lenet", {"x": (64, 1, 28, 28)}, 64 * 0.83e-3)
RESNET = _shape("resnet18", {"x": (8, 3, 224, 224)}, 8 * 3.63)
ENCODER = _shape(
    "encoder", {"x": (16, 128, WIDTH)}, 16 * 128 * (_PER_TOKEN + 4e-9 * LAYERS * 128 * WIDTH)
)
DECODER = _shape(
    "decoder",
    {"x": (1, 1, WIDTH), "keys": _KEYS, "values": _KEYS},
    _PER_TOKEN + 4e-9 * LAYERS * CACHE * WIDTH,
    warm=12,  # weights and cache are 100 MB, read once a token
)


def _ours(p: Params) -> Any:
    pf.manual_seed(0)
    return MODELS[p["model"]](pf.nn, pf.ops.scaled_dot_product_attention)


def _theirs(p: Params) -> Any:
    """PyTorch's twin, with pyfast's weights."""
    import torch

    model = MODELS[p["model"]](torch.nn, torch.nn.functional.scaled_dot_product_attention)
    state = {k: torch.from_numpy(v.numpy().copy()) for k, v in _ours(p).state_dict().items()}
    model.load_state_dict(state)
    return model


def _inputs(a: Any) -> list[Any]:
    return [v for k, v in a.items() if k != "labels"]


def _infer(a: Arrays, p: Params) -> Call:
    inputs = [np.array(v) for v in _inputs(a)]  # the decoder writes into its cache
    model = pf.fuse(_ours(p).eval(), *inputs)

    def call() -> Any:
        with pf.no_grad():
            return model(*inputs).numpy()

    return call


def _torch_inference(compiled: bool) -> Callable[[Any, Params], Call]:
    def build(a: Any, p: Params) -> Call:
        import torch

        inputs = [v.clone(memory_format=torch.preserve_format) for v in _inputs(a)]
        model = _theirs(p).eval()
        if any(v.is_contiguous(memory_format=torch.channels_last) for v in inputs if v.ndim == 4):
            model = model.to(memory_format=torch.channels_last)
        run = torch.compile(model) if compiled else model

        def call() -> Any:
            with torch.inference_mode():
                return run(*inputs)

        call()
        return call

    return build


def _module(p: Params) -> Any:
    """What ONNX Runtime and OpenVINO convert; neither writes into a cache in place."""
    return None if p["model"] == "decoder" else _theirs(p).eval()


def _loss(functional: Any, y: Any, a: Any) -> Any:
    return functional.cross_entropy(y, a["labels"]) if "labels" in a else (y * y).mean()


def _step(a: Arrays, p: Params) -> Call:
    model = _ours(p)
    optimizer = pf.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def call() -> Any:
        optimizer.zero_grad()
        loss = _loss(pf.nn.functional, model(a["x"]), a)
        loss.backward()
        optimizer.step()
        return loss.numpy()

    return call


def _torch_step(compiled: bool) -> Callable[[Any, Params], Call]:
    def build(a: Any, p: Params) -> Call:
        import torch

        model = _theirs(p)
        if a["x"].ndim == 4 and a["x"].is_contiguous(memory_format=torch.channels_last):
            model = model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
        run = torch.compile(model) if compiled else model

        def call() -> Any:
            optimizer.zero_grad()
            loss = _loss(torch.nn.functional, run(a["x"]), a)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return call

    return build


FAMILIES = (
    Family(
        "model inference",
        (LENET, RESNET, ENCODER, DECODER),
        _infer,
        torch=_torch_inference(False),
        torch_compile=_torch_inference(True),
        module=_module,
        channels_last=True,
    ),
    Family(
        "model training step",
        tuple(_trained(s) for s in (LENET, RESNET, ENCODER)),
        _step,
        torch=_torch_step(False),
        torch_compile=_torch_step(True),
        channels_last=True,
    ),
)
