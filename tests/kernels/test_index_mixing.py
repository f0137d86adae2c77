"""Mixing of contexts: the compiled loop is the plain reference, bit for bit, and decoding inverts it."""

import contextlib

import numpy as np
import pytest

from fewbits.errors import DamagedError
from fewbits.kernels import adaptive_rans, index_mixing
from fewbits.kernels.ans import TOTAL
from fewbits.kernels.index_mixing import SQUASH, STRETCH, IndexPrior
from fewbits.kernels.index_mixing_reference import IndexReference

SIZES = [(0, 5, 3), (1, 1, 4), (1, 2, 30), (3, 5, 30), (5, 64, 20), (2, 1000, 12), (20, 2, 3), (3, 4, 0), (1, 4096, 1)]


def random_symbols(stages: int, entries: int, frames: int) -> np.ndarray:
    """(1 + stages, frames): low indices and those of the frame before are more frequent than others."""
    rng = np.random.default_rng(stages + entries + frames)
    indices = (entries * rng.random((stages, frames)) ** 2).astype(np.int32)
    for t in range(1, frames):
        indices[:, t] = np.where(rng.random(stages) < 0.5, indices[:, t - 1], indices[:, t])
    return np.concatenate([rng.integers(0, stages + 1, (1, frames), np.int32), indices])


def learned(symbols: np.ndarray, entries: int) -> IndexPrior:
    return IndexPrior.learned([symbols] * 3, entries, IndexPrior.cold(len(symbols) - 1, entries))


@pytest.mark.parametrize(("stages", "entries", "frames"), SIZES)
def test_equal_to_the_reference(stages, entries, frames):
    symbols = random_symbols(stages, entries, frames)
    for prior in IndexPrior.cold(stages, entries), learned(symbols, entries):
        expected = IndexReference(symbols, entries, prior).intervals()
        assert np.array_equal(index_mixing.intervals(symbols, entries, prior), expected)


@pytest.mark.parametrize(("stages", "entries", "frames"), SIZES)
def test_symbols_come_back(stages, entries, frames):
    symbols = random_symbols(stages, entries, frames)
    present = np.arange(stages + 1)[:, None] < 1 + symbols[0]
    for prior in IndexPrior.cold(stages, entries), learned(symbols, entries):
        words = adaptive_rans.encode_intervals(index_mixing.intervals(symbols, entries, prior))
        decoded = index_mixing.decode(words, stages, frames, entries, prior)
        assert np.array_equal(decoded, np.where(present, symbols, 0))


def test_a_sequence_of_clips_teaches_what_the_reference_learns():
    """The prior after two clips predicts as the models themselves do, to what rounding them to 16 bits changes."""
    symbols = random_symbols(2, 8, 60)
    prior = IndexPrior.learned([symbols], 8, IndexPrior.cold(2, 8))
    reference = IndexReference(symbols, 8, IndexPrior.cold(2, 8))
    reference.intervals()
    for (row, model, context, node), (probability, count) in reference.counters.items():
        centred, stored = divmod(int(prior.counters[row, model, context, node]), 16)
        assert (centred + 2048, stored) == (probability >> 10, min(count, 15))
    assert np.array_equal(prior.weights, reference.weights >> 2)


def test_hostile_priors_stay_within_the_coder():
    """Whatever numbers stand in a prior, every interval is one, and nothing overflows."""
    rng = np.random.default_rng(0)
    cold = IndexPrior.cold(4, 16)
    for low, high in (-(2**15), 2**15 - 1), (2**15 - 1, 2**15 - 1), (-(2**15), -(2**15)):
        prior = IndexPrior(rng.integers(low, high, cold.counters.shape, np.int16, endpoint=True),
                           rng.integers(low, high, cold.weights.shape, np.int16, endpoint=True))
        symbols = random_symbols(4, 16, 200)
        intervals = index_mixing.intervals(symbols, 16, prior)
        left, frequency = intervals >> np.uint64(24), intervals & np.uint64(TOTAL - 1)
        assert frequency.min() >= 1 and (left + frequency).max() <= TOTAL
        assert np.array_equal(intervals, IndexReference(symbols, 16, prior).intervals())


def test_damaged_words_are_symbols_or_an_error():
    symbols, prior = random_symbols(4, 30, 50), IndexPrior.cold(4, 30)
    words = adaptive_rans.encode_intervals(index_mixing.intervals(symbols, 30, prior))
    rng = np.random.default_rng(0)
    wrong = [words[:0], words[:-1], words[1:], np.append(words, np.uint32(1)), np.append(words, np.uint32(0)),
             *(rng.integers(0, 2**32, rng.integers(1, 60), dtype=np.uint32) for _ in range(100))]
    for damaged in wrong:
        with pytest.raises(DamagedError):
            index_mixing.decode(damaged, 4, 50, 30, prior)
    for bit in range(100):
        damaged = words.copy()
        damaged[bit % len(words)] ^= np.uint32(1 << bit % 32)
        with contextlib.suppress(DamagedError):
            decoded = index_mixing.decode(damaged, 4, 50, 30, prior)
            assert decoded[0].max() <= 4 and 0 <= decoded.min() and decoded[1:].max() < 30


def test_tables_are_near_the_functions_they_stand_for():
    odds = np.arange(len(SQUASH)) - len(SQUASH) // 2
    assert np.abs(SQUASH - 65536 / (1 + np.exp(-odds / 256))).max() < 2
    assert SQUASH.min() > 0 and SQUASH.max() < 65536 and (np.diff(SQUASH) >= 0).all()
    probability = (np.arange(4096) + 0.5) / 4096
    exact = (256 * np.log(probability / (1 - probability))).clip(odds[0], odds[-1])
    inner = slice(64, -64)  # beyond, one step of `SQUASH` is many of `STRETCH`
    assert np.abs(STRETCH - exact)[inner].max() < 2 and (np.diff(STRETCH) >= 0).all()


def test_what_cannot_be_is_refused():
    prior = IndexPrior.cold(2, 8)
    with pytest.raises(ValueError, match="prior"):
        index_mixing.intervals(np.zeros((4, 1), np.int32), 8, prior)
    with pytest.raises(ValueError, match="below 8"):
        index_mixing.intervals(np.array([[2], [0], [8]]), 8, prior)
    with pytest.raises(ValueError, match="up to 2"):
        index_mixing.intervals(np.array([[3], [0], [0]]), 8, prior)
    with pytest.raises(ValueError, match="4096 are possible"):
        IndexPrior.cold(2, 5000)
