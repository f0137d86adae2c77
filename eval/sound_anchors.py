"""The classical codecs of sound that others are measured against, all through PyAV, which brings FFmpeg.

Settings are kbit/s, those of lossless codecs efforts. Files hold as little beside the sound as their format allows.
"""

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fewbits.codecs.sound import Audio
from fewbits.errors import InputError

if TYPE_CHECKING:
    import av

_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
_FRAME = 4096  # samples a channel, for encoders that take any number
_SHORTEST = 0.1  # seconds; FFmpeg does not recognise AAC files that are much shorter


@dataclass(frozen=True)
class SoundAnchor:
    """A classical codec of sound.

    Attributes:
        name, suffix, about: its name here, the end of its file names, one line for people.
        encoder, container, sample_format: FFmpeg's names of them; lossless codecs get whole numbers.
        settings, low, high: the spread taken where none is asked for, the smallest and the largest setting.
        rates: samples a second (Hz) that it takes, ascending, or none for all. Other sounds are resampled to the next
            higher one, or the highest.
        sample_a_bit: whether no more samples a second are coded than bits, where that is possible.
        max_channels: how many the format holds.
        options, container_options: what FFmpeg is told.
        lossless: whether sounds of 16 and 24 bits come back as they were; the setting is then the effort.
    """

    name: str
    suffix: str
    about: str
    encoder: str
    container: str
    settings: tuple[float, ...]
    low: float
    high: float
    rates: tuple[int, ...] = ()
    sample_a_bit: bool = False
    max_channels: int = 8
    sample_format: str = "fltp"
    options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)
    lossless: bool = False

    @property
    def whole(self) -> bool:
        """Whether settings must be whole numbers."""
        return self.lossless

    def encode(self, audio: Audio, setting: float) -> bytes:
        """A whole file. Raises `InputError` where FFmpeg cannot write such a sound with such a setting."""
        import av  # slow to import

        if audio.channels > self.max_channels:
            raise InputError(f"{self.name} holds up to {self.max_channels} channels, not {audio.channels}.")
        if self.rates:
            limit = 1000 * setting if self.sample_a_bit else math.inf
            rates = [rate for rate in self.rates if rate <= limit] or self.rates[:1]
            audio = audio.resampled(next((rate for rate in rates if rate >= audio.rate), rates[-1]))
        audio = audio.of_length(max(audio.count, round(_SHORTEST * audio.rate)))
        file = io.BytesIO()
        try:
            self._write(audio, setting, file)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"{self.name} cannot code a sound of {audio.channels} channels and {audio.rate} Hz with "
                             f"setting {setting:g}: {error}.") from None
        return file.getvalue()

    def decode(self, data: bytes) -> Audio:
        """The sound in a file that `encode` made: at the rate coded, maybe with samples before and behind it."""
        return Audio.open(io.BytesIO(data))

    def _write(self, audio: Audio, setting: float, file: io.BytesIO) -> None:
        import av

        if self.lossless:
            bits = _bits(audio)
            sample_format = "s16" if bits == 16 else "s32"
            options = {"compression_level": f"{setting:g}", "bits_per_raw_sample": f"{bits}"}
        else:
            sample_format = self.sample_format
            options = {"b": f"{round(1000 * setting)}"}
        with av.open(file, "w", format=self.container, container_options=dict(self.container_options)) as out:
            stream = out.add_stream(self.encoder, rate=audio.rate, layout=_LAYOUTS[audio.channels - 1],
                                    options={**self.options, **options})
            assert isinstance(stream, av.AudioStream)
            stream.codec_context.format = av.AudioFormat(sample_format)
            stream.codec_context.open()
            for frame in _frames(audio, stream.codec_context):
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))


def _bits(audio: Audio) -> int:
    """Bits a sample that a lossless codec is given: 16 where they hold the sound, else 24."""
    scaled = audio.samples * 2**15
    return 16 if np.array_equal(scaled, np.rint(scaled).clip(-(2**15), 2**15 - 1)) else 24


def _frames(audio: Audio, context: "av.AudioCodecContext") -> Iterator["av.AudioFrame"]:
    """The sound in pieces of the length and the format that the encoder takes."""
    import av

    size = context.frame_size or _FRAME
    for start in range(0, audio.count, size):
        samples = _converted(audio.samples[:, start : start + size], context.format.name)
        if not context.format.is_planar:
            samples = samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), context.format.name, context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = audio.rate, start, Fraction(1, audio.rate)
        yield frame


def _converted(samples: np.ndarray, format: str) -> np.ndarray:
    """Samples (float32, full scale -1 to 1) as FFmpeg's s16, s32 (of which it codes the upper 24 bits) or floats."""
    if format not in ("s16", "s32"):
        return samples
    bits, dtype, unused = (16, np.int16, 0) if format == "s16" else (24, np.int32, 8)
    full = 2 ** (bits - 1)
    return np.rint(samples.astype(np.float64) * full).clip(-full, full - 1).astype(dtype) << unused


_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_LARGE_PAGES = {"page_duration": "60000000"}  # microseconds: a page is as long as it can be, not a second

SOUND_ANCHORS = {
    anchor.name: anchor
    for anchor in (
        SoundAnchor("opus", ".opus", "libopus, variable rate, frames of 20 ms", "libopus", "ogg",
                    (6, 9, 12, 16, 24, 32, 48, 64, 96), low=4, high=510, rates=_OPUS_RATES, sample_format="flt",
                    options={"vbr": "on", "frame_duration": "20"}, container_options=_LARGE_PAGES),
        SoundAnchor("opus-60", ".opus", "libopus, variable rate, frames of 60 ms", "libopus", "ogg",
                    (6, 9, 12, 16, 24, 32, 48, 64, 96), low=4, high=510, rates=_OPUS_RATES, sample_format="flt",
                    options={"vbr": "on", "frame_duration": "60"}, container_options=_LARGE_PAGES),
        SoundAnchor("mp3", ".mp3", "LAME, average rate", "libmp3lame", "mp3", (16, 24, 32, 48, 64, 96, 128, 192),
                    low=8, high=320, rates=_MP3_RATES, sample_a_bit=True, max_channels=2, options={"abr": "1"},
                    container_options={"id3v2_version": "0"}),
        SoundAnchor("aac", ".aac", "FFmpeg's own AAC-LC, bare (ADTS)", "aac", "adts", (12, 16, 24, 32, 48, 64, 96, 128),
                    low=8, high=512, rates=_AAC_RATES),
        SoundAnchor("flac", ".flac", "FLAC by FFmpeg; the setting is its level", "flac", "flac", (0, 3, 5, 8, 12),
                    low=0, high=12, container_options={"metadata_header_padding": "0"}, lossless=True),
    )
}
"""All anchors of sound by name."""
