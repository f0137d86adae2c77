"""Cutting large pictures into tiles that are coded independently and reconstructed without seams."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Part of an axis: `start..stop`, and `outer_start..outer_stop` with the halo that exists around it."""

    start: int
    stop: int
    outer_start: int
    outer_stop: int
    size: int  # of the whole axis

    @property
    def inner(self) -> slice:
        """Where `start..stop` lies within the outer part."""
        return slice(self.start - self.outer_start, self.stop - self.outer_start)

    @property
    def outer(self) -> slice:
        return slice(self.outer_start, self.outer_stop)

    @property
    def core(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def at_start(self) -> bool:
        """Whether the outer part begins at the picture's border."""
        return self.outer_start == 0

    @property
    def at_end(self) -> bool:
        return self.outer_stop == self.size


def spans(size: int, tile: int, halo: int) -> list[Span]:
    """Covers an axis with parts of `tile`, the last one shorter, each with up to `halo` on both sides."""
    return [Span(s, min(s + tile, size), max(s - halo, 0), min(s + tile + halo, size), size)
            for s in range(0, size, tile)]


def tiles(height: int, width: int, tile: int, halo: int) -> Iterator[tuple[Span, Span]]:
    """Tiles of a picture row by row: (vertical, horizontal)."""
    for vertical in spans(height, tile, halo):
        for horizontal in spans(width, tile, halo):
            yield vertical, horizontal
