"""The grid of cells that a picture is divided into, and how its cells are shared out over chunks.

A cell of 32 x 32 pixels has one index of the coarse stage, and four of each fine stage. Chunks are coded independently,
and each holds cells that are strewn over the whole picture, so that around a lost one all neighbours are left.
"""

from collections.abc import Iterator

import numpy as np

from fewbits.codecs.image.vqextreme.config import CELL

CHUNKS = 5
LEAST_CELLS = 40  # below which one chunk holds them all, since each takes some bytes by itself


def grid_of(shape: dict[str, int]) -> tuple[int, int]:
    """Rows and columns of cells of a picture."""
    return -(-shape["height"] // CELL), -(-shape["width"] // CELL)


def count_of_chunks(rows: int, columns: int) -> int:
    """Into how many chunks the cells of a picture are shared out."""
    return CHUNKS if rows * columns >= LEAST_CELLS else 1


def chunk_rows(chunk: int, rows: int, columns: int) -> Iterator[tuple[int, np.ndarray]]:
    """Of a chunk, every row that it has cells in, and their columns.

    Cells of one chunk are a knight's move apart: none has a neighbour of its own chunk.
    """
    chunks = count_of_chunks(rows, columns)
    for row in range(rows):
        own = np.arange((chunk - 2 * row) % chunks, columns, chunks)
        if own.size:
            yield row, own


def lost_cells(lost: set[int], rows: int, columns: int) -> np.ndarray:
    """Which cells are in chunks that are lost: (rows, columns) bool."""
    result = np.zeros((rows, columns), bool)
    for chunk in lost:
        for row, own in chunk_rows(chunk, rows, columns):
            result[row, own] = True
    return result
