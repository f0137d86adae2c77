"""Indices of cells to the bytes of chunks and back.

What is coded before says by which table an index is coded: for the coarse stage two cells of the same chunk near by,
for the fine stage the cell's coarse index, for the detail stage the fine index at its place. All are look-ups by
integers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fewbits.codecs.image.vqextreme.cells import chunk_rows
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import DamagedError

NEAR = ((1, -2), (2, 1))  # rows above and columns to the left of the two cells near by


@dataclass(frozen=True, eq=False)
class StageTables:
    """Tables of one stage at one rate.

    Attributes:
        tables: over its indices.
        chosen: table of each context, any shape, integers.
    """

    tables: SymbolTables
    chosen: np.ndarray


@dataclass(frozen=True, eq=False)
class RateTables:
    """All tables of one rate.

    Attributes:
        groups: (coarse entries,) the group of similar entries that each belongs to, from 1 on; 0 is for no cell.
        coarse: chosen by the groups of the two cells of `NEAR`: (groups + 1, groups + 1).
        fine: chosen by the coarse index.
        detail: chosen by the fine index; None where the rate has no such stage.
    """

    groups: np.ndarray
    coarse: StageTables
    fine: StageTables
    detail: StageTables | None


@dataclass(frozen=True, eq=False)
class CellIndices:
    """Indices of a picture's cells.

    Attributes:
        coarse: (rows, columns) int32.
        fine, detail: (rows, columns, 4) int32, the four places of a cell in reading order; detail all 0 where the rate
            has none.
    """

    coarse: np.ndarray
    fine: np.ndarray
    detail: np.ndarray

    @classmethod
    def blank(cls, rows: int, columns: int) -> "CellIndices":
        """All 0."""
        return cls(*(np.zeros((rows, columns, *places), np.int32) for places in ((), (4,), (4,))))

    def joined(self) -> np.ndarray:
        """All of them, cell by cell: (rows, columns, 9) int32."""
        return np.concatenate([self.coarse[..., None], self.fine, self.detail], 2)


Exchange = Callable[[np.ndarray, SymbolTables, np.ndarray], np.ndarray]
"""Sends symbols through a coder: from what is known of them, and their tables, to what they are."""


def encode_chunk(chunk: int, indices: CellIndices, tables: RateTables) -> bytes:
    """The bytes of a chunk."""
    encoder = Encoder()

    def write(symbols: np.ndarray, of: SymbolTables, index: np.ndarray) -> np.ndarray:
        encoder.add(symbols, of, index)
        return symbols

    _walk(chunk, indices, tables, write)
    return encoder.finish()


def bits_of_chunk(chunk: int, indices: CellIndices, tables: RateTables) -> float:
    """What its indices cost by the tables alone."""
    total = 0.0

    def count(symbols: np.ndarray, of: SymbolTables, index: np.ndarray) -> np.ndarray:
        nonlocal total
        total += of.bits(symbols, index)
        return symbols

    _walk(chunk, indices, tables, count)
    return total


def decode_chunk(data: bytes, chunk: int, indices: CellIndices, tables: RateTables) -> None:
    """Puts what a chunk holds into its cells.

    Raises:
        StreamError: if the data cannot be that of a chunk.
    """
    decoder = Decoder(data)

    def read(unknown: np.ndarray, of: SymbolTables, index: np.ndarray) -> np.ndarray:
        symbols = decoder.decode(of, index)
        if symbols.size and not (symbols.min() >= 0 and symbols.max() <= of.highs[0]):
            raise DamagedError("The section is damaged: it names an entry that its codebook does not have.")
        return symbols

    _walk(chunk, indices, tables, read)
    decoder.finish()


def _walk(chunk: int, indices: CellIndices, tables: RateTables, exchange: Exchange) -> None:
    """Every index of a chunk, in the order of the file."""
    rows, columns = indices.coarse.shape
    above, beside = max(down for down, _ in NEAR), max(abs(across) for _, across in NEAR)
    groups = np.zeros((rows + above, columns + 2 * beside), np.int64)
    cells: list[tuple[int, np.ndarray]] = []
    for row, own in chunk_rows(chunk, rows, columns):
        near = (groups[row + above - down, own + beside - across] for down, across in NEAR)
        index = tables.coarse.chosen[tuple(near)]
        found = indices.coarse[row, own] = exchange(indices.coarse[row, own], tables.coarse.tables, index)
        groups[row + above, own + beside] = tables.groups[found]
        cells.append((row, own))
    if not cells:
        return
    at = np.concatenate([np.full(own.size, row) for row, own in cells]), np.concatenate([own for _, own in cells])
    index = np.repeat(tables.fine.chosen[indices.coarse[at]][:, None], 4, 1)
    indices.fine[at] = exchange(indices.fine[at], tables.fine.tables, index)
    if tables.detail is not None:
        index = tables.detail.chosen[indices.fine[at]]
        indices.detail[at] = exchange(indices.detail[at], tables.detail.tables, index)
