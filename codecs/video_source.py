"""Films that are read frame by frame, so that an hour takes no more memory than a second, and the files that hold them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from fewbits.codecs import video_frame
from fewbits.codecs.colour import Colour
from fewbits.codecs.sound_source import open_container, opened
from fewbits.codecs.sound_track import SoundTrack, copied, sound_in
from fewbits.codecs.video_timing import announced_seconds, timing_of
from fewbits.entropy.container import MAX_RATE_TERM
from fewbits.errors import InputError

if TYPE_CHECKING:
    import av

MAX_FRAME_PIXELS = 1 << 27
"""Films with larger frames than this, such as 16384 x 8192, are refused."""


class VideoSource(ABC):
    """A film that is read frame by frame: in memory, in a file, or while it is decoded.

    Attributes:
        width, height: of a frame, in pixels.
        count: frames, at least 1.
        rate: frames a second.
        colour: how luma and chroma of the source are meant; frames are RGB all the same.
        notices: sentences for the user on what of the source is lost.
    """

    width: int
    height: int
    count: int
    rate: Fraction
    colour: Colour
    notices: tuple[str, ...] = ()

    @property
    @abstractmethod
    def sound(self) -> SoundTrack | None:
        """The sound, where there is one. Raises `InputError` if it cannot be read."""

    @abstractmethod
    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Frames `start` to `stop` (not included; None: the end), counted from 0: (H, W, 3) uint8 RGB.

        It may be called again. No more than a few frames are in memory. Raises `InputError` where the film cannot be
        read on.
        """

    def save(self, target: str | Path | IO[bytes], format: str | None = None) -> tuple[str, ...]:
        """Writes a file by its suffix, or by that in `format`; see `fewbits.codecs.video_writer.write`."""
        from fewbits.codecs import video_writer  # which stands above this

        return video_writer.write(self, target, format)

    @property
    def seconds(self) -> float:
        return float(self.count / self.rate)

    @property
    def pixel_count(self) -> int:
        """Pixels of all frames together."""
        return self.count * self.height * self.width


def check_rate(rate: Fraction) -> None:
    """Raises `InputError` for a rate that no film here may have."""
    if not (rate > 0 and max(rate.numerator, rate.denominator) <= MAX_RATE_TERM):
        raise InputError(f"A film needs a rate above 0, of numbers up to {MAX_RATE_TERM}, not {rate} frames a second.")


class VideoFile(VideoSource):
    """A file of any form that FFmpeg reads. Opening it reads through its packets, but decodes one frame only.

    RGB comes as it is; luma and chroma are converted by `fewbits.codecs.colour`, with the matrix and the range that the
    file names. Where it names none, they are those of BT.601 in the limited range, as FFmpeg has it, whatever the size.
    Samples of more than 8 bits are rounded. What the file says of turning and mirroring is done. Where frames do not
    come at a constant rate, the one that is nearest in time takes each place.

    Args:
        source: a path, or an open file that can seek.
        max_pixels: limit for the pixels of all frames.

    Raises:
        InputError: if the file cannot be read as a film, holds none, or exceeds `max_pixels` or `MAX_FRAME_PIXELS`.
    """

    def __init__(self, source: str | Path | IO[bytes], max_pixels: int) -> None:
        self._source = source
        self._name = str(source) if isinstance(source, str | Path) else "the input"
        with self._opened() as container:
            stream = self._stream(container)
            announced, lasting = stream.frames, announced_seconds(stream)
            self._check_pixels(stream.width * stream.height, MAX_FRAME_PIXELS, "in each frame")
            timing = timing_of(stream, container.demux(stream))
        if timing is None:
            raise InputError(f"{self._name} holds no frame of a film.")
        self._timing, self.count, self.rate = timing, len(timing.wanted), timing.rate
        with self._opened() as container:
            stream = self._stream(container)
            first = next(container.decode(stream), None)
            if first is None:
                raise InputError(f"{self._name} is damaged: none of its frames can be decoded.")
            self._size = first.width, first.height
            self.colour, self._turn = video_frame.colour_of(first), video_frame.turn_of(first)
            lost = video_frame.losses(first, stream)
            if container.streams.audio and sound_in(container) is None:
                lost += ("Its sound is of a kind that is not known here; it is left out.",)
        self.width, self.height = reversed(self._size) if self._turn.swap else self._size
        self._check_pixels(self.pixel_count, max_pixels, "in all frames together")
        said = ""
        if max(timing.packets, self.count) < announced:
            said = f"The file announces {announced} frames, but holds {timing.packets}: it seems to be cut."
        elif self.seconds + float(2 / self.rate) < lasting:
            said = f"The file announces {lasting:.2f} s, but holds {self.seconds:.2f} s: it seems to be cut."
        self.notices = (*lost, *timing.notices, *((said,) if said else ()))

    @cached_property
    def sound(self) -> SoundTrack | None:
        """The packets of the first stream of sound, as they are. Raises `InputError` where they cannot be copied."""
        with self._file() as file:
            return copied(file, self._name, self._timing.start)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        wanted = self._timing.wanted[start:stop]
        if not wanted.size:
            return
        given = 0
        for number, frame in self._decoded(wanted[0]):
            if number < wanted[given]:
                continue
            pixels = self._turn.applied(video_frame.to_rgb(frame, self.colour))
            while given < wanted.size and wanted[given] <= number:
                yield pixels
                given += 1
            if given == wanted.size:
                return
        raise InputError(f"{self._name} is damaged or cut: {start + given} of its {self.count} frames can be read.")

    def _decoded(self, start: int) -> "Iterator[tuple[int, av.VideoFrame]]":
        """Frames of the file in order of time with their numbers, from `start` on or from some before."""
        with self._opened() as container:
            stream = self._stream(container)
            stream.thread_type = "AUTO"
            if start:
                self._timing.seek(container, stream, start)
            for number, frame in self._timing.numbered(container.decode(stream)):
                if number > start > 0:
                    break  # the file's index leads too far
                start = 0
                if (frame.width, frame.height) != self._size:
                    raise InputError(f"The frames of {self._name} change their size on the way: cut it into parts.")
                yield number, frame
        if start:
            yield from self._decoded(0)

    def _stream(self, container: "av.container.InputContainer") -> "av.VideoStream":
        """The first stream of moving pictures; a cover is none. Raises `InputError` where there is none."""
        stream = film_in(container)
        if stream is None:
            also = "only sound: name a codec for sounds to code that" if container.streams.audio else "nor sound"
            raise InputError(f"{self._name} holds no film that can be read, {also}.")
        return stream

    def _check_pixels(self, pixels: int, limit: int, where: str) -> None:
        if pixels > limit:
            raise InputError(f"{self._name} has {pixels} pixels {where}, more than the limit of {limit}: cut or reduce "
                             "it, or raise the limit if you trust it.")

    @contextmanager
    def _opened(self) -> "Iterator[av.container.InputContainer]":
        with self._file() as file, open_container(file, self._name, "film") as container:
            yield container

    @contextmanager
    def _file(self) -> Iterator[IO[bytes]]:
        with opened(self._source) as file:
            file.seek(0)
            yield file


def holds_film(file: IO[bytes]) -> bool:
    """Whether FFmpeg finds moving pictures in a file, which is read from its start and left there."""
    file.seek(0)
    try:
        with open_container(file, "the input", "film") as container:
            return film_in(container) is not None
    except InputError:
        return False
    finally:
        file.seek(0)


def film_in(container: "av.container.InputContainer") -> "av.VideoStream | None":
    """The first stream of moving pictures that can be decoded: not the cover of an album."""
    from av.stream import Disposition

    return next((stream for stream in container.streams.video
                 if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic), None)
