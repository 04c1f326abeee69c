"""Greedy decoding by GPTs with a cache, against transformers' `generate` on the same weights.

"packed" is the model that `pf.fuse` prepared for inference, once, outside the timing.
The rate counts each weight once per new token, which is what must come from memory at least.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]


def _shape(
    width: int, layers: int, vocabulary: int, batch: int, new: int, prompt: int = 16
) -> Shape:
    weights = vocabulary * width + 12 * layers * width * width
    return Shape(
        name=f"{layers}x{width}, {vocabulary} tokens, batch {batch}, {prompt} + {new} tokens",
        sizes={"prompt": (batch, prompt)},
        work=4.0 * weights * new,
        unit="byte",
        params={"width": width, "layers": layers, "vocabulary": vocabulary, "new": new},
        make={"prompt": lambda rng, size: rng.integers(0, vocabulary, size)},
    )


SHAPES = (
    _shape(128, 4, 256, 1, 64),
    _shape(128, 4, 256, 8, 64),
    _shape(384, 6, 5000, 1, 32),
    _shape(384, 6, 5000, 8, 32),
    _shape(384, 6, 5000, 32, 32),
    _shape(768, 12, 50257, 1, 16),
    _shape(768, 12, 50257, 8, 16),
    _shape(768, 12, 50257, 1, 1, prompt=512),
)


def _model(p: Params) -> Any:
    """The same weights for everybody, large enough that no two tokens tie."""
    sizes = {"vocab_size": p["vocabulary"], "hidden_size": p["width"]}
    config = pf.models.GPTConfig(
        **sizes, num_hidden_layers=p["layers"], num_attention_heads=p["width"] // 32
    )
    pf.manual_seed(0)
    model = pf.models.GPT(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data *= 4
    return model.eval()


def _pyfast(a: Arrays, p: Params) -> Call:
    return _decoding(_model(p), a, p)


def _prepared(a: Arrays, p: Params) -> Call:
    return _decoding(pf.fuse(_model(p)), a, p)


def _decoding(model: Any, a: Arrays, p: Params) -> Call:
    def call() -> Any:
        found = pf.generation.generate(model, a["prompt"], p["new"])
        return np.array([f.tokens for f in found])

    return call


def _torch(a: Any, p: Params) -> Call | None:
    if importlib.util.find_spec("transformers") is None:
        return None
    import torch
    import transformers

    ours = _model(p)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=p["vocabulary"], n_embd=p["width"], n_layer=p["layers"],
            n_head=p["width"] // 32, bos_token_id=None, eos_token_id=None, pad_token_id=0,
        )
    ).eval()  # fmt: skip
    theirs = {
        _their_name(name): torch.from_numpy(
            np.array(w.data.T if w.ndim == 2 and "layers" in name else w.data)
        )
        for name, w in ours.named_parameters()
    }
    model.load_state_dict({**theirs, "lm_head.weight": theirs["transformer.wte.weight"]})
    mask = torch.ones_like(a["prompt"])

    def call() -> Any:
        out = model.generate(
            a["prompt"], attention_mask=mask, max_new_tokens=p["new"], do_sample=False
        )
        return out[:, a["prompt"].shape[1] :].numpy()

    return call


def _their_name(name: str) -> str:
    for ours, theirs in (
        ("token_embedding", "transformer.wte"),
        ("position", "transformer.wpe"),
        ("layers", "transformer.h"),
        ("attention.in_proj_", "attn.c_attn."),
        ("attention.out_proj", "attn.c_proj"),
        ("feed_forward.up", "mlp.c_fc"),
        ("feed_forward.down", "mlp.c_proj"),
        ("norm1", "ln_1"),
        ("norm2", "ln_2"),
    ):
        name = name.replace(ours, theirs)
    return f"transformer.ln_f{name[4:]}" if name.startswith("norm") else name


FAMILIES = (Family("generation", SHAPES, _pyfast, torch=_torch, prepared=_prepared, rtol=0.0),)
