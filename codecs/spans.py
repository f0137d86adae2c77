"""Cutting an axis into parts that are coded independently and reconstructed without seams."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Part of an axis: `start..stop`, and `outer_start..outer_stop` with the halo that exists around it."""

    start: int
    stop: int
    outer_start: int
    outer_stop: int
    size: int  # of the whole axis

    @classmethod
    def around(cls, start: int, stop: int, halo: int, size: int, after: int | None = None) -> "Span":
        """With up to `halo` on both sides, or up to `after` behind it where that is given."""
        return cls(start, stop, max(start - halo, 0), min(stop + (halo if after is None else after), size), size)

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
        """Whether the outer part begins where the axis begins."""
        return self.outer_start == 0

    @property
    def at_end(self) -> bool:
        return self.outer_stop == self.size


def spans(size: int, part: int, halo: int) -> list[Span]:
    """Covers an axis with parts of a size, the last one shorter, each with up to `halo` on both sides."""
    return [Span.around(s, min(s + part, size), halo, size) for s in range(0, size, part)]
