"""Indices of a vector quantiser to one string of bytes and back, by `kernels.index_mixing`.

The bytes are the words of the ANS coder. Each string begins from the same prior, so each decodes on its own.
"""

from collections.abc import Iterable

import numpy as np

from fewbits.entropy.words import words_from_bytes, words_to_bytes
from fewbits.kernels import adaptive_rans, index_mixing
from fewbits.kernels.index_mixing import IndexPrior

UNUSED = -1  # index where a frame has fewer of them


def encode_indices(indices: np.ndarray, entries: int, primed: IndexPrior | None = None) -> bytes:
    """Bytes of the indices of some frames.

    Args:
        indices: (S, T) integers below `entries`, codebook by codebook; UNUSED from some codebook of a frame on.
        entries: of each codebook, at most 4096. They cost least in an order where near numbers are similar entries.
        primed: what is known of such indices, from `learn_prior`; None for nothing.

    Raises:
        ValueError: if an index is out of range or follows an unused one, or the prior is for another quantiser.
    """
    return encode_and_estimate(indices, entries, primed)[0]


def encode_and_estimate(indices: np.ndarray, entries: int, primed: IndexPrior | None = None) -> tuple[bytes, float]:
    """What `encode_indices` gives, and what the indices cost by the probabilities alone, in bits."""
    intervals = index_mixing.intervals(_symbols(indices), entries, primed or IndexPrior.cold(len(indices), entries))
    return words_to_bytes(adaptive_rans.encode_intervals(intervals)), adaptive_rans.bits_of(intervals)


def decode_indices(data: bytes, stages: int, frames: int, entries: int, primed: IndexPrior | None = None) -> np.ndarray:
    """Indices (S, T) int32 of what `encode_indices` returned, or what became of it.

    Args:
        stages, frames: S and T; memory is taken for as many.

    Raises:
        DamagedError: if the data do not end where the indices end. Other damage gives other indices.
        ValueError: if the prior is for another quantiser.
    """
    prior = primed or IndexPrior.cold(stages, entries)
    symbols = index_mixing.decode(words_from_bytes(data), stages, frames, entries, prior)
    return np.where(np.arange(stages)[:, None] < symbols[0], symbols[1:], np.int32(UNUSED))


def learn_prior(clips: Iterable[np.ndarray], stages: int, entries: int) -> IndexPrior:
    """What the indices (S, T) of training clips teach about others; arguments and errors as for `encode_indices`."""
    return IndexPrior.learned(map(_symbols, clips), entries, IndexPrior.cold(stages, entries))


def _symbols(indices: np.ndarray) -> np.ndarray:
    """(1 + S, T): how many indices each frame has, and the indices."""
    counts = (indices != UNUSED).sum(0)
    if np.any((indices != UNUSED) != (np.arange(len(indices))[:, None] < counts)):
        raise ValueError("a frame uses its first codebooks, and none after one that it does not use")
    return np.concatenate([counts[None], indices])
