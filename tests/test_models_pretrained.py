"""Folders of Hugging Face models: its own implementation on PyTorch must agree; broken files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from pyfast import models

transformers = pytest.importorskip("transformers", reason="needs Hugging Face transformers")

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
}
VOCABULARY = {"vocab_size": 30, "max_position_embeddings": 12}
LLAMA = {**SIZES, **VOCABULARY, "num_key_value_heads": 2, "pad_token_id": None}
GPT2 = {
    "vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 12,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
VIT = {**SIZES, "image_size": 8, "patch_size": 2, "num_channels": 1}

# name: model class, config class, settings, ours
CASES: dict[str, tuple[str, str, dict[str, Any], Any]] = {
    "bert": ("BertModel", "BertConfig", {**SIZES, **VOCABULARY}, models.Bert),
    "bert relu": (
        "BertModel",
        "BertConfig",
        {**SIZES, **VOCABULARY, "hidden_act": "relu", "layer_norm_eps": 1e-3},
        models.Bert,
    ),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2, models.GPT),
    "gpt2 untied": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {**GPT2, "tie_word_embeddings": False, "n_inner": 20, "activation_function": "gelu"},
        models.GPT,
    ),
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA, models.GPT),
    "llama wide heads": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**LLAMA, "head_dim": 6, "num_key_value_heads": 1, "tie_word_embeddings": True},
        models.GPT,
    ),
    "llama theta": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**LLAMA, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
        models.GPT,
    ),
    "mistral": ("MistralForCausalLM", "MistralConfig", {**LLAMA, "sliding_window": 3}, models.GPT),
    "vit": ("ViTModel", "ViTConfig", VIT, models.VisionTransformer),
    "vit classifier": (
        "ViTForImageClassification",
        "ViTConfig",
        {**VIT, "num_labels": 10, "image_size": [8, 4], "hidden_act": "gelu_new"},
        models.VisionTransformer,
    ),
}


def theirs_of(name: str) -> Any:
    """Hugging Face's model with random weights far from their small initial values."""
    model_class, config_class, settings, _ = CASES[name]
    config = getattr(transformers, config_class)(**settings)
    model = getattr(transformers, model_class)(config).eval()
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        start = 0.2 * rng.standard_normal(parameter.shape) + (parameter.ndim == 1)
        parameter.data = torch.from_numpy(start.astype(np.float32))
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    saved = {}
    for name in CASES:
        folder, model = tmp_path_factory.mktemp(name.replace(" ", "_")), theirs_of(name)
        model.save_pretrained(folder)
        saved[name] = (folder, model)
    return saved


def agree(got: Any, want: Any) -> None:
    want = want.detach().numpy()
    scale = np.abs(want).max()
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-5, atol=1e-5 * scale)


RNG = np.random.default_rng(1)
IDS = RNG.integers(0, 30, (3, 9))
MASK = np.arange(9) >= np.array([[0], [3], [5]])


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n][3] is models.GPT])
def test_language_models(name: str, folders: dict[str, tuple[Path, Any]]) -> None:
    folder, theirs = folders[name]
    ours = models.GPT.from_pretrained(folder)
    assert not ours.training
    agree(ours(IDS), theirs(torch.from_numpy(IDS)).logits)
    positions = torch.from_numpy(np.maximum(MASK.cumsum(1) - 1, 0))
    want = theirs(
        torch.from_numpy(IDS),
        attention_mask=torch.from_numpy(MASK.astype(np.int64)),
        position_ids=positions,
    ).logits
    agree(ours(IDS, attention_mask=MASK).numpy()[MASK], want[torch.from_numpy(MASK)])


@pytest.mark.parametrize("name", ["bert", "bert relu"])
def test_bert(name: str, folders: dict[str, tuple[Path, Any]]) -> None:
    folder, theirs = folders[name]
    ours = models.Bert.from_pretrained(folder)
    segments = RNG.integers(0, 2, IDS.shape)
    mask = ~MASK[:, ::-1] | (np.arange(9) == 0)
    for given in ({}, {"token_type_ids": segments}, {"attention_mask": mask}):
        tensors = {k: torch.from_numpy(v.astype(np.int64)) for k, v in given.items()}
        want = theirs(torch.from_numpy(IDS), **tensors)
        got = ours(IDS, **given)
        real = mask if "attention_mask" in given else np.ones_like(mask)
        agree(got.numpy()[real], want.last_hidden_state[torch.from_numpy(real)])
        agree(ours.pool(got), want.pooler_output)


def test_vision_transformer(folders: dict[str, tuple[Path, Any]]) -> None:
    images = RNG.standard_normal((3, 1, 8, 8)).astype(np.float32)
    folder, theirs = folders["vit"]
    ours = models.VisionTransformer.from_pretrained(folder)
    got, want = ours(images), theirs(torch.from_numpy(images))
    agree(got, want.last_hidden_state)
    agree(ours.pool(got), want.pooler_output)
    folder, theirs = folders["vit classifier"]
    ours = models.VisionTransformer.from_pretrained(folder)
    agree(ours(images[..., :4]), theirs(torch.from_numpy(images[..., :4].copy())).logits)


def test_models_with_heads(tmp_path: Path) -> None:
    """Prefixed keys; a head is unexpected, by name, unless it is left out."""
    config = transformers.BertConfig(**SIZES, **VOCABULARY)
    theirs = transformers.BertForMaskedLM(config).eval()
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"unexpected keys.*: cls\.predictions\.bias, "):
        models.Bert.from_pretrained(tmp_path)
    ours = models.Bert.from_pretrained(tmp_path, strict=False)
    agree(ours(IDS), theirs.bert(torch.from_numpy(IDS)).last_hidden_state)
    with pytest.raises(ValueError, match="pooler must be True"):
        ours.pool(ours(IDS))


def test_a_model_in_parts_of_bfloat16(tmp_path: Path) -> None:
    theirs = theirs_of("llama").to(torch.bfloat16)
    theirs.save_pretrained(tmp_path, max_shard_size="6KB")
    assert not (tmp_path / "model.safetensors").exists()
    wide = type(theirs).from_pretrained(tmp_path, dtype=torch.float32)
    agree(models.GPT.from_pretrained(tmp_path)(IDS), wide(torch.from_numpy(IDS)).logits)


# -- what does not fit -----------------------------------------------------------------------------


@pytest.fixture
def folder(folders: dict[str, tuple[Path, Any]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["gpt2"][0], tmp_path / "copy"))


def rewrite(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_every_key_that_does_not_fit_is_named(folder: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        del tensors["transformer.h.0.ln_1.bias"], tensors["transformer.wpe.weight"]
        tensors["transformer.h.7.ln_1.bias"] = np.zeros(3, np.float32)
        tensors["score.weight"] = np.zeros(3, np.float32)
        tensors["transformer.h.1.attn.c_attn.weight"] = np.zeros((16, 50), np.float32)
        tensors["transformer.h.1.mlp.c_fc.bias"] = np.zeros((1, 64), np.float32)

    rewrite(folder, change)
    with pytest.raises(ValueError) as caught:
        models.GPT.from_pretrained(folder)
    message = str(caught.value)
    for part in (
        "does not fit GPT",
        "missing keys: transformer.h.0.ln_1.bias, transformer.wpe.weight",
        "unexpected keys (strict=False leaves them out): score.weight, transformer.h.7.ln_1.bias",
        "transformer.h.1.attn.c_attn.weight: shape (16, 50) in the file, (48, 16) (transposed) in",
        "transformer.h.1.mlp.c_fc.bias: shape (1, 64) in the file, (64,) in the model",
    ):
        assert part in message
    assert "\n" not in message


def test_misshapen_parts_of_one_projection(
    folders: dict[str, tuple[Path, Any]], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders["llama"][0], tmp_path / "copy"))
    key = "model.layers.0.self_attn.k_proj.weight"
    rewrite(folder, lambda tensors: tensors.update({key: np.zeros((8, 5), np.float32)}))
    with pytest.raises(ValueError, match=r"k_proj.weight: shape \(8, 5\), .* \(32, 16\) in the"):
        models.GPT.from_pretrained(folder)


def header(entries: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\x01",
        b"\xff" * 64,
        (2**63).to_bytes(8, "little") + b"{}",
        b"\x02\0\0\0\0\0\0\0[]",
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"\0" * 8),
        header({"a": {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 16]}}, b"\0" * 16),
        header({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}, b"\0" * 16),
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}, b"\0" * 16),
        header({"a": {"dtype": "F9", "shape": [4], "data_offsets": [0, 16]}}, b"\0" * 16),
        header({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, b"\0" * 4),
        b"\x80\x04\x95pickled",
    ],
    ids=range(12),
)
def test_a_hostile_file_is_one_error(folder: Path, blob: bytes) -> None:
    (folder / "model.safetensors").write_bytes(blob)
    with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file"):
        models.GPT.from_pretrained(folder)


@pytest.mark.parametrize("kept", [4, 100, 5000, -1])
def test_a_truncated_file_is_one_error(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        models.GPT.from_pretrained(folder)


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no .*config\.json"):
        models.GPT.from_pretrained(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no .*model\.safetensors"):
        models.GPT.from_pretrained(folder)


@pytest.mark.parametrize("name", ["../gpt2/model.safetensors", "/etc/passwd", "", ".."])
def test_an_index_that_leads_elsewhere(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"transformer.wte.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="must map keys to files beside it"):
        models.GPT.from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is no JSON"),
        ("[]", "must hold an object"),
        ("[" * 100000, "is no JSON"),
        ('{"model_type": "bert"}', "model_type must be one of .* got 'bert'"),
        ("{}", "got None"),
        ('{"model_type": "gpt2"}', "vocab_size must be a number, got None"),
        ('{"model_type": "gpt2", "vocab_size": "9"}', "vocab_size must be a number, got '9'"),
        ('{"model_type": "gpt2", "add_cross_attention": true}', "add_cross_attention must be"),
        ('{"model_type": "llama", "attention_bias": true}', "attention_bias must be False"),
        ('{"model_type": "llama", "rope_scaling": {"type": "yarn"}}', "rope_type .* 'yarn'"),
    ],
)
def test_bad_configs(folder: Path, text: str, match: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=match):
        models.GPT.from_pretrained(folder)


def test_an_unknown_activation(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "activation_function": "magic"}))
    with pytest.raises(ValueError, match=r"activation must be one of .* got 'magic'"):
        models.GPT.from_pretrained(folder)
