"""Channels that do not use all values, as after a change of contrast: values become their ranks among those in use."""

import numpy as np

from fewbits.entropy.deflate import deflate, inflate
from fewbits.errors import DamagedError

TAIL = 50  # a fiftieth of the samples at both ends does not count: there, gaps are a matter of chance
GAPS = 10  # a tenth of the values in between has to be unused
SAMPLES = 16  # for each value in use, or gaps are a matter of chance too


def levels_of(channel: np.ndarray) -> np.ndarray | None:
    """The values in use, ascending, where gaps between them are no accident; else None."""
    used, counts = np.unique(channel, return_counts=True)
    if SAMPLES * len(used) > channel.size:
        return None
    below = np.cumsum(counts)
    middle = used[(TAIL * below >= channel.size) & (TAIL * (below - counts) <= (TAIL - 1) * channel.size)].astype(int)
    values = middle[-1] - middle[0] + 1
    return used if GAPS * (values - len(middle)) >= values else None


def encode_levels(levels: np.ndarray | None) -> bytes:
    """A deflated bit for each value up to the highest; nothing for None."""
    if levels is None:
        return b""
    used = np.zeros(int(levels[-1]) + 1, bool)
    used[levels] = True
    return deflate(np.packbits(used).tobytes())


def decode_levels(data: bytes, high: int) -> np.ndarray | None:
    """Inverse of `encode_levels`. Raises `DamagedError` if there are none, or values above `high`."""
    if not data:
        return None
    packed = inflate(data, high // 8 + 1, "tile's map of values")
    levels = np.flatnonzero(np.unpackbits(np.frombuffer(packed, np.uint8)))
    if not levels.size or levels[-1] > high:
        raise DamagedError("The tile is damaged: its map of values is wrong.")
    return levels


def ranks(channel: np.ndarray, levels: np.ndarray | None) -> np.ndarray:
    """Values as their numbers among the levels, int32."""
    return (channel if levels is None else np.searchsorted(levels, channel)).astype(np.int32)


def values(channel: np.ndarray, levels: np.ndarray | None) -> np.ndarray:
    """Inverse of `ranks`. Raises `DamagedError` for ranks that do not exist."""
    if levels is None:
        return channel
    if channel.min() < 0 or channel.max() >= len(levels):
        raise DamagedError("The tile is damaged: it has values that its map does not have.")
    return levels[channel]
