"""Sounds as pictures: spectrograms of sources, and of what every codec of an evaluation makes of them at a rate."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import get_window, stft

from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.sound import Audio
from fewbits.codecs.suffixes import suffixes_of
from fewbits.eval.contenders import contender
from fewbits.eval.crops import CropRow
from fewbits.eval.curves import Result, codecs_of
from fewbits.eval.evaluate import expand
from fewbits.eval.sounds import in_place, open_source

_SECONDS = 8.0  # shown of a sound, from its start
_WINDOW = 0.032  # seconds
_COLUMNS, _ROWS = 480, 200
_LOUD = 0.99  # of the places of the source are less loud than what is white
_RANGE = 65  # dB from white down to black


@dataclass(frozen=True)
class Spectrogram:
    """A decoded sound as pixels (h, w, 3) uint8, and its beginning as a FLAC file; the rate is that of the whole."""

    codec: str
    setting: float
    kbps: float
    pixels: np.ndarray
    sound: bytes

    @property
    def caption(self) -> str:
        return f"@{self.setting:.4g}: {self.kbps:.2f} kbit/s"


def take_spectrograms(result: Result, paths: Sequence[str | Path], rate: float = 6.0, count: int = 2,
                      progress: Progress = no_progress) -> list[CropRow]:
    """Codes some of the evaluated sounds once more, each codec with that of its settings which is nearest to a rate.

    Args:
        paths: what `evaluate` was given.
        rate: kbit/s of the whole sound; what is nearest is so on a logarithmic scale.
        count: sounds to take, the first ones.

    Returns:
        One row for each sound. Frequency rises from 0 to half the rate of the samples; the brightness is that of the
        first channel in dB, from the loud places of the source down to 65 dB under them.
    """
    sources = expand(paths, suffixes_of("audio"), "sound")
    codecs = [contender(name, "audio") for name in codecs_of(result)]
    chosen = list(sources.items())[:count]
    rows = []
    for i, (name, path) in enumerate(chosen):
        audio, _ = open_source(path, result["environment"]["mono"])
        power, shown = _power(audio), []
        white = float(np.quantile(power, _LOUD)) or 1.0
        for j, codec in enumerate(codecs):
            progress((i * len(codecs) + j) / (len(chosen) * len(codecs)), f"spectrogram of {name}, {codec.name}")
            records = [r for r in result["records"] if (r["file"], r["codec"]) == (name, codec.name)]
            nearest = min(records, key=lambda r: abs(math.log(r["kbps"] / rate)))
            data, _ = codec.encode(audio, nearest["setting"], result["environment"]["effort"])
            decoded = in_place(codec, audio, codec.decode(data))
            shown.append(Spectrogram(codec.name, nearest["setting"], nearest["kbps"],
                                     _pixels(_power(decoded), white), _beginning(decoded)))
        rows.append(CropRow(name, rate, _pixels(power, white), tuple(shown), _beginning(audio)))
    progress(1, "done")
    return rows


def side_by_side(source: Audio, decoded: Audio) -> tuple[np.ndarray, np.ndarray]:
    """Spectrograms of a sound and of what became of it, each (h, w, 3) uint8, as `take_spectrograms` draws them."""
    power = _power(source)
    white = float(np.quantile(power, _LOUD)) or 1.0
    return _pixels(power, white), _pixels(_power(decoded), white)


def _beginning(audio: Audio) -> bytes:
    """The seconds that are shown, as a FLAC file."""
    file = io.BytesIO()
    audio.of_length(min(audio.count, round(_SECONDS * audio.rate))).save(file, "FLAC")
    return file.getvalue()


def _power(audio: Audio) -> np.ndarray:
    """(frequencies, frames) power of the beginning of the first channel."""
    start = audio.samples[0, : max(round(_SECONDS * audio.rate), 1)].astype(np.float64)
    size = max(round(_WINDOW * audio.rate), 8)
    start = np.pad(start, (0, max(size - len(start), 0)))
    _, _, spectrum = stft(start, window=get_window("hann", size), nperseg=size, noverlap=size // 2)
    return np.abs(spectrum) ** 2


def _pixels(power: np.ndarray, white: float) -> np.ndarray:
    """A spectrogram in matplotlib's colours, low frequencies at the bottom: (h, w, 3) uint8.

    A pixel shows the loudest of the places that fall on it.
    """
    from matplotlib import colormaps  # slow to import

    for axis, size in ((0, _ROWS), (1, _COLUMNS)):
        power = np.maximum.reduceat(power, np.arange(size) * power.shape[axis] // size, axis)
    decibels = 10 * np.log10(np.maximum(power[::-1] / white, 10 ** (-_RANGE / 10)))
    return colormaps["magma"](decibels / _RANGE + 1, bytes=True)[..., :3]
