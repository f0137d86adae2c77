"""The ANS coder for models that make a distribution for every symbol: no tables, only intervals.

The encoder collects the interval of each symbol, packed as frequency | left end << 24 (`pack`), and writes the words of
all of them at the end, since ANS encodes backwards; the decoder is stepped symbol by symbol from compiled loops with
`quantile_of` and `advance`. Words are those that `ans` defines.
"""

import numpy as np
from numba import njit, types

from fewbits.errors import DamagedError
from fewbits.kernels import rans
from fewbits.kernels.ans import PRECISION, START, TOTAL
from fewbits.kernels.rans import LOOKUP_BITS, RansTables, flush, pop, push, refill

_START = np.uint64(START)
_MASK24 = np.uint64(TOTAL - 1)
_SHIFT24 = np.uint64(PRECISION)
_MASK_INTERVAL = np.uint64((1 << 2 * PRECISION) - 1)

_INTERVALS = types.Array(types.uint64, 1, "C", readonly=True)
_INDEX = types.Array(types.uint16, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
WORDS = types.Array(types.uint32, 1, "C", readonly=True)
"""The numba type of words that are read."""


@njit(inline="always")
def pack(left, frequency):  # type: ignore[no-untyped-def]
    """The interval of a symbol, both int64, as uint64."""
    return np.uint64(frequency | left << PRECISION)


@njit(inline="always")
def quantile_of(coder):  # type: ignore[no-untyped-def]
    """What the interval of the next symbol contains, int64."""
    return np.int64(coder[0] & _MASK24)


@njit(inline="always")
def advance(coder, words, left, frequency):  # type: ignore[no-untyped-def]
    """Takes the symbol with this interval off the state. Past the last word, the state just runs down."""
    state = coder[0]
    state = np.uint64(frequency) * (state >> _SHIFT24) + (state & _MASK24) - np.uint64(left)
    state, count = refill(state, words, np.int64(coder[1]))
    coder[0], coder[1] = state, np.uint64(count)


@njit(types.Tuple((types.uint32[::1], types.int64))(_INTERVALS), cache=True, nogil=True)
def _encode(intervals):  # type: ignore[no-untyped-def]
    words = np.empty(intervals.size + 2, np.uint32)
    state, count = _START, 0
    for i in range(intervals.size - 1, -1, -1):
        state, count = push(state, words, count, intervals[i])
    return words, flush(state, words, count)


def encode_intervals(intervals: np.ndarray) -> np.ndarray:
    """uint32 words of (n,) uint64 intervals, the last not 0."""
    words, count = _encode(intervals)
    return words[:count].copy()


@njit(types.int32[::1](WORDS, types.uint64[::1], _INDEX, _INTERVALS, _OFFSETS, _INTERVALS), cache=True, nogil=True)
def _decode_by_tables(words, coder, index, packed, offsets, lookup):  # type: ignore[no-untyped-def]
    entries = np.empty(index.size, np.int32)
    state, count = coder[0], np.int64(coder[1])
    for i in range(index.size):
        table = np.int64(index[i])
        state, count, entries[i] = pop(state, words, count, packed, offsets[table], lookup, table << LOOKUP_BITS)
    coder[0], coder[1] = state, np.uint64(count)
    return entries


def decode_by_tables(words: np.ndarray, coder: np.ndarray, index: np.ndarray, tables: RansTables) -> np.ndarray:
    """Symbols among others that do have tables: entries, (n,) int32. The coder's state moves on.

    Args:
        index: (n,) uint16, the table of each, which the caller has checked to exist.
    """
    return _decode_by_tables(words, coder, index, tables.packed, tables.offsets, tables.lookup)


def intervals_by_tables(entries: np.ndarray, index: np.ndarray, tables: RansTables) -> np.ndarray:
    """Intervals, (n,) uint64, of what `decode_by_tables` gives; the caller has checked entries too."""
    return tables.packed[tables.offsets[index] + entries] & _MASK_INTERVAL


def open_words(words: np.ndarray) -> np.ndarray:
    """The coder's state before the first symbol: (2,) uint64, the state and the number of words left.

    Raises:
        DamagedError: if there are no words or the last is 0.
    """
    return np.array(rans.open_words(words), np.uint64)


def ran_down(coder: np.ndarray) -> bool:
    """Whether the state is below what any encoder makes: the words ended too early."""
    return bool(coder[0] < START)


def check_end(coder: np.ndarray) -> None:
    """Raises `DamagedError` unless the words end where the symbols end."""
    if int(coder[0]) != START or int(coder[1]):
        raise DamagedError("The stream is damaged: it does not end where its symbols end.")


def bits_of(intervals: np.ndarray) -> float:
    """The ideal code length of symbols with these intervals. For estimates; never decides what is written."""
    return float(PRECISION * intervals.size - np.log2((intervals & _MASK24).astype(np.float64)).sum())
