"""Speech: Mandarin and English phrases in many voices, heard and written down as characters.

espeak-ng speaks; log-mel frames of 25 ms every 10 ms go through a Transformer that writes
characters, 机器学习 among them. The phrases are the same in training and test, but four voices are
never heard in training. From half of the training on, some of the decoder's inputs are its
own guesses (scheduled sampling).

Result of a run on one core: after 99 s of training on 640 utterances, all 160 by unheard voices are
written without a mistake, greedily and with a beam of 4.

    apt-get install espeak-ng               # Debian, Ubuntu
    pip install 'pyfast-nn[examples]'
    python examples/speech.py
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import pyfast as pf
from pyfast.audio import log_mel, read_wav
from pyfast.demo import learning_rate
from pyfast.generation import (
    generate,
    inverse_sigmoid_decay,
    record_attention,
    scheduled_sampling,
    teacher_forcing,
)
from pyfast.models import SpeechConfig, SpeechTransformer
from pyfast.text import Vocabulary

MANDARIN = [
    "机器学习", "深度学习", "神经网络", "人工智能", "数据", "模型", "训练", "测试", "注意力",
    "语音识别", "你好", "谢谢", "再见", "今天天气很好", "我们一起学习", "机器翻译", "大家早上好",
    "图像识别", "学习", "机器",
]  # fmt: skip
ENGLISH = [
    "machine learning", "deep learning", "neural network", "attention", "good morning",
    "thank you", "the weather is nice today", "speech recognition", "machine translation",
    "training data", "a small model", "we learn together", "hello world", "see you tomorrow",
    "gradient descent", "the cat sat on the mat", "open the window", "read the book", "machine",
    "learning",
]  # fmt: skip
VOICES = [
    "m1", "m2", "m3", "m4", "m6", "m7", "f1", "f2", "f3", "f5",
    "Alex", "Andy", "Annie", "Denis", "Mario", "Lee",
]  # fmt: skip
UNHEARD = ["m5", "f4", "linda", "steph"]

Array = np.ndarray[Any, Any]
Utterance = tuple[Array, str, str]  # frames, text, voice


def speak(text: str, voice: str, speed: int, pitch: int, folder: Path) -> Array:
    """Log-mel frames of a phrase, of mean 0 and deviation 1."""
    language = "en-us" if text.isascii() else "cmn-latn-pinyin"
    path = folder / "speech.wav"
    subprocess.run(
        ["espeak-ng", "-v", f"{language}+{voice}", "-s", str(speed), "-p", str(pitch),
         "-w", str(path), text],
        check=True,
    )  # fmt: skip
    features = log_mel(*read_wav(path), floor=1e-6)
    return (features - features.mean()) / features.std()


def utterances(phrases: list[str], voices: list[str], rng: np.random.Generator) -> list[Utterance]:
    """Every phrase by every voice, at a random speed and pitch."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for text in tqdm(phrases, desc=f"{len(voices)} voices", unit="phrase"):
            for voice in voices:
                manner = int(rng.integers(130, 190)), int(rng.integers(30, 70))
                found.append((speak(text, voice, *manner, Path(folder)), text, voice))
    return found


def stack(sources: list[Array]) -> tuple[Array, Array]:
    """Frames of several utterances, padded, and which are real."""
    real = np.arange(max(map(len, sources))) < np.array([len(s) for s in sources])[:, None]
    frames = np.zeros((*real.shape, sources[0].shape[1]), np.float32)
    frames[real] = np.concatenate(sources)
    return frames, real


def disturbed(frames: Array, rng: np.random.Generator) -> Array:
    """With noise, and some bands and moments wiped out (Park et al., "SpecAugment", 2019)."""
    frames = frames + 0.2 * rng.standard_normal(frames.shape, np.float32)
    band, moment = rng.integers(0, 70), rng.integers(0, max(1, len(frames) - 12))
    frames[:, band : band + rng.integers(0, 10)] = 0
    frames[moment : moment + rng.integers(0, 12)] = 0
    return frames


def train(
    model: SpeechTransformer, data: list[Utterance], vocabulary: Vocabulary, steps: int, count: int
) -> list[float]:
    """AdamW with warm-up and cosine decay; the loss of each step."""
    rng = np.random.default_rng(1)
    optimizer = pf.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for step in (bar := tqdm(range(steps), desc="training", unit="step")):
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps, 1e-3, max(1, steps // 10))
        chosen = [data[i] for i in rng.integers(0, len(data), count)]
        frames, heard = stack([disturbed(f, rng) for f, _, _ in chosen])
        targets, real = vocabulary.encode_batch([text for _, text, _ in chosen], True, True)
        inputs, labels = teacher_forcing(targets, real)
        memory, mask = model.encode(frames, heard), model.memory_mask(heard)
        logits = model.decode(inputs, memory, mask)
        if step >= steps // 2:
            kept = max(0.75, inverse_sigmoid_decay(step - steps // 2, max(1.0, steps / 12)))
            inputs = scheduled_sampling(inputs, logits, 1 - kept)
            logits = model.decode(inputs, memory, mask)
        loss = pf.ops.cross_entropy(logits.reshape(-1, len(vocabulary)), labels.ravel())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
        if step % 20 == 19:
            bar.set_postfix(loss=f"{np.mean(history[-20:]):.4f}")
    return history


def transcribe(
    model: SpeechTransformer, data: list[Utterance], vocabulary: Vocabulary, **options: Any
) -> list[str]:
    """What the model writes for each utterance."""
    written = []
    for i in range(0, len(data), 32):
        frames, heard = stack([f for f, _, _ in data[i : i + 32]])
        found = generate(
            model, vocabulary.start_id, 40, source=frames, source_mask=heard,
            eos_token_id=vocabulary.end_id, **options,
        )  # fmt: skip
        written += [vocabulary.decode(f.tokens) for f in found]
    return written


def edit_distance(a: str, b: str) -> int:
    """The fewest characters to insert, delete or replace (Levenshtein)."""
    row = np.arange(len(b) + 1)
    for i, c in enumerate(a, 1):
        before, row[0] = row.copy(), i
        for j, d in enumerate(b, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (c != d))
    return int(row[-1])


def figure(
    path: Path,
    history: list[float],
    model: SpeechTransformer,
    vocabulary: Vocabulary,
    one: Utterance,
) -> None:
    """Loss, frames of an unheard voice, and where the decoder listens for each character."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from pyfast.plot.attention import attention_map

    frames, text, voice = one
    ids = np.array([vocabulary.encode(text, start=True)])
    with record_attention(model) as maps, pf.no_grad():
        model.eval()(frames[None], ids)
    weights = [w for name, w in maps.items() if name.endswith("multihead_attn")][-1][0][0].mean(0)
    canvas, axes = plt.subplots(3, 1, figsize=(9, 10), layout="constrained")
    axes[0].plot(history, lw=0.7, color="#0072B2")
    axes[0].set(xlabel="step", ylabel="cross-entropy (nats)", yscale="log", title="Training loss")
    seconds = (0, len(frames) / 100)
    image = axes[1].imshow(
        frames.T, origin="lower", aspect="auto", cmap="magma", extent=(*seconds, 0, 80)
    )
    canvas.colorbar(image, ax=axes[1], label="log energy, normalised")
    axes[1].set(xlabel="time (s)", ylabel="mel band", title=f"An unheard voice ({voice})")
    names = [c if c.isascii() else f"U+{ord(c):04X}" for c in text]  # fonts may lack the signs
    attention_map(weights, queries=[*names, "END"], ax=axes[2])
    axes[2].set(xlabel="memory position (40 ms each)", ylabel="character written")
    axes[2].set_title("Cross-attention of the last decoder layer, mean of heads")
    canvas.savefig(path, dpi=80)
    plt.close(canvas)


def main(argv: list[str] | None = None) -> dict[str, tuple[float, float]]:
    """Speak, train, listen to unheard voices, draw the figure; exact phrases and error rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--phrases", type=int, default=40)
    parser.add_argument("--voices", type=int, default=len(VOICES))
    parser.add_argument("--output", type=Path, default=Path("pyfast-examples"))
    options = parser.parse_args(argv)
    if shutil.which("espeak-ng") is None:
        parser.error("espeak-ng is not installed: apt-get install espeak-ng")
    options.output.mkdir(parents=True, exist_ok=True)
    pf.manual_seed(0)
    pairs = [text for pair in zip(MANDARIN, ENGLISH, strict=True) for text in pair]
    phrases = pairs[: options.phrases]
    rng = np.random.default_rng(0)
    data = utterances(phrases, VOICES[: options.voices], rng)
    test = utterances(phrases, UNHEARD, rng)
    vocabulary = Vocabulary.from_texts(phrases)
    model = SpeechTransformer(
        SpeechConfig(
            len(vocabulary), hidden_size=options.width, num_encoder_layers=3,
            num_decoder_layers=2, max_position_embeddings=64,
        )
    )  # fmt: skip
    count = sum(p.size for p in model.parameters())
    print(f"{len(data)} utterances, {len(test)} by unheard voices, {count:,} parameters")
    begin = time.perf_counter()
    history = train(model, data, vocabulary, options.steps, options.batch_size)
    print(f"trained in {time.perf_counter() - begin:.0f} s")
    results = {}
    for name, way in (("greedy", {}), ("beam of 4", {"num_beams": 4})):
        found = transcribe(model, test, vocabulary, **way)
        pairs_found = [(text, f) for (_, text, _), f in zip(test, found, strict=True)]
        errors = sum(edit_distance(*pair) for pair in pairs_found)
        exact = float(np.mean([a == b for a, b in pairs_found]))
        results[name] = exact, errors / sum(len(text) for text, _ in pairs_found)
        print(f"{name:<12}{exact:8.2%} exact, character error rate {results[name][1]:.2%}")
        heard = [f for text, f in pairs_found if text == phrases[0]]
        print(f"    {phrases[0]} by unheard voices: {', '.join(heard)}")
        for text, answer in [pair for pair in pairs_found if pair[0] != pair[1]][:4]:
            print(f"    {text!r} heard as {answer!r}")
    figure(options.output / "speech.png", history, model, vocabulary, test[0])
    print(f"figure: {options.output / 'speech.png'}")
    return results


if __name__ == "__main__":
    main()
