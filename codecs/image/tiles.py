"""Cutting large pictures into tiles that are coded independently and reconstructed without seams."""

from collections.abc import Iterator

from fewbits.codecs.spans import Span, spans


def tiles(height: int, width: int, tile: int, halo: int) -> Iterator[tuple[Span, Span]]:
    """Tiles of a picture row by row: (vertical, horizontal)."""
    for vertical in spans(height, tile, halo):
        for horizontal in spans(width, tile, halo):
            yield vertical, horizontal
