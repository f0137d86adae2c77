"""Sounds that are read in chunks, so that an hour takes no more memory than a minute, and the files that hold them."""

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import soundfile
import soxr

from fewbits.codecs.sound_ending import CUT, is_cut
from fewbits.entropy.container import MAX_RATE
from fewbits.errors import InputError

if TYPE_CHECKING:
    import av

CHUNK = 2**17
"""Samples that are taken at once, all channels together."""

# What libsndfile is asked to read: RIFF and RF64 (WAV), fLaC, OggS, FORM (AIFF). It knows MP3 too, but repairs damage
# in silence; FFmpeg, which gets everything else, reports it.
_SNDFILE_MAGICS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM")
_SNDFILE_UNKNOWN = (1, 4, 18)  # codes of: no format that it knows, an unsupported and an unimplemented encoding
_SNDFILE_UNKNOWN_LENGTH = 2**63 - 1  # SF_COUNT_MAX
_MAX_WAV_BYTES = 2**32 - 1 - 36  # the header counts in 32 bits what follows its first 8 bytes


class _Written:
    """A file for libsndfile to write, which does not say why a disk fails, and not even that it does when it closes a
    FLAC file. `error` is the first."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        return self._tried(self._file.write, data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._tried(self._file.seek, offset, whence)

    def _tried(self, act: Callable[..., int], *arguments: object) -> int:
        try:
            return 0 if self.error else act(*arguments)
        except OSError as error:
            self.error = error
            return 0


@contextmanager
def _written(target: str | Path | IO[bytes]) -> Iterator[_Written]:
    """A file for libsndfile to write. Raises `OSError` in the end where writing failed."""
    with open(target, "wb") if isinstance(target, str | Path) else nullcontext(target) as file:
        written = _Written(file)
        try:
            yield written
        finally:
            if written.error:
                raise written.error


class SoundSource(ABC):
    """A sound that is read from its start, in chunks: in memory, in a file, or while it is made.

    Attributes:
        rate: samples a second in each channel (Hz).
        notices: sentences for the user on what is wrong with the source.
    """

    rate: int
    notices: tuple[str, ...] = ()

    @property
    @abstractmethod
    def channels(self) -> int:
        """How many there are; they have the order of WAV files."""

    @abstractmethod
    def chunks(self) -> Iterator[np.ndarray]:
        """The samples from the start: (channels, n) float32 one after the other, n of at least 1 and of any size.

        Full scale is -1 to 1; values beyond it are kept. It may be called again, for another pass, where the sound is
        not one that can be heard only once. Raises `InputError` where the sound cannot be read on.
        """

    @property
    def count(self) -> int:
        """Samples in each channel. Where nothing says so beforehand, the sound is read through to count them."""
        return sum(chunk.shape[1] for chunk in self.chunks())

    @property
    def seconds(self) -> float:
        return self.count / self.rate

    def save(self, target: str | Path | IO[bytes], format: str | None = None) -> None:
        """Writes 16 bits a sample, as WAV or FLAC by the suffix or by `format`; values beyond full scale are clipped.

        Raises:
            InputError: if the format is unknown or cannot hold the sound, or the sound cannot be read.
        """
        form = format or Path(getattr(target, "name", str(target))).suffix[1:]
        if not soundfile.check_format(form, "PCM_16"):
            raise InputError(f"The sound cannot be written to {target}: the suffixes .wav and .flac are known.")
        try:
            with _written(target) as file, \
                    soundfile.SoundFile(file, "w", self.rate, self.channels, "PCM_16", format=form) as sound:
                for part in self._sixteen_bits():
                    sound.write(part)
        except OSError as error:
            raise InputError(f"The sound cannot be written to {target}: {error.strerror or error}.") from None
        except (soundfile.SoundFileError, ValueError) as error:
            raise InputError(f"The sound cannot be written to {target}: {str(error).rstrip('.')}.") from None

    def write_wav(self, pipe: IO[bytes]) -> None:
        """Writes the WAV file that `save` would to what cannot seek: there the lengths in the header must come first.

        Raises:
            InputError: if WAV cannot hold the sound, or the sound cannot be read.
        """
        frame = 2 * self.channels  # bytes
        size = self.count * frame
        if size > _MAX_WAV_BYTES:
            raise InputError(f"The sound takes {size} bytes, more than a WAV file can hold: write a FLAC file.")
        parts = self._sixteen_bits()
        first = next(parts)  # what is wrong from the start is raised before anything is written
        pipe.write(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, self.channels,
                               self.rate, self.rate * frame, frame, 16, b"data", size))
        for part in chain((first,), parts):
            pipe.write(part.astype("<i2").tobytes())

    def _sixteen_bits(self) -> Iterator[np.ndarray]:
        """Chunks as files hold them, (n, channels) int16."""
        for chunk in self.chunks():
            scaled = np.rint(finite(chunk)[0].T * 2**15).clip(-(2**15), 2**15 - 1)
            yield scaled.astype(np.int16)


class Cleaned(SoundSource):
    """A sound with 0 where its samples are infinite or not numbers.

    Attributes:
        wrong: how many were, among those that the latest pass has read.
    """

    def __init__(self, source: SoundSource) -> None:
        self.rate, self.wrong, self._source = source.rate, 0, source

    @property
    def channels(self) -> int:
        return self._source.channels

    @property
    def count(self) -> int:
        return self._source.count

    def chunks(self) -> Iterator[np.ndarray]:
        self.wrong = 0
        for chunk in self._source.chunks():
            cleaned, wrong = finite(chunk)
            self.wrong += wrong
            yield cleaned


def finite(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Samples with 0 where they are infinite or not numbers, the same array if none are; and how many were."""
    wrong = samples.size - int(np.isfinite(samples).sum())
    return (np.nan_to_num(samples, nan=0, posinf=0, neginf=0) if wrong else samples), wrong


def notices_of(wrong: int) -> tuple[str, ...]:
    """Sentences for the user on samples that `finite` found."""
    return (f"{wrong} samples were infinite or not numbers; they were set to 0.",) if wrong else ()


def check_rate(rate: int) -> None:
    """Raises `InputError` for a rate that no sound here may have."""
    if not 1 <= rate <= MAX_RATE:
        raise InputError(f"A sound needs 1 to {MAX_RATE} samples a second, not {rate}.")


def fitting_count(count: int, rate: int, new_rate: int) -> int:
    """Samples in each channel that fit the duration at another rate, at least one."""
    return max(round(count * new_rate / rate), 1)


def resampled(chunks: Iterable[np.ndarray], channels: int, rate: int, new_rate: int,
              count: int | None = None) -> Iterator[np.ndarray]:
    """Chunks at another rate, by soxr at its quality VHQ: linear phase, no delay. How they are cut does not matter.

    Args:
        count: samples in each channel, cut or lengthened by zeros; those that fit the duration where it is not given.
    """
    stream = None if rate == new_rate else soxr.ResampleStream(rate, new_rate, channels, "float32", "VHQ")
    step = max(CHUNK * rate // (channels * max(rate, new_rate)), 1)  # a few samples may become very many
    read = written = 0

    def converted(samples: np.ndarray, last: bool = False) -> np.ndarray:
        return samples if stream is None else stream.resample_chunk(np.ascontiguousarray(samples.T), last).T

    for chunk in chunks:
        read += chunk.shape[1]
        for start in range(0, chunk.shape[1], step):
            part = converted(chunk[:, start : start + step])[:, : None if count is None else count - written]
            written += part.shape[1]
            if part.size:
                yield part
    count = count or fitting_count(read, rate, new_rate)
    # without zeros behind it, a short sound would become nothing
    rest = converted(np.zeros((channels, -(-rate // new_rate)), np.float32), last=True)[:, : count - written]
    if written < count:
        yield np.pad(rest, ((0, 0), (0, count - written - rest.shape[1])))


class SoundFile(SoundSource):
    """A file: WAV, AIFF, FLAC and Ogg by libsndfile, all else, also the sound of a film, by FFmpeg.

    Samples that an encoder put before or behind the sound are left out where the file says so and the library
    heeds it: in Ogg and MP3 files on both sides, in MP4 files in front, in bare AAC (ADTS) nowhere. Damage in FLAC
    files is seen, in Ogg files but for their end; the others have no checksums, and most of them may end anywhere.
    Those that are shorter than they say are read as far as they go, and have a notice.

    Args:
        source: a path, or an open file that can seek, which is read from its start.
        max_samples: limit, all channels together. Where the file does not say how long it is, the limit is found
            exceeded on the way.

    Raises:
        InputError: if the file cannot be read as a sound, holds none, or holds more than `max_samples`.
    """

    def __init__(self, source: str | Path | IO[bytes], max_samples: int) -> None:
        self._source, self._max_samples = source, max_samples
        self._name = str(source) if isinstance(source, str | Path) else "the input"
        with closing(self._parts()) as parts:
            first = next(parts, None)
        if first is None:
            raise InputError(f"{self._name} holds no sound.")
        check_rate(first.rate)
        self.rate, self._channels, self._count = first.rate, first.samples.shape[0], first.total
        with opened(self._source) as file:
            self.notices = (CUT,) if is_cut(file) else ()

    @property
    def channels(self) -> int:
        return self._channels

    @property
    def count(self) -> int:
        if self._count is None:
            self._count = super().count
        return self._count

    def chunks(self) -> Iterator[np.ndarray]:
        read = 0
        for part in self._parts():
            read += part.samples.shape[1]
            yield part.samples
        if self._count is None:
            self._count = read
        elif self._count != read:
            raise InputError(f"{self._name} changed while it was read.")

    def _parts(self) -> Generator["_Part", None, None]:
        with opened(self._source) as file:
            file.seek(0)
            magic = file.read(4)
            file.seek(0)
            sound = _sndfile(file, self._name) if magic in _SNDFILE_MAGICS else None
            if sound is not None:
                yield from _read_sndfile(sound, self._name, self._max_samples)
            else:
                file.seek(0)
                yield from _read_ffmpeg(file, self._name, self._max_samples)


@contextmanager
def opened(source: str | Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """The file of a name, or the open file itself. Raises `InputError` where it cannot be read."""
    if not isinstance(source, str | Path):
        yield source
        return
    try:
        with open(source, "rb") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"There is no file {source}.") from None
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or error}.") from None


def bare_container(file: IO[bytes]) -> "av.container.InputContainer":
    """A file as FFmpeg reads it, with the errors of FFmpeg."""
    import av  # slow to import

    # a playlist must not make FFmpeg open what it names; wrongly encoded tags do not matter
    return av.open(file, "r", options={"protocol_whitelist": "none"}, metadata_errors="replace")


@contextmanager
def open_container(file: IO[bytes], name: str, kind: str) -> "Iterator[av.container.InputContainer]":
    """A file as FFmpeg reads it. What FFmpeg raises meanwhile becomes an `InputError`: no "sound", say, was read."""
    import av  # slow to import

    try:
        with bare_container(file) as container:
            yield container
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"{name} cannot be read as a {kind}: {getattr(error, 'strerror', None) or error}.") from None


class _Part(NamedTuple):
    """A chunk of a file, with the file's rate and, where the file says so, how many samples each channel has in all."""

    samples: np.ndarray
    rate: int
    total: int | None


class _Forwards(soundfile.SoundFile):
    """A file that is read from start to end: soundfile would seek after every chunk, to where it is already."""

    def seekable(self) -> bool:
        return False


def _sndfile(file: IO[bytes], name: str) -> soundfile.SoundFile | None:
    """Opens with libsndfile; None for what is left to FFmpeg."""
    try:
        sound = _Forwards(file)
    except soundfile.LibsndfileError as error:
        if error.code in _SNDFILE_UNKNOWN:
            return None
        raise InputError(f"{name} cannot be read as a sound: {error.error_string}") from None
    # of Ogg with many channels libsndfile does not change the order; of FLAC from a pipe it reads nothing
    if (sound.format == "OGG" and sound.channels > 2) or sound.frames == _SNDFILE_UNKNOWN_LENGTH:
        sound.close()
        return None
    return sound


def _read_sndfile(sound: soundfile.SoundFile, name: str, max_samples: int) -> Iterator[_Part]:
    with sound:
        _check_samples(sound.frames * sound.channels, name, max_samples)
        step = max(CHUNK // sound.channels, 1)
        for start in range(0, sound.frames, step):
            wanted = min(step, sound.frames - start)
            try:
                samples = sound.read(wanted, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise InputError(f"{name} is damaged or cut: {error.error_string}") from None
            if len(samples) < wanted:
                raise InputError(f"{name} is damaged or cut: {start + len(samples)} of its {sound.frames} samples can "
                                 "be read.")
            yield _Part(np.ascontiguousarray(samples.T), sound.samplerate, sound.frames)


def _read_ffmpeg(file: IO[bytes], name: str, max_samples: int) -> Iterator[_Part]:
    """Reads the best stream of sound in a file with FFmpeg."""
    import av  # slow to import

    size = rate = 0
    with open_container(file, name, "sound") as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream):
            raise InputError(f"{name} holds no sound.")
        converter = av.AudioResampler(format="fltp")
        for frame in container.decode(stream):
            rate = rate or frame.sample_rate
            for planar in converter.resample(frame):
                samples = planar.to_ndarray()
                size += samples.size
                _check_samples(size, name, max_samples)
                if samples.size:
                    yield _Part(samples, rate, None)


def _check_samples(count: int, name: str, max_samples: int) -> None:
    if count > max_samples:
        raise InputError(f"{name} has more than {max_samples} samples, the limit: raise the limit if you trust it.")
