"""Sounds in memory, and what codecs of sound have in common."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fewbits.codecs.codec import Codec, Progress, Stream, Target, no_progress
from fewbits.codecs.sound_source import (
    CHUNK,
    SoundFile,
    SoundSource,
    check_rate,
    finite,
    fitting_count,
    notices_of,
    resampled,
)
from fewbits.errors import InputError

MAX_SAMPLES = 400_000_000
"""Sounds with more samples than this, all channels together, are refused unless the caller raises the limit."""


@dataclass(frozen=True, eq=False)
class Audio(SoundSource):
    """A sound in memory.

    Attributes:
        samples: (channels, N) float32; full scale is -1 to 1, values beyond it are kept. Channels have the order of
            WAV files: left, right, centre, low frequencies, then those behind.
        rate: samples a second in each channel (Hz).
    """

    samples: np.ndarray
    rate: int

    def __post_init__(self) -> None:
        s = self.samples
        if s.ndim != 2 or 0 in s.shape or s.dtype != np.float32:
            raise InputError(f"A sound needs float32 samples of the shape (channels, samples), at least one of each, "
                             f"not {s.dtype} and {s.shape}.")
        check_rate(self.rate)

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    @property
    def count(self) -> int:
        """Samples in each channel."""
        return self.samples.shape[1]

    def chunks(self) -> Iterator[np.ndarray]:
        step = max(CHUNK // self.channels, 1)
        return (self.samples[:, start : start + step] for start in range(0, self.count, step))

    @classmethod
    def read(cls, source: SoundSource) -> "Audio":
        """The whole of a sound. Raises `InputError` where it cannot be read."""
        return cls(np.concatenate(list(source.chunks()), axis=1), source.rate)

    @classmethod
    def open(cls, source: str | Path | IO[bytes], max_samples: int = MAX_SAMPLES) -> "Audio":
        """The whole of a file; arguments and errors as `SoundFile`."""
        return cls.read(SoundFile(source, max_samples))

    def cleaned(self) -> tuple["Audio", tuple[str, ...]]:
        """The sound with 0 where samples are not numbers or infinite, and sentences that say so to the user."""
        samples, wrong = finite(self.samples)
        return (Audio(samples, self.rate), notices_of(wrong)) if wrong else (self, ())

    def of_length(self, count: int) -> "Audio":
        """The sound with `count` samples a channel: cut, or lengthened by zeros. It shares memory where it can."""
        if count == self.count:
            return self
        missing = max(count - self.count, 0)
        return Audio(np.pad(self.samples[:, :count], ((0, 0), (0, missing))), self.rate)

    def resampled(self, rate: int, count: int | None = None) -> "Audio":
        """The sound at another rate, see `fewbits.codecs.sound_source.resampled`.

        Args:
            rate: samples a second (Hz).
            count: samples in each channel; those that fit the duration, but at least one, where it is not given. To
                come back to a sound, give its own: `sound.resampled(16000).resampled(sound.rate, sound.count)`.

        Raises:
            InputError: if the result had more than `MAX_SAMPLES` samples.
        """
        count = count or fitting_count(self.count, self.rate, rate)
        check_resampled(count * self.channels, rate)
        if rate == self.rate:
            return self.of_length(count)
        parts = list(resampled(self.chunks(), self.channels, self.rate, rate, count))
        return Audio(np.concatenate(parts, axis=1), rate)

    def mono(self) -> "Audio":
        """The mean of the channels, as one."""
        return self if self.channels == 1 else Audio(self.samples.mean(axis=0, keepdims=True), self.rate)


class SoundCodec(Codec[Audio]):
    """A codec of sounds, which takes and gives them in chunks."""

    @abstractmethod
    def encode(self, media: SoundSource, target: Target, progress: Progress = no_progress) -> Stream:
        """Codes a sound, which may be read several times; see `Codec.encode`."""

    @abstractmethod
    def decode_chunks(self, stream: Stream, shape: dict[str, int],
                      progress: Progress = no_progress) -> Iterator[np.ndarray]:
        """Decodes a sound as it is asked for: (channels, n) float32 one after the other; see `Codec.decode`.

        Raises:
            StreamError: if the number of sections is wrong or limits are exceeded, before the first chunk is asked
                for; where a section is wrong, when its turn comes.
        """

    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Audio:
        """All that `decode_chunks` gives."""
        return Audio(np.concatenate(list(self.decode_chunks(stream, shape, progress)), axis=1), shape["rate"])


def check_resampled(samples: int, rate: int) -> None:
    """Raises `InputError` for more than `MAX_SAMPLES`, all channels together, at a rate that a sound is brought to."""
    if samples > MAX_SAMPLES:
        raise InputError(f"At {rate} Hz the sound would have {samples} samples, more than the limit of {MAX_SAMPLES}: "
                         "cut it into parts.")
