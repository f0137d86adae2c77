"""Groups of symbols to one string of bytes and back: asymmetric numeral systems on constriction.

A section's bytes are: the length of the escapes (varint), the escapes, the words of the ANS coder. Symbols of a group
are sorted by table, so that constriction is called once per table and group instead of once per symbol.

ANS is a stack (J. Duda, "Asymmetric numeral systems", arXiv 1311.2540): what is encoded last is decoded first. So the
encoder keeps groups until the end and encodes everything in reverse.
"""

import sys
from collections.abc import Iterator

import constriction
import numpy as np

from fewbits.entropy import words
from fewbits.entropy.tables import SymbolTables, checked_symbols
from fewbits.entropy.varint import read_varint
from fewbits.errors import DamagedError, StreamError
from fewbits.kernels.ans import START

AnsCoder = constriction.stream.stack.AnsCoder


class Encoder:
    """Takes groups of symbols in the order in which the decoder will ask for them."""

    def __init__(self) -> None:
        self._groups: list[tuple[np.ndarray, SymbolTables, np.ndarray, np.ndarray]] = []
        self._escapes: list[bytes] = []

    def add(self, symbols: np.ndarray, tables: SymbolTables, index: np.ndarray) -> None:
        """Adds a group.

        Args:
            symbols: integers of 32 bits, any shape; those that a table does not cover are escaped.
            index: the table of each symbol, integers of the same shape.

        Raises:
            ValueError: if shapes disagree, or a symbol or a table does not exist.
        """
        if np.shape(symbols) != np.shape(index):
            raise ValueError(f"symbols of shape {np.shape(symbols)} with table indices of shape {np.shape(index)}")
        from fewbits.kernels import grouping  # brings numba, which a program that only decodes does without

        symbols, index = checked_symbols(symbols), tables.checked_index(index)
        counts = grouping.count_tables(index, len(tables))
        starts = np.cumsum(counts) - counts
        entries, escapes = grouping.group(symbols, index, tables.lows, tables.sizes, starts)
        self._groups.append((entries, tables, starts, counts))
        if escapes:
            self._escapes.append(grouping.write_escapes(symbols, index, tables.lows, tables.sizes, escapes).tobytes())

    def finish(self) -> bytes:
        """The bytes of all groups."""
        coder = AnsCoder(np.array([START], np.uint32))
        for entries, tables, starts, counts in reversed(self._groups):
            for table, part in reversed(list(_parts(entries, starts, counts))):
                coder.encode_reverse(part, tables.model(table))
        return words.join(b"".join(self._escapes), coder.get_compressed())


class Decoder:
    """Gives groups back in the order in which they were added.

    Args:
        data: what `Encoder.finish` returned, or what became of it.

    Raises:
        TruncatedError, DamagedError: if the data cannot be that.
    """

    def __init__(self, data: bytes) -> None:
        self._escapes, stack = words.split(data)
        self._used = 0
        self._coder = AnsCoder(stack)

    def decode(self, tables: SymbolTables, index: np.ndarray) -> np.ndarray:
        """The next group.

        Args:
            index: the table of each symbol, integers of any shape; memory is taken for as many symbols.

        Returns:
            int32 of the shape of `index`. Most damage is noticed at `finish` only.

        Raises:
            DamagedError: if escaped symbols are missing or malformed.
            ValueError: if a table does not exist.
        """
        flat = tables.checked_index(index)
        counts = np.bincount(flat, minlength=len(tables))
        starts = np.cumsum(counts) - counts
        entries = np.empty(flat.size, np.int32)
        for table, part in _parts(entries, starts, counts):
            part[:] = self._coder.decode(tables.model(table), part.size)
        if "numba" not in sys.modules:  # loading it takes longer than decoding a picture without it
            return self._ungrouped(entries, flat, tables, counts).reshape(np.shape(index))
        from fewbits.kernels import grouping

        symbols, used = grouping.ungroup(entries, flat, tables.lows, tables.sizes, starts, self._escapes, self._used)
        if used == grouping.CUT_SHORT:
            raise DamagedError("The section is damaged: it has fewer escaped symbols than it announces.")
        if used == grouping.WRONG:
            raise DamagedError("The section is damaged: an escaped symbol is malformed.")
        self._used = used
        return symbols.reshape(np.shape(index))

    def _ungrouped(self, entries: np.ndarray, index: np.ndarray, tables: SymbolTables,
                   counts: np.ndarray) -> np.ndarray:
        """What the kernel `ungroup` does, at half its speed, in NumPy."""
        order = np.argsort(index, kind="stable")
        sorted_back = np.empty_like(entries)
        sorted_back[order] = entries
        symbols, self._used = symbols_of(sorted_back, index, tables, self._escapes, self._used)
        return symbols

    def finish(self) -> None:
        """Raises `DamagedError` unless everything was consumed, as it is after an undamaged stream."""
        if self._used != self._escapes.size or self._coder.get_compressed().tolist() != [START]:
            raise DamagedError("The section is damaged: it does not end where its symbols end.")


def _parts(entries: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The tables in use, in order, each with its slice of the entries."""
    for table in np.flatnonzero(counts).tolist():
        yield table, entries[starts[table] : starts[table] + counts[table]]


def symbols_of(entries: np.ndarray, index: np.ndarray, tables: SymbolTables, escapes: np.ndarray, used: int
               ) -> tuple[np.ndarray, int]:
    """Symbols of entries, and how many bytes of escapes are used then.

    Args:
        entries: (n,) int32, entries of their tables, in the order of the escapes.
        index: (n,) uint16, the table of each.
        escapes, used: uint8, and how many of them are used before.

    Raises:
        DamagedError: if escaped symbols are missing or malformed.
    """
    symbols, data = entries + tables.lows[index], escapes.tobytes()
    for place in np.flatnonzero(entries == tables.sizes[index] - 1).tolist():
        try:
            value, used = read_varint(data, used)
        except StreamError as error:
            raise DamagedError(f"The section is damaged in its escaped symbols. {error}") from None
        symbol = (value >> 1) ^ -(value & 1)
        table = index[place]
        if value >> 32 or 0 <= symbol - int(tables.lows[table]) < int(tables.sizes[table]) - 1:
            raise DamagedError("The section is damaged: an escaped symbol is malformed.")
        symbols[place] = symbol
    return symbols, used
