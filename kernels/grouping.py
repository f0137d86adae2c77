"""Symbols sorted by their tables and back, escapes included: what stands between callers and a coder that wants one
call per table.

Everywhere: `index` holds the table of each symbol; table t covers `lows[t]` to `lows[t] + sizes[t] - 2`, and its last
entry, `sizes[t] - 1`, is the escape, whose value is written elsewhere as a zigzag LEB128 number. Callers have checked
that every index is below the number of tables. Plain NumPy references for all of it are in the tests.
"""

import numpy as np
from numba import njit, types

_SYMBOLS = types.Array(types.int32, 1, "C", readonly=True)
_INDEX = types.Array(types.uint16, 1, "C", readonly=True)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_LENGTHS = types.Array(types.float64, 1, "C", readonly=True)

VARINT_BYTES = 5  # the longest zigzag LEB128 number of 32 bits

CUT_SHORT = -1  # the escapes end too early
WRONG = -2  # an escape is not in its shortest form, beyond 32 bits, or a value that its table covers


@njit(types.int64[::1](_INDEX, types.int64), cache=True, nogil=True)
def count_tables(index: np.ndarray, tables: int) -> np.ndarray:
    """How many symbols use each table: (tables,) int64."""
    counts = np.zeros(tables, np.int64)
    for table in index:
        counts[table] += 1
    return counts


@njit(types.Tuple((types.int32[::1], types.int64))(_SYMBOLS, _INDEX, _SYMBOLS, _SYMBOLS, _PLACES),
      cache=True, nogil=True)
def group(symbols: np.ndarray, index: np.ndarray, lows: np.ndarray, sizes: np.ndarray,
          starts: np.ndarray) -> tuple[np.ndarray, int]:
    """Sorts symbols by table, keeping their order within a table.

    Args:
        symbols, index: (n,) int32 and uint16.
        lows, sizes: (tables,) int32.
        starts: (tables,) int64, where each table's symbols begin in the result.

    Returns:
        Entries of the tables, (n,) int32, and how many of them are escapes.
    """
    entries = np.empty(symbols.size, np.int32)
    places = starts.copy()
    escapes = 0
    for i in range(symbols.size):
        table = index[i]
        entry = np.int64(symbols[i]) - lows[table]
        escape = sizes[table] - 1
        if entry < 0 or entry >= escape:
            entry = escape
            escapes += 1
        entries[places[table]] = entry
        places[table] += 1
    return entries, escapes


@njit(types.uint8[::1](_SYMBOLS, _INDEX, _SYMBOLS, _SYMBOLS, types.int64), cache=True, nogil=True)
def write_escapes(symbols: np.ndarray, index: np.ndarray, lows: np.ndarray, sizes: np.ndarray,
                  escapes: int) -> np.ndarray:
    """The values of all escapes in the order of the symbols, as bytes. `escapes` is their number."""
    out = np.empty(escapes * VARINT_BYTES, np.uint8)
    at = 0
    for i in range(symbols.size):
        table = index[i]
        symbol = np.int64(symbols[i])
        entry = symbol - lows[table]
        if 0 <= entry < sizes[table] - 1:
            continue
        value = (symbol << 1) ^ (symbol >> 63)  # 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
        while value > 0x7F:
            out[at] = value & 0x7F | 0x80
            value >>= 7
            at += 1
        out[at] = value
        at += 1
    return out[:at].copy()


@njit(types.Tuple((types.int64, types.int64))(_BYTES, types.int64), cache=True, nogil=True)
def read_escape(data: np.ndarray, at: int) -> tuple[np.int64, int]:
    """The value of the escape at `at`, and the place after it: or CUT_SHORT or WRONG in that place."""
    value = np.int64(0)
    for number in range(VARINT_BYTES):
        if at + number >= data.size:
            return value, CUT_SHORT
        byte = np.int64(data[at + number])
        value |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            if value >> 32 != 0 or (byte == 0 and number > 0):
                return value, WRONG
            return (value >> 1) ^ -(value & 1), at + number + 1
    return value, WRONG


@njit(types.Tuple((types.int32[::1], types.int64))(_SYMBOLS, _INDEX, _SYMBOLS, _SYMBOLS, _PLACES, _BYTES, types.int64),
      cache=True, nogil=True)
def ungroup(entries: np.ndarray, index: np.ndarray, lows: np.ndarray, sizes: np.ndarray, starts: np.ndarray,
            escapes: np.ndarray, at: int) -> tuple[np.ndarray, int]:
    """Inverse of `group` and `write_escapes`.

    Args:
        entries: (n,) int32, sorted by table; each below the size of its table.
        escapes, at: bytes of escapes, uint8, and where to begin in them.

    Returns:
        Symbols (n,) int32, and the place in `escapes` after those that were used: or CUT_SHORT or WRONG in that place,
        where the symbols mean nothing.
    """
    symbols = np.empty(index.size, np.int32)
    places = starts.copy()
    for i in range(index.size):
        table = index[i]
        entry = entries[places[table]]
        places[table] += 1
        if entry != sizes[table] - 1:
            symbols[i] = entry + lows[table]
            continue
        value, at = read_escape(escapes, at)
        if at >= 0 and 0 <= value - lows[table] < sizes[table] - 1:
            at = WRONG
        if at < 0:
            return symbols, at
        symbols[i] = value
    return symbols, at


@njit(types.float64(_SYMBOLS, _INDEX, _SYMBOLS, _SYMBOLS, _PLACES, _LENGTHS), cache=True, nogil=True)
def total_bits(symbols: np.ndarray, index: np.ndarray, lows: np.ndarray, sizes: np.ndarray, offsets: np.ndarray,
               lengths: np.ndarray) -> float:
    """Bits that symbols take, those of escaped values included.

    Args:
        offsets: (tables,) int64, where the tables begin in `lengths`.
        lengths: bits of every entry of every table, float64.
    """
    total = 0.0
    for i in range(symbols.size):
        table = index[i]
        symbol = np.int64(symbols[i])
        entry = symbol - lows[table]
        escape = sizes[table] - 1
        if entry < 0 or entry >= escape:
            entry = np.int64(escape)
            value = (symbol << 1) ^ (symbol >> 63)
            while value > 0x7F:
                value >>= 7
                total += 8.0
            total += 8.0
        total += lengths[offsets[table] + entry]
    return total
