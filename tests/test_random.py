"""The generator behind everything random."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import pyfast as pf
from pyfast.random import Generator


def test_streams_follow_one_another() -> None:
    generator = Generator(3)
    assert [generator.next_stream() for _ in range(3)] == [(3, 0), (3, 1), (3, 2)]
    assert generator.manual_seed(4) is generator
    assert generator.next_stream() == (4, 0)
    assert repr(generator) == "Generator(seed=4, offset=1)"


@pytest.mark.parametrize(
    ("seed", "taken_as"), [(0, 0), (2**64 - 1, 2**64 - 1), (-1, 2**64 - 1), (np.int32(5), 5)]
)
def test_seeds(seed: Any, taken_as: int) -> None:
    assert Generator(seed).initial_seed() == taken_as


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_seeds_of_more_than_64_bits(seed: int) -> None:
    with pytest.raises(ValueError, match=f"manual_seed: seed must fit 64 bits, got {seed}"):
        Generator(seed)


@pytest.mark.parametrize("seed", [1.0, "1", [1]])
def test_seeds_of_another_type(seed: Any) -> None:
    with pytest.raises(TypeError):
        Generator(seed)


def test_without_a_seed_generators_differ() -> None:
    assert Generator().initial_seed() != Generator().initial_seed()


def test_state_goes_back_and_through_pickle() -> None:
    generator = Generator(2**64 - 1)
    generator.next_stream()
    state = generator.get_state()
    assert state.dtype == np.uint64
    copies = [copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))]
    wanted = [generator.next_stream() for _ in range(3)]
    generator.set_state(state)
    for one in (generator, *copies):
        assert [one.next_stream() for _ in range(3)] == wanted


@pytest.mark.parametrize("state", [[1], [1, 2, 3], [1.0, 2.0], [-1, 0], "state", None])
def test_a_bad_state_is_refused_and_changes_nothing(state: Any) -> None:
    generator = Generator(6)
    with pytest.raises(ValueError, match="set_state: state must be a seed and an offset"):
        generator.set_state(state)
    assert generator.next_stream() == (6, 0)


def test_no_stream_is_handed_out_twice() -> None:
    generator = Generator(0)
    taken: list[tuple[int, int]] = []

    def take() -> None:
        taken.extend([generator.next_stream() for _ in range(500)])

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == len(taken) == 4000


def test_numpy_generators_repeat_and_differ() -> None:
    first, second = (Generator(8).numpy().standard_normal(1000) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    generator = Generator(8)
    generator.next_stream()
    assert abs(np.corrcoef(first, generator.numpy().standard_normal(1000))[0, 1]) < 0.2


def test_the_default_generator() -> None:
    before = pf.get_rng_state()
    assert pf.manual_seed(12) is pf.random.default_generator
    assert pf.initial_seed() == 12
    state = pf.get_rng_state()
    first = pf.random.default_generator.next_stream()
    pf.set_rng_state(state)
    assert pf.random.default_generator.next_stream() == first
    pf.set_rng_state(before)
