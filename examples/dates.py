"""N to M: dates as people write them in twenty locales, read as ISO 8601.

An encoder-decoder Transformer learns from dates written by Babel in CLDR's short, medium, long
and full formats. Numbers alone are ambiguous (4/5/03 is April in the US, May in Spain), so dates
without letters carry their locale as one more character. A tenth of all days, in every
locale, is kept from training. The decoder learns two things at once: to go on from what it has
written (teacher forcing), and to fill in what is hidden, which lets it write all characters at
once. The figure shows the loss, where the decoder looks in the source, and a beam's tree.

Result of a run on one core: after 324 s of training, of 4,000 unseen dates 99.88 % are read
exactly, greedily and with a beam of 4; 99.70 % all characters at once, 99.72 % with three
iterations. Decoded 100 at a time, 1,592 a second come greedily with the cache, 741 without it,
446 with the beam, 2,304 at once.

    pip install 'pyfast-nn[examples]'
    python examples/dates.py
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import pyfast as pf
from pyfast.demo import learning_rate
from pyfast.generation import (
    Decoder,
    LengthPredictor,
    beam_search,
    generate,
    generate_parallel,
    mask_tokens,
    record_attention,
    teacher_forcing,
)
from pyfast.models import Seq2SeqConfig, Seq2SeqTransformer
from pyfast.text import Vocabulary

LOCALES = [
    "en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "nl_NL", "sv_SE", "pl_PL",
    "cs_CZ", "fi_FI", "hu_HU", "tr_TR", "ru_RU", "el_GR", "ja_JP", "ko_KR", "vi_VN", "hi_IN",
]  # fmt: skip
STYLES = ("short", "medium", "long", "full")
FIRST, DAYS = datetime.date(1950, 1, 1), 36_525  # a century, so that two digits name a year
TARGETS = Vocabulary("0123456789-")
MASK = TARGETS.unknown_id  # no target holds it otherwise

Array = np.ndarray[Any, Any]
Batch = tuple[Array, Array, Array, Array]


def mark(locale: str) -> str:
    """The character that stands for a locale, of Unicode's private use area."""
    return chr(0xE000 + LOCALES.index(locale))


def written(day: int, locale: str, style: str) -> str:
    """A day as it is written there; with the locale's mark if it is all numbers."""
    from babel.dates import format_date

    date = FIRST + datetime.timedelta(days=day)
    text = format_date(date, style, locale)
    return text if any(c.isalpha() for c in text) else mark(locale) + text


def shown(text: str) -> str:
    """A source with the mark as the locale's name."""
    number = ord(text[0]) - 0xE000
    return f"{LOCALES[number]} {text[1:]}" if 0 <= number < len(LOCALES) else text


def iso(day: int) -> str:
    """The same day in ISO 8601."""
    return (FIRST + datetime.timedelta(days=day)).isoformat()


def split_days() -> tuple[Array, Array]:
    """Days for training, and a tenth that is never trained on."""
    days = np.random.default_rng(0).permutation(DAYS)
    return days[DAYS // 10 :], days[: DAYS // 10]


def examples(days: Array, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Random (source, target) pairs of these days."""
    pairs = []
    for day in rng.choice(days, count).tolist():
        locale, style = LOCALES[rng.integers(len(LOCALES))], STYLES[rng.integers(len(STYLES))]
        pairs.append((written(day, locale, style), iso(day)))
    return pairs


def source_vocabulary() -> Vocabulary:
    """Every character that a date can be written with."""
    days = range(0, DAYS, 11)  # all months, weekdays and digits are among them
    texts = (written(d, locale, style) for d in days for locale in LOCALES for style in STYLES)
    return Vocabulary(sorted({c for text in texts for c in text} | set(map(mark, LOCALES))))


def batches(
    days: Array, sources: Vocabulary, size: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Endless batches of sources of like length, so that little is padding."""
    while True:
        pool = sorted(examples(days, 16 * size, rng), key=lambda pair: len(pair[0]))
        for i in rng.permutation(16):
            part = pool[i * size : (i + 1) * size]
            source = sources.encode_batch([s for s, _ in part])
            yield *source, *TARGETS.encode_batch([t for _, t in part], start=True, end=True)


def build_model(sources: Vocabulary, width: int) -> Seq2SeqTransformer:
    """Two encoder and two decoder layers."""
    return Seq2SeqTransformer(
        Seq2SeqConfig(
            len(sources), len(TARGETS), width, 2, 2, 4, max_position_embeddings=64, dropout=0.0
        )
    )


def losses(model: Any, lengths: LengthPredictor, batch: Batch) -> tuple[Any, Any, Any]:
    """Of the next character, of hidden characters, and of the length."""
    source, source_mask, target, real = batch
    memory = model.encode(source, source_mask)
    inputs, labels = teacher_forcing(target, real)
    ahead = model.decode(inputs, memory, source_mask)
    inside, inside_real = target[:, 1:], real[:, 1:]  # END is written, START is not
    hidden, hidden_labels = mask_tokens(inside, inside_real, MASK)
    filled = model.decode(hidden, memory, source_mask, is_causal=False, target_mask=inside_real)
    classes = len(TARGETS)
    return (
        pf.ops.cross_entropy(ahead.reshape(-1, classes), labels.ravel()),
        pf.ops.cross_entropy(filled.reshape(-1, classes), hidden_labels.ravel()),
        pf.ops.cross_entropy(lengths(memory, source_mask), inside_real.sum(1)),
    )


def train(
    model: Any, lengths: LengthPredictor, data: Iterator[Batch], steps: int
) -> list[tuple[float, ...]]:
    """AdamW with warm-up and cosine decay; the losses of each step."""
    optimizer = pf.optim.AdamW([*model.parameters(), *lengths.parameters()], lr=1e-3)
    history = []
    for step in (bar := tqdm(range(steps), desc="training", unit="step")):
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps, 2e-3, max(1, steps // 20))
        parts = losses(model, lengths, next(data))
        optimizer.zero_grad()
        sum(parts[1:], parts[0]).backward()
        optimizer.step()
        history.append(tuple(part.item() for part in parts))
        if step % 20 == 19:
            recent = np.mean(history[-20:], 0)
            bar.set_postfix(next=f"{recent[0]:.4f}", hidden=f"{recent[1]:.4f}")
    return history


def decoders(model: Any, lengths: LengthPredictor, batch: tuple[Array, Array]) -> dict[str, Any]:
    """Ways to read a batch of sources, each a function without arguments."""
    source, mask = batch
    end = TARGETS.end_id

    def one_by_one(**options: Any) -> Any:
        start = TARGETS.start_id
        return generate(
            model, start, 12, source=source, source_mask=mask, eos_token_id=end, **options
        )

    def at_once(iterations: int, predicted: bool) -> Any:
        memory = model.eval().encode(source, mask)
        wanted = lengths.predict(memory, mask) if predicted else 12
        return generate_parallel(
            model, source, wanted, MASK,
            source_mask=mask, memory=memory, eos_token_id=end, iterations=iterations,
        )  # fmt: skip

    return {
        "greedy": one_by_one,
        "greedy, no cache": lambda: one_by_one(use_cache=False),
        "beam of 4": lambda: one_by_one(num_beams=4),
        "at once, predicted length": lambda: at_once(1, True),
        "at once, cut at END": lambda: at_once(1, False),
        "at once, 3 iterations": lambda: at_once(3, True),
    }


def compare(
    model: Any, lengths: LengthPredictor, sources: Vocabulary, pairs: list[tuple[str, str]]
) -> dict[str, tuple[float, float, list[str]]]:
    """Exact matches, dates per second and the answers of each way to decode, 100 at a time."""
    parts = [pairs[i : i + 100] for i in range(0, len(pairs), 100)]
    encoded = [sources.encode_batch([source for source, _ in part]) for part in parts]
    results = {}
    for name in tqdm(decoders(model, lengths, encoded[0]), desc="decoding"):
        begin = time.perf_counter()
        with pf.no_grad():
            found = [h for batch in encoded for h in decoders(model, lengths, batch)[name]()]
        seconds = time.perf_counter() - begin
        texts = [TARGETS.decode(h.tokens) for h in found]
        right = np.mean([f == t for f, (_, t) in zip(texts, pairs, strict=True)])
        results[name] = float(right), len(pairs) / seconds, texts
    return results


def watch_beam(model: Any, sources: Vocabulary, text: str, beams: int) -> tuple[Array, ...]:
    """Parents, tokens and scores of a beam search, each of shape (steps, beams)."""
    source = np.array([sources.encode(text)])
    decoder = Decoder(model.eval(), TARGETS.start_id, 12, source)
    steps: list[tuple[Array, ...]] = []
    ends = np.array([TARGETS.end_id])
    beam_search(decoder, beams, ends, watch=lambda *step: steps.append(step))
    return tuple(np.array(part) for part in zip(*steps, strict=True))


def cross_attention(model: Any, sources: Vocabulary, text: str) -> tuple[Array, str]:
    """Where the last decoder layer looks for each character it writes, mean of heads."""
    source = np.array([sources.encode(text)])
    (found,) = generate(model, TARGETS.start_id, 12, source=source, eos_token_id=TARGETS.end_id)
    written_out = np.array([[TARGETS.start_id, *found.tokens]])
    with record_attention(model) as maps, pf.no_grad():
        model.eval()(source, written_out)
    last = [weights for name, weights in maps.items() if name.endswith("multihead_attn")][-1]
    return last[0][0].mean(0), TARGETS.decode(found.tokens)


def figure(
    path: Path, history: list[tuple[float, ...]], results: Any, model: Any, sources: Vocabulary
) -> None:
    """Loss, accuracy against speed, two cross-attention maps and a beam."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from pyfast.plot.attention import attention_map
    from pyfast.plot.decoding import decoding_tree

    canvas: Any = plt.figure(figsize=(12, 13), layout="constrained")
    grid = canvas.add_gridspec(3, 2)
    axes = canvas.add_subplot(grid[0, 0])
    for column, (label, color) in enumerate(
        (("next character", "#0072B2"), ("hidden characters", "#D55E00"))
    ):
        axes.plot(np.maximum([h[column] for h in history], 1e-5), color=color, lw=0.7, label=label)
    axes.set(xlabel="step", ylabel="cross-entropy (nats)", yscale="log", title="Training loss")
    axes.legend()
    axes = canvas.add_subplot(grid[0, 1])
    names = list(results)[::-1]
    axes.barh(names, [results[n][1] for n in names], color="#0072B2")
    for y, n in enumerate(names):
        axes.text(results[n][1], y, f" {results[n][0]:.2%} exact", va="center")
    axes.set(xlabel="dates per second", title="Decoding of unseen dates")
    axes.set_xlim(0, 1.5 * max(r[1] for r in results.values()))
    for i, day_locale in enumerate(((27_000, "fr_FR", "full"), (19_789, "en_US", "short"))):
        text = written(*day_locale)
        weights, read = cross_attention(model, sources, text)
        axes = canvas.add_subplot(grid[1, i])
        queries = [*read, "END"][: len(weights)]
        keys = ["en_US" if c == mark("en_US") else c for c in text]
        attention_map(weights, queries=queries, keys=keys, ax=axes)
        axes.set_title(f"Cross-attention: {shown(text)} → {read}")
    axes = canvas.add_subplot(grid[2, :])
    text = written(19_789, "en_US", "short")[1:]  # not marked: March or July?
    decoding_tree(*watch_beam(model, sources, text, 3), labels=TARGETS.tokens, ax=axes)
    axes.set_title(f"A beam of 3 on {text}, which does not say its locale")
    canvas.savefig(path, dpi=80)
    plt.close(canvas)


def main(argv: list[str] | None = None) -> dict[str, tuple[float, float, list[str]]]:
    """Train, compare the decoders on unseen days, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--held-out", type=int, default=4000, help="unseen dates that are read")
    parser.add_argument("--output", type=Path, default=Path("pyfast-examples"))
    options = parser.parse_args(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    pf.manual_seed(0)
    rng = np.random.default_rng(1)
    train_days, unseen = split_days()
    sources = source_vocabulary()
    model = build_model(sources, options.width)
    lengths = LengthPredictor(options.width, 16)
    count = sum(p.size for p in model.parameters())
    print(f"{len(sources)} characters, {count:,} parameters, {len(unseen)} days kept for the test")
    begin = time.perf_counter()
    data = batches(train_days, sources, options.batch_size, rng)
    history = train(model, lengths, data, options.steps)
    print(f"trained in {time.perf_counter() - begin:.0f} s")
    pairs = examples(unseen, options.held_out, np.random.default_rng(2))
    results = compare(model, lengths, sources, pairs)
    for name, (right, speed, found) in results.items():
        print(f"{name:<28}{right:8.2%} exact{speed:10.0f} dates/s")
        wrong = [(s, t, f) for (s, t), f in zip(pairs, found, strict=True) if f != t]
        for source, target, answer in wrong[:3]:
            print(f"    {shown(source)!r} is {target}, read as {answer!r}")
    figure(options.output / "dates.png", history, results, model, sources)
    print(f"figure: {options.output / 'dates.png'}")
    return results


if __name__ == "__main__":
    main()
