"""The ANS coder as a compiled loop, for models that need a symbol before they can predict the next.

Writes and reads the words that `ans` defines, which are those of constriction's `AnsCoder` too. Symbols are entries of
their tables, 0 to n - 1, and may use another table each; no grouping is needed.

`push` and `pop` are the two steps, to be called from other compiled loops; `encode` and `decode` run them over whole
arrays.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit, types

from fewbits.errors import DamagedError
from fewbits.kernels.ans import PRECISION, START, TOTAL, WORD_BITS

MAX_ENTRIES = 1 << 16
LOOKUP_BITS = 9  # of a quantile's top bits, for the table that finds symbols

_START = np.uint64(START)
_MASK24 = np.uint64(TOTAL - 1)
_SHIFT24 = np.uint64(PRECISION)
_SHIFT_LOOKUP = np.uint64(PRECISION - LOOKUP_BITS)
_SHIFT_ENTRY = np.uint64(2 * PRECISION)
_SHIFT_WORD = np.uint64(WORD_BITS)
_SHIFT_FULL = np.uint64(64 - PRECISION)
_MASK_WORD = np.uint64((1 << WORD_BITS) - 1)

_WORDS = types.Array(types.uint32, 1, "C", readonly=True)
_PACKED = types.Array(types.uint64, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_SYMBOLS = types.Array(types.int32, 1, "C", readonly=True)
_INDEX = types.Array(types.uint16, 1, "C", readonly=True)


@dataclass(frozen=True, eq=False)
class RansTables:
    """Tables in the form that the compiled loops want.

    An entry is packed as frequency | left end << 24 | number << 48, so that a step takes one look into memory.

    Attributes:
        packed: (entries,) uint64, table after table.
        offsets: (tables + 1,) int64, where each begins.
        lookup: (tables << LOOKUP_BITS,) uint64, the packed entry that holds the first quantile of each bucket of
            2**(24 - LOOKUP_BITS).
    """

    packed: np.ndarray
    offsets: np.ndarray
    lookup: np.ndarray

    @classmethod
    def from_frequencies(cls, frequencies: np.ndarray, offsets: np.ndarray) -> "RansTables":
        """From the frequencies of all tables, (entries,), each table's from `offsets[t]` to `offsets[t + 1]`.

        Raises:
            ValueError: unless every table has 2 to 65536 entries of at least 1 whose sum is 2**24.
        """
        offsets = np.ascontiguousarray(offsets, np.int64)
        packed, lookup = [], []
        for begin, end in pairwise(offsets):
            table = frequencies[begin:end].astype(np.int64)
            if not 2 <= len(table) <= MAX_ENTRIES or table.min() < 1 or table.sum() != TOTAL:
                raise ValueError("a table needs 2 to 65536 frequencies of at least 1 with the sum 2**24")
            lefts = np.cumsum(table) - table
            entries = table | lefts << PRECISION | np.arange(len(table)) << 2 * PRECISION
            quantiles = np.arange(1 << LOOKUP_BITS) << PRECISION - LOOKUP_BITS
            packed.append(entries.astype(np.uint64))
            lookup.append(packed[-1][np.searchsorted(lefts, quantiles, side="right") - 1])
        return cls(np.concatenate(packed), offsets, np.concatenate(lookup))

    def __len__(self) -> int:
        return len(self.offsets) - 1


@njit(inline="always")
def push(state, words, count, packed_entry):  # type: ignore[no-untyped-def]
    """Encodes one symbol.

    Args:
        state: uint64, `ans.START` at first.
        words: uint32 array, written at `count` if a word is due; the caller leaves room for one.
        packed_entry: the symbol's entry in `RansTables.packed`.

    Returns:
        The new state and the new count of words.
    """
    frequency = packed_entry & _MASK24
    left = packed_entry >> _SHIFT24 & _MASK24
    if state >> _SHIFT_FULL >= frequency:
        words[count] = state & _MASK_WORD
        count += 1
        state >>= _SHIFT_WORD
    quotient = state // frequency
    return (quotient << _SHIFT24) + (state - quotient * frequency) + left, count


@njit(inline="always")
def flush(state, words, count):  # type: ignore[no-untyped-def]
    """Writes the state after the last `push`, at most two words; the new count of words."""
    while state:
        words[count] = state & _MASK_WORD
        count += 1
        state >>= _SHIFT_WORD
    return count


@njit(inline="always")
def refill(state, words, count):  # type: ignore[no-untyped-def]
    """Takes a word into a state that has room for one, if one is left; the new state and count."""
    if state <= _MASK_WORD and count > 0:
        count -= 1
        state = state << _SHIFT_WORD | np.uint64(words[count])
    return state, count


@njit(inline="always")
def pop(state, words, count, packed, begin, lookup, bucket):  # type: ignore[no-untyped-def]
    """Decodes one symbol of the table whose entries begin at `packed[begin]` and whose lookup begins at `bucket`.

    Any state and words give a symbol of the table; past the last word, the state just runs down.

    Args:
        state: uint64. words: uint32 array. count: how many of the words are left.

    Returns:
        The new state, the new count of words, and the symbol as int32.
    """
    quantile = state & _MASK24
    entry = lookup[bucket + np.int64(quantile >> _SHIFT_LOOKUP)]
    frequency = entry & _MASK24
    ahead = quantile - (entry >> _SHIFT24 & _MASK24)
    if ahead >= frequency:  # not the bucket's first symbol; the next ones in turn, which beats bisection in practice
        place = begin + np.int64(entry >> _SHIFT_ENTRY)
        while ahead >= frequency:  # ends within the table, whose last entry reaches to the last quantile
            place += 1
            entry = packed[place]
            frequency = entry & _MASK24
            ahead = quantile - (entry >> _SHIFT24 & _MASK24)
    state, count = refill(frequency * (state >> _SHIFT24) + ahead, words, count)
    return state, count, np.int32(entry >> _SHIFT_ENTRY)


@njit(types.Tuple((types.uint32[::1], types.int64))(_SYMBOLS, _INDEX, _PACKED, _OFFSETS), cache=True, nogil=True)
def _encode(symbols: np.ndarray, index: np.ndarray, packed: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, int]:
    words = np.empty(symbols.size + 2, np.uint32)
    state, count = _START, 0
    for i in range(symbols.size - 1, -1, -1):
        begin, end = offsets[index[i]], offsets[index[i] + 1]
        if not 0 <= symbols[i] < end - begin:
            return words, -1
        state, count = push(state, words, count, packed[begin + symbols[i]])
    return words, flush(state, words, count)


@njit(types.Tuple((types.int32[::1], types.boolean))(_WORDS, types.uint64, types.int64, _INDEX, _PACKED, _OFFSETS,
                                                    _PACKED), cache=True, nogil=True)
def _decode(words: np.ndarray, state: np.uint64, count: int, index: np.ndarray, packed: np.ndarray,
            offsets: np.ndarray, lookup: np.ndarray) -> tuple[np.ndarray, bool]:
    symbols = np.empty(index.size, np.int32)
    for i in range(index.size):
        table = np.int64(index[i])
        state, count, symbols[i] = pop(state, words, count, packed, offsets[table], lookup, table << LOOKUP_BITS)
    return symbols, state == _START and count == 0


def encode(symbols: np.ndarray, index: np.ndarray, tables: RansTables) -> np.ndarray:
    """Words of symbols.

    Args:
        symbols: (n,) int32, entries of their tables.
        index: (n,) uint16, the table of each.

    Returns:
        uint32 words, the last not 0.

    Raises:
        ValueError: if a table or an entry does not exist, or shapes disagree.
    """
    _check_index(index, tables)
    if symbols.shape != index.shape:
        raise ValueError(f"symbols of shape {symbols.shape} with table indices of shape {index.shape}")
    words, count = _encode(symbols, index, tables.packed, tables.offsets)
    if count < 0:
        raise ValueError("a symbol is not an entry of its table")
    return words[:count].copy()


def decode(words: np.ndarray, index: np.ndarray, tables: RansTables) -> np.ndarray:
    """Symbols (n,) int32 from uint32 words; `index` as in `encode`.

    Raises:
        DamagedError: if the words do not end where the symbols end.
        ValueError: if a table does not exist.
    """
    _check_index(index, tables)
    symbols, whole = _decode(words, *open_words(words), index, tables.packed, tables.offsets, tables.lookup)
    if not whole:
        raise DamagedError("The stream is damaged: it does not end where its symbols end.")
    return symbols


def open_words(words: np.ndarray) -> tuple[np.uint64, int]:
    """The coder's state before the first symbol, and how many of the words are left.

    Raises:
        DamagedError: if there are no words or the last is 0.
    """
    if not words.size or words[-1] == 0:
        raise DamagedError("The stream is damaged: its words are missing, or the last one is 0.")
    return refill.py_func(np.uint64(words[-1]), words, len(words) - 1)


def _check_index(index: np.ndarray, tables: RansTables) -> None:
    if index.size and index.max() >= len(tables):
        raise ValueError(f"there is no table {index.max()}, only {len(tables)}")
