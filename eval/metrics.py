"""How far a decoded picture is from its source.

A new metric is one function and one line in `METRICS`; evaluation, curves and reports find it there.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from fewbits.errors import InputError

MS_SSIM_MIN_SIDE = 161
"""Shorter side, in pixels, from which the five scales of MS-SSIM with its window of 11 fit into a picture."""


@dataclass(frozen=True)
class Metric:
    """One metric of pictures; larger is better for all of them.

    Attributes:
        label: name for people, with the unit of `scale`.
        compute: (source, decoded), both (H, W, 3) uint8, to the value; None where the metric cannot be had for such
            a picture, infinity where the pictures are equal and the metric has no upper end.
        scale: value to the axis on which curves are drawn and compared.
    """

    label: str
    compute: Callable[[np.ndarray, np.ndarray], float | None]
    scale: Callable[[float], float]


def psnr(source: np.ndarray, decoded: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over RGB, 8 bits; the squared error is averaged over the whole picture first.

    Args:
        source, decoded: (H, W, 3) uint8.

    Returns:
        dB; infinity for equal pictures.
    """
    return _decibels(_squared_error(source, decoded), source.size)


def psnr_of_film(source: Iterable[np.ndarray], decoded: Iterable[np.ndarray]) -> float:
    """As `psnr`, for frames, whose squared error is averaged over the whole film first.

    Args:
        source, decoded: equally many frames, (H, W, 3) uint8.
    """
    error = size = 0
    for a, b in zip(source, decoded, strict=True):
        error += _squared_error(a, b)
        size += a.size
    return _decibels(error, size)


def _squared_error(source: np.ndarray, decoded: np.ndarray) -> int:
    """Over all samples of two pictures."""
    total = 0
    # by rows: the differences of a large picture would not fit beside it
    for a, b in zip(source, decoded, strict=True):
        difference = a.astype(np.int64) - b
        total += int((difference * difference).sum())
    return total


def _decibels(squared_error: int, size: int) -> float:
    return 10 * math.log10(255**2 * size / squared_error) if squared_error else math.inf


def ms_ssim(source: np.ndarray, decoded: np.ndarray) -> float | None:
    """Multi-scale structural similarity over RGB (Wang, Simoncelli and Bovik 2003), five scales, by `pytorch-msssim`.

    Args:
        source, decoded: (H, W, 3) uint8.

    Returns:
        0 to 1, or None for pictures too small for five scales.
    """
    if min(source.shape[:2]) < MS_SSIM_MIN_SIDE:
        return None
    import pytorch_msssim  # brings torch: only when needed
    import torch

    def plane(pixels: np.ndarray, channel: int) -> torch.Tensor:
        return torch.from_numpy(pixels[None, None, ..., channel].astype(np.float32))

    with torch.inference_mode():
        # the mean over channels is what the library returns for all three at once, at three times the memory
        values = [pytorch_msssim.ms_ssim(plane(source, c), plane(decoded, c), data_range=255) for c in range(3)]
    return float(sum(values)) / 3


def _ms_ssim_decibel(value: float) -> float:
    """The usual -10 log10(1 - MS-SSIM), held finite for equal pictures."""
    return -10 * math.log10(max(1 - value, 1e-7))


METRICS = {
    "psnr": Metric("PSNR (dB)", psnr, float),
    "ms_ssim": Metric("MS-SSIM (dB)", ms_ssim, _ms_ssim_decibel),
}


def metric(name: str) -> Metric:
    """The metric of this name; raises `InputError` where there is none."""
    if name not in METRICS:
        raise InputError(f"There is no metric {name!r}; there are: {', '.join(METRICS)}.")
    return METRICS[name]
