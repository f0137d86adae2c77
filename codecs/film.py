"""Films in memory, and what codecs of films have in common."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import overload

import numpy as np

from fewbits.codecs.codec import Codec, Progress, Stream, Target, no_progress
from fewbits.codecs.colour import MATRICES, Colour
from fewbits.codecs.sound_track import SoundTrack
from fewbits.codecs.video_source import VideoSource, check_rate
from fewbits.errors import InputError

MAX_VIDEO_PIXELS = 40_000_000_000
"""Films with more pixels than this, in all frames together, are refused unless the caller raises the limit."""


class Video(VideoSource):
    """A film in memory.

    Args:
        samples: (N, H, W, 3) uint8, RGB.
        rate: frames a second.
        colour: how luma and chroma of the source were meant, and are to be where the film is stored as such.
        sound: its sound.

    Raises:
        InputError: if samples or rate are not such.
    """

    def __init__(self, samples: np.ndarray, rate: Fraction, colour: Colour = Colour(),
                 sound: SoundTrack | None = None) -> None:
        if samples.ndim != 4 or samples.shape[3] != 3 or 0 in samples.shape or samples.dtype != np.uint8:
            raise InputError("A film needs 8 bits a sample and the shape (frames, height, width, 3), not "
                             f"{samples.dtype} and {samples.shape}.")
        check_rate(rate)
        self.samples, self.rate, self.colour, self._sound = samples, rate, colour, sound
        self.count, self.height, self.width = samples.shape[:3]

    @property
    def sound(self) -> SoundTrack | None:
        return self._sound

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        return iter(self.samples[start:stop])

    @classmethod
    def read(cls, source: VideoSource) -> "Video":
        """The whole of a film. Raises `InputError` where it cannot be read."""
        samples = gathered(source.frames(), source.count, source.height, source.width)
        return cls(samples, source.rate, source.colour, source.sound)

    def with_sound(self, track: SoundTrack | None) -> "Video":
        """The same frames with another sound."""
        return Video(self.samples, self.rate, self.colour, track)


class VideoCodec(Codec[VideoSource]):
    """A codec of films, which takes and gives them frame by frame."""

    @abstractmethod
    def encode(self, media: VideoSource, target: Target, progress: Progress = no_progress) -> Stream:
        """Codes the frames of a film, which may be read several times; see `Codec.encode`."""

    @abstractmethod
    def decode_frames(self, stream: Stream, shape: dict[str, int], positions: Sequence[Fraction],
                      progress: Progress = no_progress) -> Iterator[np.ndarray]:
        """Decodes frames as they are asked for: (H, W, 3) uint8 RGB, one for each position; see `Codec.decode`.

        Args:
            positions: in frames, ascending, from 0 to `shape["count"] - 1`. Whole ones are frames, others lie between.

        Raises:
            InputError: for positions between frames, where the codec cannot interpolate, before the first frame is
                asked for.
            StreamError: if the number of sections is wrong or limits are exceeded, before the first frame is asked
                for; where a section is wrong, when its turn comes.
        """

    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Video:
        """All frames, without sound."""
        frames = self.decode_frames(stream, shape, Positions(range(shape["count"])), progress)
        samples = gathered(frames, shape["count"], shape["height"], shape["width"])
        return Video(samples, rate_in(shape), colour_in(shape))


class Positions(Sequence[Fraction]):
    """Positions in a film at equal distances; there may be so many that a list of them would not fit.

    Args:
        numbers: which of them, counted from that at `first`.
        first: in frames.
        step: from one to the next, in frames.
    """

    def __init__(self, numbers: range, first: int = 0, step: Fraction = Fraction(1)) -> None:
        self._numbers, self._first, self._step = numbers, first, step

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> Fraction: ...

    @overload
    def __getitem__(self, at: slice) -> "Positions": ...

    def __getitem__(self, at: int | slice) -> "Fraction | Positions":
        if isinstance(at, slice):
            return Positions(self._numbers[at], self._first, self._step)
        return self._first + self._step * self._numbers[at]


def rate_in(shape: dict[str, int]) -> Fraction:
    """Frames a second, from the header of a film."""
    return Fraction(shape["rate_numerator"], shape["rate_denominator"])


def colour_in(shape: dict[str, int]) -> Colour:
    """How luma and chroma are meant, from the header of a film."""
    return Colour(MATRICES[shape["matrix"]], bool(shape["full_range"]))


def gathered(frames: Iterator[np.ndarray], count: int, height: int, width: int) -> np.ndarray:
    """All frames in one array."""
    samples = np.empty((count, height, width, 3), np.uint8)
    for place, frame in zip(samples, frames, strict=True):
        place[:] = frame
    return samples
