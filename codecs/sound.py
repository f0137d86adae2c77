"""Sounds as arrays, and how files become them."""

from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
import soxr

from fewbits.entropy.container import MAX_RATE
from fewbits.errors import InputError

MAX_SAMPLES = 400_000_000
"""Sounds with more samples than this, all channels together, are refused unless the caller raises the limit."""


# What libsndfile is asked to read: RIFF and RF64 (WAV), fLaC, OggS, FORM (AIFF). It knows MP3 too, but repairs damage
# in silence; FFmpeg, which gets everything else, reports it.
_SNDFILE_MAGICS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM")
_SNDFILE_UNKNOWN = (1, 4, 18)  # codes of: no format that it knows, an unsupported and an unimplemented encoding
_WRITTEN_AT_ONCE = 2**20  # samples of each channel: files can be long, and their numbers take memory twice over
_SNDFILE_UNKNOWN_LENGTH = 2**63 - 1  # SF_COUNT_MAX


@dataclass(frozen=True, eq=False)
class Audio:
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
        if not 1 <= self.rate <= MAX_RATE:
            raise InputError(f"A sound needs 1 to {MAX_RATE} samples a second, not {self.rate}.")

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    @property
    def count(self) -> int:
        """Samples in each channel."""
        return self.samples.shape[1]

    @property
    def seconds(self) -> float:
        return self.count / self.rate

    @classmethod
    def open(cls, source: str | Path | IO[bytes], max_samples: int = MAX_SAMPLES) -> "Audio":
        """Reads a sound: WAV, AIFF, FLAC and Ogg with libsndfile, all else, also the sound of a film, with FFmpeg.

        Samples that an encoder put before or behind the sound are left out where the file says so and the library
        heeds it: in Ogg and MP3 files on both sides, in MP4 files in front, in bare AAC (ADTS) nowhere. Damage in FLAC
        files is seen, in Ogg files but for their end; the others have no checksums, and most of them may end anywhere.

        Args:
            source: a path, or an open file that can seek, which is read from its start.

        Raises:
            InputError: if the file cannot be read as a sound, holds none, or holds more than `max_samples`.
        """
        if not isinstance(source, str | Path):
            return cls(*_read(source, "the input", max_samples))
        try:
            with open(source, "rb") as file:
                return cls(*_read(file, str(source), max_samples))
        except FileNotFoundError:
            raise InputError(f"There is no file {source}.") from None
        except OSError as error:
            raise InputError(f"{source} cannot be read: {error.strerror or error}.") from None

    def save(self, target: str | Path | IO[bytes], format: str | None = None) -> None:
        """Writes 16 bits a sample, as WAV or FLAC by the suffix or by `format`; values beyond full scale are clipped.

        Raises:
            InputError: if the format is unknown or cannot hold the sound.
        """
        try:
            with soundfile.SoundFile(target, "w", self.rate, self.channels, "PCM_16", format=format) as file:
                for start in range(0, self.count, _WRITTEN_AT_ONCE):
                    part, _ = Audio(self.samples[:, start : start + _WRITTEN_AT_ONCE], self.rate).cleaned()
                    scaled = np.rint(part.samples.T * 2**15).clip(-(2**15), 2**15 - 1)
                    file.write(scaled.astype(np.int16))
        except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
            raise InputError(f"The sound cannot be written to {target}: {error}. The suffixes .wav and .flac "
                             "are known.") from None

    def cleaned(self) -> tuple["Audio", tuple[str, ...]]:
        """The sound with 0 where samples are not numbers or infinite, and sentences that say so to the user."""
        wrong = self.samples.size - int(np.isfinite(self.samples).sum())
        if not wrong:
            return self, ()
        finite = np.nan_to_num(self.samples, nan=0, posinf=0, neginf=0)
        return Audio(finite, self.rate), (f"{wrong} samples were infinite or not numbers; they were set to 0.",)

    def of_length(self, count: int) -> "Audio":
        """The sound with `count` samples a channel: cut, or lengthened by zeros. It shares memory where it can."""
        if count == self.count:
            return self
        missing = max(count - self.count, 0)
        return Audio(np.pad(self.samples[:, :count], ((0, 0), (0, missing))), self.rate)

    def resampled(self, rate: int, count: int | None = None) -> "Audio":
        """The sound at another rate, by soxr at its quality VHQ: linear phase, no delay.

        Args:
            rate: samples a second (Hz).
            count: samples in each channel; those that fit the duration, but at least one, where it is not given. To
                come back to a sound, give its own: `sound.resampled(16000).resampled(sound.rate, sound.count)`.

        Raises:
            InputError: if the result had more than `MAX_SAMPLES` samples.
        """
        count = count or max(round(self.count * rate / self.rate), 1)
        if count * self.channels > MAX_SAMPLES:
            raise InputError(f"At {rate} Hz the sound would have {count * self.channels} samples, more than the limit "
                             f"of {MAX_SAMPLES}: cut it into parts.")
        if rate == self.rate:
            return self.of_length(count)
        lengthened = self.of_length(self.count + -(-self.rate // rate))  # or a short sound would become nothing
        samples = soxr.resample(lengthened.samples.T, self.rate, rate, quality="VHQ").T
        return Audio(samples, rate).of_length(count)

    def mono(self) -> "Audio":
        """The mean of the channels, as one."""
        return self if self.channels == 1 else Audio(self.samples.mean(axis=0, keepdims=True), self.rate)


def _read(file: IO[bytes], name: str, max_samples: int) -> tuple[np.ndarray, int]:
    """Samples (channels, N) and rate; raises `InputError`."""
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    read = _read_sndfile(file, name, max_samples) if magic in _SNDFILE_MAGICS else None
    if read is None:
        file.seek(0)
        read = _read_ffmpeg(file, name, max_samples)
    if not read[0].size:
        raise InputError(f"{name} holds no sound.")
    return read


def _read_sndfile(file: IO[bytes], name: str, max_samples: int) -> tuple[np.ndarray, int] | None:
    """Reads with libsndfile; None for what is left to FFmpeg."""
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        if error.code in _SNDFILE_UNKNOWN:
            return None
        raise InputError(f"{name} cannot be read as a sound: {error.error_string}") from None
    with sound:
        # of Ogg with many channels libsndfile does not change the order; of FLAC from a pipe it reads nothing
        if (sound.format == "OGG" and sound.channels > 2) or sound.frames == _SNDFILE_UNKNOWN_LENGTH:
            return None
        _check_samples(sound.frames * sound.channels, name, max_samples)
        try:
            samples = sound.read(dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise InputError(f"{name} is damaged or cut: {error.error_string}") from None
        if len(samples) < sound.frames:
            raise InputError(f"{name} is damaged or cut: {len(samples)} of its {sound.frames} samples can be read.")
        return np.ascontiguousarray(samples.T), sound.samplerate


def _read_ffmpeg(file: IO[bytes], name: str, max_samples: int) -> tuple[np.ndarray, int]:
    """Reads the best stream of sound in a file with FFmpeg."""
    import av  # slow to import

    parts: list[np.ndarray] = []
    size = rate = 0
    try:
        # a playlist must not make FFmpeg open what it names; wrongly encoded tags do not matter
        with av.open(file, "r", options={"protocol_whitelist": "none"}, metadata_errors="replace") as container:
            stream = container.streams.best("audio")
            if not isinstance(stream, av.AudioStream):
                raise InputError(f"{name} holds no sound.")
            converter = av.AudioResampler(format="fltp")
            for frame in container.decode(stream):
                rate = rate or frame.sample_rate
                for planar in converter.resample(frame):
                    parts.append(planar.to_ndarray())
                    size += parts[-1].size
                    _check_samples(size, name, max_samples)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"{name} cannot be read as a sound: {getattr(error, 'strerror', None) or error}.") from None
    return (np.concatenate(parts, axis=1) if parts else np.empty((1, 0), np.float32)), rate


def _check_samples(count: int, name: str, max_samples: int) -> None:
    if count > max_samples:
        raise InputError(f"{name} has more than {max_samples} samples, the limit: raise the limit if you trust it.")
