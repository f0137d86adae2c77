"""Cutting large pictures into tiles that are coded independently and reconstructed without seams."""

from collections.abc import Iterator, Sequence

import numpy as np

from fewbits.codecs.spans import Span, spans


def tiles(height: int, width: int, tile: int, halo: int) -> Iterator[tuple[Span, Span]]:
    """Tiles of a picture row by row: (vertical, horizontal)."""
    for vertical in spans(height, tile, halo):
        for horizontal in spans(width, tile, halo):
            yield vertical, horizontal


def bits_of_tiles(sections: Sequence[bytes | None], height: int, width: int, tile: int) -> tuple[int, np.ndarray]:
    """What `Codec.bits_by_place` gives, of a picture with a section for each tile."""
    grid = -(-height // tile), -(-width // tile)
    return tile, np.array([8.0 * len(section or b"") for section in sections[: grid[0] * grid[1]]]).reshape(grid)
