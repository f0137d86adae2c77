"""Indices as bytes: they come back, cost what they should, and damage does not pass as more than wrong indices."""

import contextlib

import numpy as np
import pytest

from fewbits.entropy.index_coder import UNUSED, decode_indices, encode_indices, learn_prior
from fewbits.errors import DamagedError, StreamError

WORD = 4
GOLDEN = [[3, 3, 2, 3, 0, 3, -1, 1], [7, 7, 6, 5, 5, -1, -1, 0], [0, 4, 1, 2, -1, -1, -1, 2]]
GOLDEN_COLD = "0074457ac520f77d8c4db90c"
GOLDEN_PRIMED = "0038ffff0859ba9c01000000"


def speech_like(frames: int, seed: int = 0) -> np.ndarray:
    """(6, frames) of 32 entries: sounds that last some frames, each with habits of its own; silence between them."""
    rng = np.random.default_rng(seed)
    habits = np.random.default_rng(99).integers(0, 32, (8, 6))
    sound = np.repeat(rng.integers(0, 9, frames), rng.integers(2, 9, frames))[:frames]
    indices = np.where(rng.random((6, frames)) < 0.6, habits[sound % 8].T, rng.integers(0, 32, (6, frames)))
    return np.where(sound == 8, UNUSED, indices).astype(np.int32)


def check_round_trip(indices: np.ndarray, entries: int, primed=None) -> bytes:
    data = encode_indices(indices, entries, primed)
    decoded = decode_indices(data, *indices.shape, entries, primed)
    assert decoded.dtype == np.int32 and np.array_equal(decoded, indices)
    return data


@pytest.mark.parametrize("entries", [1, 2, 3, 64, 100, 1024])
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (4, 0), (1, 1), (4, 1), (3, 17)])
def test_indices_come_back(shape, entries):
    indices = np.random.default_rng(0).integers(0, entries, shape)
    check_round_trip(indices, entries)
    check_round_trip(np.where(np.arange(shape[0])[:, None] < shape[0] // 2, indices, UNUSED), entries)


def test_random_indices_cost_hardly_more_than_fixed_length():
    for entries, stages in (64, 10), (256, 8), (1024, 4):
        indices = np.random.default_rng(0).integers(0, entries, (stages, 300))
        assert len(check_round_trip(indices, entries)) < 1.02 * indices.size * np.log2(entries) / 8 + WORD


@pytest.mark.parametrize("value", [0, 37, 63, UNUSED])
def test_equal_indices_cost_next_to_nothing(value):
    assert len(check_round_trip(np.full((10, 2000), value), 64)) < 100


def test_silent_frames_cost_next_to_nothing():
    indices = np.random.default_rng(0).integers(0, 64, (8, 300))
    loud = len(encode_indices(indices, 64))
    with_silence = np.insert(indices, [100] * 1000, UNUSED, axis=1)
    assert len(check_round_trip(with_silence, 64)) < 1.02 * loud + 20


def test_what_other_clips_teach_saves_bytes():
    prior = learn_prior([speech_like(500, seed) for seed in range(1, 9)], 6, 32)
    indices = speech_like(300)
    fixed = (indices != UNUSED).sum() * 5 / 8
    cold, primed = len(check_round_trip(indices, 32)), len(check_round_trip(indices, 32, prior))
    assert primed < 0.9 * cold < 0.9 * fixed


def test_blocks_decode_on_their_own():
    """Coding one block leaves no trace in the prior."""
    prior = learn_prior([speech_like(200, 1)], 6, 32)
    first, second = speech_like(50, 2), speech_like(50, 3)
    alone = encode_indices(second, 32, prior)
    encode_indices(first, 32, prior)
    assert encode_indices(second, 32, prior) == alone
    assert np.array_equal(decode_indices(alone, 6, 50, 32, prior), second)


def test_bytes_are_those_of_the_format():
    indices = np.array(GOLDEN)
    prior = learn_prior([indices[:, ::-1]] * 5, 3, 8)
    assert encode_indices(indices, 8).hex() == GOLDEN_COLD
    assert encode_indices(indices, 8, prior).hex() == GOLDEN_PRIMED


def test_damage_is_an_error_or_other_indices():
    indices = speech_like(60)
    data = encode_indices(indices, 32)
    for cut in range(len(data)):
        with pytest.raises(StreamError):
            decode_indices(data[:cut], 6, 60, 32)
    for frames in (0, 59, 61, 10_000):
        with pytest.raises(DamagedError):
            decode_indices(data, 6, frames, 32)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= rng.integers(1, 256)
        with contextlib.suppress(StreamError):
            decoded = decode_indices(bytes(damaged), 6, 60, 32)
            assert decoded.shape == indices.shape and UNUSED <= decoded.min() and decoded.max() < 32


@pytest.mark.parametrize("indices", [[[0], [8]], [[-2], [0]], [[UNUSED], [0]]])
def test_indices_that_cannot_be_are_refused(indices):
    with pytest.raises(ValueError, match="frame"):
        encode_indices(np.array(indices), 8)


def test_a_prior_of_another_quantiser_is_refused():
    with pytest.raises(ValueError, match="prior"):
        encode_indices(np.zeros((2, 3), int), 8, learn_prior([], 3, 8))
