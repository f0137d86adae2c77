"""A lossless codec of films without weights: groups of eight frames, deflated."""

import sys
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from fewbits.codecs import registry
from fewbits.codecs.codec import Progress, Stream, Target, no_progress
from fewbits.codecs.film import VideoCodec
from fewbits.codecs.video_source import VideoSource
from fewbits.entropy.container import Field
from fewbits.entropy.deflate import inflate
from fewbits.errors import DamagedError, InputError

GROUP = 8  # frames of a section

ENTRY = registry.Entry(name="stored", number=250, kind="video", family="stored", lossless=True, about="for tests",
                       settings=(Field("level", "u8", 0, 9),), factory="stored_film:StoredFilmCodec")


class StoredFilmCodec(VideoCodec):
    name, kind, family, lossless, weights_id = "stored", "video", "stored", True, b""

    def __init__(self, device: str = "cpu") -> None:
        pass

    def encode(self, media: VideoSource, target: Target, progress: Progress = no_progress) -> Stream:
        sections: list[bytes | None] = []
        for start in range(0, media.count, GROUP):
            frames = b"".join(frame.tobytes() for frame in media.frames(start, start + GROUP))
            sections.append(zlib.compress(frames, 1))
            progress(start / media.count, "storing")
        return Stream({"level": 1}, sections, None, ("This is a codec for tests.",))

    def decode_frames(self, stream: Stream, shape: dict[str, int], positions: Sequence[Fraction],
                      progress: Progress = no_progress) -> Iterator[np.ndarray]:
        if len(stream.sections) != -(-shape["count"] // GROUP):
            raise DamagedError("The number of sections is wrong.")
        if any(position.denominator != 1 for position in positions):
            raise InputError("The codec stored cannot make frames between frames.")
        return self._frames(stream, shape, positions, progress)

    def _frames(self, stream: Stream, shape: dict[str, int], positions: Sequence[Fraction],
                progress: Progress) -> Iterator[np.ndarray]:
        group, frames = -1, np.empty(0)
        size = shape["height"] * shape["width"] * 3
        for position in positions:
            if int(position) // GROUP != group:
                group = int(position) // GROUP
                section = stream.sections[group]
                data = bytes(size * GROUP) if section is None else inflate(section, size * GROUP, "frames")
                frames = np.frombuffer(data, np.uint8).reshape(-1, shape["height"], shape["width"], 3)
            progress(float(position) / shape["count"], "restoring")
            yield frames[int(position) % GROUP]


def register() -> None:
    """Makes it the usual codec of films, in this process."""
    sys.modules["stored_film"] = sys.modules[__name__]
    registry.register(ENTRY)
    registry._DEFAULTS["video"] = ENTRY.name
    registry.create.cache_clear()


if __name__ == "stored_film_elsewhere":  # run by its path, in another process
    register()
