"""Codecs that work in levels, and which sections of their files belong to which level."""

from abc import abstractmethod
from collections.abc import Collection, Sequence

from fewbits.codecs.codec import Codec, MediaT, Progress, Stream, no_progress
from fewbits.codecs.registry import Entry
from fewbits.errors import InputError


class ProgressiveCodec(Codec[MediaT]):
    """A codec that works in levels, each of which refines what those before it give, and needs them.

    How many there are stands in the codec's registry entry. For `Target.progressive`, `encode` gives each part of the
    media, such as a tile, a section for each level: the first level of all parts, then the second, and so on, so that
    the beginning of a file is the whole at a lower quality. Otherwise a part is one section.
    """

    @abstractmethod
    def parts(self, shape: dict[str, int], count: int) -> list[range]:
        """Which of a stream's `count` sections hold each part: one, or one for each level.

        No parts at all where media of this shape cannot have so many sections; `decode` refuses them.
        """

    @abstractmethod
    def decode_levels(self, stream: Stream, shape: dict[str, int], levels: int | None,
                      progress: Progress = no_progress) -> MediaT:
        """As `Codec.decode`, but the first levels alone, where not None, of each part as far as they are there."""

    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> MediaT:
        return self.decode_levels(stream, shape, None, progress)


def check_levels(entry: Entry, levels: int) -> None:
    """Raises `InputError` if a codec has not so many levels."""
    if entry.levels == 1:
        raise InputError(f"The codec {entry.name} knows no levels, of which some could be decoded: leave that out.")
    if not 1 <= levels <= entry.levels:
        raise InputError(f"There are {entry.levels} levels to decode, not {levels}.")


def shown_and_lost(parts: Sequence[range], damaged: Collection[int]) -> tuple[tuple[int, int] | None, list[int]]:
    """What damage leaves of a progressive file.

    Returns:
        How many levels the parts still show, the least and the most (None where there are no parts), and the sections
        that are intact but of no use, as levels before them are damaged.
    """
    shown = [next((level for level, section in enumerate(part) if section in damaged), len(part)) for part in parts]
    useless = {section for part, levels in zip(parts, shown, strict=True) for section in part[levels:]}
    return (min(shown), max(shown)) if shown else None, sorted(useless.difference(damaged))
