"""How far a decoded film is from its source: means over frames, in one pass over both, a few frames in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from fewbits.codecs.colour import Colour, to_planes, to_rgb
from fewbits.codecs.video_source import VideoSource
from fewbits.errors import FewbitsError
from fewbits.eval import metrics

PERFECT = 100.0
"""PSNR in dB that counts for a frame, or a plane of one, that came back as it was, so that means are finite."""

_SAMPLED = 16  # frames of a film that slow metrics look at, at most


@dataclass(frozen=True)
class VideoMetric:
    """One metric of films, which is the mean of its values for frames; larger is better for all of them.

    Attributes:
        label: name for people, with the unit of `scale`.
        compute: (source, decoded, colour), frames (H, W, 3) uint8 and how luma and chroma of the source are meant, to
            the value; None where the metric cannot be had for frames of such a size.
        scale: value to the axis on which curves are drawn and compared.
        frames: at most so many are looked at, at even distances; None: all.
    """

    label: str
    compute: Callable[[np.ndarray, np.ndarray, Colour], float | None]
    scale: Callable[[float], float] = float
    frames: int | None = None

    def looks_at(self, number: int, count: int) -> bool:
        """Whether a frame, counted from 0, of a film of `count` is looked at.

        Distances are odd: encoders favour frames at powers of two.
        """
        step = 1 if self.frames is None else -(-count // self.frames) | 1
        return number % step == step // 2


def psnr(source: np.ndarray, decoded: np.ndarray, colour: Colour = Colour()) -> float:
    """Peak signal-to-noise ratio of a frame in dB over RGB, 8 bits; `PERFECT` at most. The colour does not matter."""
    return min(metrics.psnr(source, decoded), PERFECT)


def psnr_yuv(source: np.ndarray, decoded: np.ndarray, colour: Colour) -> float:
    """(6 Y + U + V) / 8 of the PSNR in dB of the planes in 4:2:0, each `PERFECT` at most.

    Both frames are converted with the colour of the source, which gives planes that were decoded back.
    """
    pairs = zip(to_planes(source, colour), to_planes(decoded, colour), strict=True)
    luma, cb, cr = (psnr(*pair) for pair in pairs)
    return (6 * luma + cb + cr) / 8


def ms_ssim(source: np.ndarray, decoded: np.ndarray, colour: Colour = Colour()) -> float | None:
    """Multi-scale structural similarity over RGB, see `metrics.ms_ssim`. The colour does not matter."""
    return metrics.ms_ssim(source, decoded)


VIDEO_METRICS = {
    "psnr": VideoMetric("PSNR (dB)", psnr),
    "psnr_yuv": VideoMetric("PSNR of YUV (dB)", psnr_yuv),
    "ms_ssim": VideoMetric("MS-SSIM (dB)", ms_ssim, metrics.METRICS["ms_ssim"].scale, _SAMPLED),
}


def compare(source: VideoSource, decoded: VideoSource, names: Sequence[str]) -> tuple[dict[str, float | None], bool]:
    """Metrics by name, and whether every sample of the source came back.

    Raises:
        FewbitsError: if the films differ in size or length, or one cannot be read.
    """
    shapes = [(film.count, film.width, film.height) for film in (source, decoded)]
    if shapes[0] != shapes[1]:
        raise FewbitsError("A film of {} frames of {} x {} pixels came back as {} of {} x {}.".format(
            *shapes[0], *shapes[1]))
    chosen = {name: VIDEO_METRICS[name] for name in names}
    found: dict[str, list[float | None]] = {name: [] for name in names}
    exact = True
    for number, (a, b) in enumerate(zip(source.frames(), decoded.frames(), strict=True)):
        exact = exact and np.array_equal(a, b)
        for name, metric in chosen.items():
            if metric.looks_at(number, source.count):
                found[name].append(metric.compute(a, b, source.colour))
    return {name: _mean(values) for name, values in found.items()}, exact


def ceiling(film: VideoSource) -> float:
    """PSNR in dB, as `psnr` of films, that is left when frames become planes of 4:2:0 and RGB again."""
    return fmean(psnr(frame, to_rgb(to_planes(frame, film.colour), film.colour)) for frame in film.frames())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None
