"""A whole training run: bitwise the same for any number of threads, and it learns."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from oracle import threads

import pyfast as pf
from pyfast import nn


def data(n: int = 192) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class is the quadrant that is bright."""
    r = np.random.default_rng(0)
    labels = r.integers(0, 4, n)
    images = 0.5 * r.standard_normal((n, 1, 12, 12)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[0, 6 * row : 6 * row + 6, 6 * column : 6 * column + 6] += 1
    return images, labels


def train(epochs: int) -> tuple[nn.Module, list[float]]:
    pf.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3),
        nn.GELU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(512, 4),
    )
    optimizer = pf.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    loader = pf.data.DataLoader(data(), batch_size=32, shuffle=True, seed=0)
    for _ in range(epochs):
        for images, labels in loader:
            loss = pf.ops.cross_entropy(model(pf.Tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return model, losses


def fingerprint(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + np.asarray(value).tobytes())
    return digest.hexdigest()


def test_three_epochs_give_the_same_bits_for_any_number_of_threads() -> None:
    prints = set()
    for n in (1, 2, 3, 7):
        with threads(n):
            prints.add(fingerprint(train(epochs=3)[0]))
    assert len(prints) == 1


def test_it_learns() -> None:
    model, losses = train(epochs=5)
    assert losses[-1] < 0.2 * losses[0]
    images, labels = data()
    model.eval()
    with pf.no_grad():
        assert np.mean(np.asarray(model(pf.Tensor(images))).argmax(1) == labels) > 0.97


@pytest.mark.parametrize("train_mode", [True, False])
def test_modules_take_plain_arrays_too(train_mode: bool) -> None:
    model, _ = train(epochs=1)
    model.train(train_mode)
    pf.manual_seed(1)
    plain = model(data()[0])
    pf.manual_seed(1)
    taped = model(pf.Tensor(data()[0]))
    np.testing.assert_array_equal(np.asarray(plain), np.asarray(taped))
