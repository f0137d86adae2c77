"""How far a decoded picture is from its source.

A new metric is one function and one line in `METRICS`; evaluation, curves and reports find it there.
"""

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from fewbits.errors import InputError

MS_SSIM_MIN_SIDE = 161
"""Shorter side, in pixels, from which the five scales of MS-SSIM with its window of 11 fit into a picture."""

PIQ_MIN_SIDE = 41
"""Shorter side, in pixels, from which the four scales of VIF fit into a picture. The other metrics by `piq`, made for
pictures of some hundred pixels, are asked for no less."""

FEATURES_MIN_SIDE = 32
"""Shorter side, in pixels, from which the coarsest features have two places in each direction."""


@dataclass(frozen=True)
class Metric:
    """One metric of pictures.

    Attributes:
        label: name for people, with the unit of `scale`.
        compute: (source, decoded), both (H, W, 3) uint8, to the value; None where the metric cannot be had for such
            a picture, infinity where the pictures are equal and the metric has no upper end.
        scale: value to the axis on which curves are drawn and compared, where more is better.
        package: module that it needs of the extra `metrics`, if any.
    """

    label: str
    compute: Callable[[np.ndarray, np.ndarray], float | None]
    scale: Callable[[float], float] = float
    package: str | None = None

    @property
    def installed(self) -> bool:
        return is_installed(self.package)


def is_installed(package: str | None) -> bool:
    """Whether a module of the extra `metrics` is there; True for None."""
    return package is None or find_spec(package) is not None


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


def gmsd(source: np.ndarray, decoded: np.ndarray) -> float | None:
    """Gradient magnitude similarity deviation of luma (Xue and others 2014); smaller is better, 0 at best.

    As of all metrics by `piq`: pictures are (H, W, 3) uint8, None stands for one with a side below `PIQ_MIN_SIDE`.
    """
    return _by_piq("gmsd", source, decoded)


def fsim(source: np.ndarray, decoded: np.ndarray) -> float | None:
    """Feature similarity (Zhang and others 2011), FSIMc, which sees chroma too; at most 1, larger is better."""
    return _by_piq("fsim", source, decoded)


def vif(source: np.ndarray, decoded: np.ndarray) -> float | None:
    """Visual information fidelity of luma (Sheikh and Bovik 2006), its authors' version in the domain of pixels.

    1 for equal pictures, above it where contrast was raised; larger is better.
    """
    return _by_piq("vif_p", source, decoded)


def haarpsi(source: np.ndarray, decoded: np.ndarray) -> float | None:
    """Haar wavelet-based perceptual similarity (Reisenhofer and others 2018); at most 1, larger is better."""
    return _by_piq("haarpsi", source, decoded)


def mdsi(source: np.ndarray, decoded: np.ndarray) -> float | None:
    """Mean deviation similarity index (Nafchi and others 2016) of gradients and chroma; smaller is better, 0 best."""
    return _by_piq("mdsi", source, decoded)


def features(source: np.ndarray, decoded: np.ndarray) -> float | None:
    """How far apart the features of the classifier that ships with fewbits are, see `classifier.feature_distances`.

    Args:
        source, decoded: (H, W, 3) uint8.

    Returns:
        0 for equal pictures, 2 at most; None for pictures with a side below `FEATURES_MIN_SIDE`.

    Raises:
        WeightsError: if the classifier is not installed.
    """
    if min(source.shape[:2]) < FEATURES_MIN_SIDE:
        return None
    import torch  # as above

    from fewbits.eval.classifier import as_tensor, feature_distances, shipped

    with torch.inference_mode():
        return float(feature_distances(shipped(), *(as_tensor(pixels) / 255 for pixels in (source, decoded))))


def _by_piq(name: str, source: np.ndarray, decoded: np.ndarray) -> float | None:
    """A metric of the library `piq`, by the name that it has there."""
    if min(source.shape[:2]) < PIQ_MIN_SIDE:
        return None
    import piq  # brings torchvision: only when needed
    import torch

    # what was decoded comes first: VIF and MDSI are not symmetric
    pair = [torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] for pixels in (decoded, source)]
    with torch.inference_mode():
        return float(getattr(piq, name)(*pair, data_range=255))


METRICS = {
    "psnr": Metric("PSNR (dB)", psnr),
    "ms_ssim": Metric("MS-SSIM (dB)", ms_ssim, _ms_ssim_decibel),
    "gmsd": Metric("GMSD", gmsd, operator.neg, "piq"),
    "fsim": Metric("FSIM", fsim, package="piq"),
    "vif": Metric("VIF", vif, package="piq"),
    "haarpsi": Metric("HaarPSI", haarpsi, package="piq"),
    "mdsi": Metric("MDSI", mdsi, operator.neg, "piq"),
    "features": Metric("Feature distance", features, operator.neg),
}
USUAL_METRICS = ("psnr", "ms_ssim")
"""Those that are measured where nothing else is asked for: the others take time and the extra `metrics`."""


def metric(name: str) -> Metric:
    """The metric of this name; raises `InputError` where there is none."""
    if name not in METRICS:
        raise InputError(f"There is no metric {name!r}; there are: {', '.join(METRICS)}.")
    return METRICS[name]
