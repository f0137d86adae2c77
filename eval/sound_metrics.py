"""How far a decoded sound is from its source.

Every metric takes two sounds of one rate, one length and one number of channels, already aligned, and gives None
where it cannot be had. None of them is a listening test. PESQ, STOI, ESTOI and ViSQOL hear the mean of the channels;
of sounds longer than half a minute they give the mean over equal parts of at most that length.
"""

import logging
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np

from fewbits.codecs.sound import Audio
from fewbits.eval.metrics import is_installed

_PART = 30  # seconds; PESQ, made for some ten, has room for fifty utterances and does not look whether there are more
_MEL_SCALES = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))  # window, bands
_MEL_FLOOR = 1e-5
_MEL_BLOCK = 2**20  # samples transformed at once


@dataclass(frozen=True)
class SoundMetric:
    """One metric of sounds.

    Attributes:
        label: name for people.
        compute: (source, decoded) to the value; infinity where the sounds are equal and there is no upper end.
        package: module that it needs of the extra `metrics`, if any.
        scale: value to the axis on which curves are drawn and compared, where more is better.
    """

    label: str
    compute: Callable[[Audio, Audio], float | None]
    package: str | None = None
    scale: Callable[[float], float] = float

    @property
    def installed(self) -> bool:
        return is_installed(self.package)


def pesq_wb(source: Audio, decoded: Audio) -> float | None:
    """Perceptual evaluation of speech quality, wideband (ITU-T P.862.2), at 16 kHz; 1 to 4.64, larger is better.

    For speech; None for less than a quarter of a second and where no utterance is found.
    """
    return _mean_over_parts(source, decoded, 16000, lambda a, b: _pesq(a, b, 16000, "wb"))


def pesq_nb(source: Audio, decoded: Audio) -> float | None:
    """Perceptual evaluation of speech quality, narrowband (ITU-T P.862.1), at 8 kHz; 1 to 4.55, larger is better.

    For speech; None for less than a quarter of a second and where no utterance is found.
    """
    return _mean_over_parts(source, decoded, 8000, lambda a, b: _pesq(a, b, 8000, "nb"))


def stoi(source: Audio, decoded: Audio) -> float | None:
    """Short-time objective intelligibility (Taal and others 2011), at most 1, larger is better.

    For speech, at 16 kHz, which the package takes to 10; None with less than 0.4 s that is not silent.
    """
    return _mean_over_parts(source, decoded, 16000, lambda a, b: _stoi(a, b, extended=False))


def estoi(source: Audio, decoded: Audio) -> float | None:
    """Extended short-time objective intelligibility (Jensen and Taal 2016); else like `stoi`."""
    return _mean_over_parts(source, decoded, 16000, lambda a, b: _stoi(a, b, extended=True))


def si_sdr(source: Audio, decoded: Audio) -> float | None:
    """Scale-invariant ratio of signal to distortion in dB (Le Roux and others 2019), larger is better.

    10 log10(|a s|^2 / |a s - d|^2) with a = <s, d> / <s, s>, s and d being all samples of all channels, means
    included. Infinity where d is a multiple of s, minus infinity where they share nothing, None for a silent source.
    """
    s, d = (sound.samples.ravel().astype(np.float64) for sound in (source, decoded))
    energy = float(s @ s)
    if not energy:
        return None
    target = (s @ d) / energy * s
    kept, lost = float(target @ target), float(((target - d) ** 2).sum())
    if not kept:
        return -math.inf
    return 10 * math.log10(kept / lost) if lost else math.inf


def mel_distance(source: Audio, decoded: Audio) -> float | None:
    """Distance of mel spectrograms as in the training of DAC (Kumar and others 2023), smaller is better, 0 at best.

    The sum over seven windows (32, 64, ... 2048 samples, with 5, 10, ... 320 bands) of the mean absolute difference of
    log10 max(m, 1e-5), m being the magnitudes of a short-time Fourier transform (periodic Hann window, a quarter of
    it from frame to frame, frames centred, ends reflected) times triangular filters from 0 to half the rate (Slaney's
    mel scale, each triangle of area 1, as in librosa). The mean is over bands, frames and channels. At the sounds' own
    rate, so values compare at one rate alone. Level counts: a quieter copy is far away.
    """
    return sum(_log_mel_difference(source, decoded, window, bands) for window, bands in _MEL_SCALES)


def visqol_speech(source: Audio, decoded: Audio) -> float | None:
    """ViSQOL v3 for speech (Chinen and others 2020), at 16 kHz; 1 to 5, larger is better.

    With the polynomial from similarity to opinion, which runs everywhere: Google's tool has a lattice network by
    default and gives lower values. None for less than about a second.
    """
    return _mean_over_parts(source, decoded, 16000, lambda a, b: _visqol(a, b, 16000, "speech"))


def visqol_audio(source: Audio, decoded: Audio) -> float | None:
    """ViSQOL v3 for all sounds (Chinen and others 2020), at 48 kHz; 1 to 4.73, larger is better.

    None for less than about a second.
    """
    return _mean_over_parts(source, decoded, 48000, lambda a, b: _visqol(a, b, 48000, "audio"))


SOUND_METRICS = {
    "pesq_wb": SoundMetric("PESQ WB", pesq_wb, "pesq"),
    "pesq_nb": SoundMetric("PESQ NB", pesq_nb, "pesq"),
    "stoi": SoundMetric("STOI", stoi, "pystoi"),
    "estoi": SoundMetric("ESTOI", estoi, "pystoi"),
    "si_sdr": SoundMetric("SI-SDR dB", si_sdr),
    "mel": SoundMetric("mel", mel_distance, scale=operator.neg),
    "visqol_speech": SoundMetric("ViSQOL speech", visqol_speech, "visqol"),
    "visqol_audio": SoundMetric("ViSQOL audio", visqol_audio, "visqol"),
}


def _mean_over_parts(source: Audio, decoded: Audio, rate: int,
                     measure: Callable[[np.ndarray, np.ndarray], float | None]) -> float | None:
    """The mean over parts of the sounds of a measure of float64 signals at `rate`; parts without it do not count."""
    a, b = (sound.mono().resampled(rate).samples[0].astype(np.float64) for sound in (source, decoded))
    parts = -(-len(a) // (_PART * rate))
    values = [measure(x, y) for x, y in zip(np.array_split(a, parts), np.array_split(b, parts), strict=True) if x.any()]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(finite) if finite else None


def _pesq(source: np.ndarray, decoded: np.ndarray, rate: int, mode: str) -> float | None:
    import pesq

    try:
        return float(pesq.pesq(rate, source, decoded, mode))
    except (pesq.BufferTooShortError, pesq.NoUtterancesError, ValueError):  # the last: what was decoded is silent
        return None


def _stoi(source: np.ndarray, decoded: np.ndarray, extended: bool) -> float | None:
    import warnings

    import pystoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(source, decoded, 16000, extended))
        except (RuntimeWarning, ValueError):  # too little that is not silent
            return None


def _visqol(source: np.ndarray, decoded: np.ndarray, rate: int, mode: str) -> float | None:
    try:
        return float(_visqol_judge(mode).measure_from_arrays(source, decoded, rate).moslqo)
    except (IndexError, ValueError):  # too short
        return None


@cache
def _visqol_judge(mode: str) -> Any:
    """`visqol.VisqolApi`, ready."""
    import visqol

    logging.getLogger("visqol").setLevel(logging.ERROR)  # it tells of every part that is too short
    judge = visqol.VisqolApi()
    judge.create(mode, use_lattice_model=False)
    return judge


def _log_mel_difference(source: Audio, decoded: Audio, window: int, bands: int) -> float:
    """The mean absolute difference of log10 mel spectrograms with one window."""
    filters = _mel_filters(source.rate, window, bands)
    total, count = 0.0, 0
    for a, b in zip(source.samples, decoded.samples, strict=True):
        for x, y in zip(_log_mels(a, window, filters), _log_mels(b, window, filters), strict=True):
            total += float(np.abs(x - y).sum(dtype=np.float64))
            count += x.size
    return total / count


def _log_mels(channel: np.ndarray, window: int, filters: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks (frames, bands) of the log10 mel spectrogram of a channel (N,)."""
    from scipy.fft import rfft  # slow to import

    hann = np.hanning(window + 1)[:-1].astype(np.float32)
    padded = np.pad(channel, window // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 4]
    step = _MEL_BLOCK // window
    for start in range(0, len(frames), step):
        magnitudes = np.abs(rfft(frames[start : start + step] * hann))
        yield np.log10(np.maximum(magnitudes @ filters, _MEL_FLOOR))


def _mel_filters(rate: int, window: int, bands: int) -> np.ndarray:
    """(window / 2 + 1, bands) float32: triangles of area 1 over frequency in Hz, evenly apart on Slaney's mel scale.

    Slaney's scale is linear up to 1 kHz, with 15 mel there, and 27 mel from one frequency to its 6.4-fold above.
    """
    top = rate / 2 * 3 / 200 if rate <= 2000 else 15 + 27 * math.log(rate / 2000) / math.log(6.4)
    mels = np.linspace(0, top, bands + 2)
    corners = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    frequencies = np.fft.rfftfreq(window, 1 / rate)
    triangles = [np.interp(frequencies, corners[band : band + 3], [0, 2 / (corners[band + 2] - corners[band]), 0])
                 for band in range(bands)]
    return np.stack(triangles, axis=1).astype(np.float32)
