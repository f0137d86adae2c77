"""Reversible colour transforms: samples as planes of integers that have less in common, and back."""

import numpy as np

from fewbits.errors import DamagedError

NONE, GREEN, YCOCG = range(3)
"""Planes as the samples are; green, then what red and blue differ from it; YCoCg-R (H. Malvar et al., 2008)."""


def to_planes(samples: np.ndarray, transform: int) -> np.ndarray:
    """Planes in the order in which they are coded.

    Args:
        samples: (H, W, C) integers from 0 to at most 65535. Transforms other than NONE are for C = 3 or 4; opacity
            stays as it is.

    Returns:
        (C, H, W) int32.
    """
    planes = np.moveaxis(samples, 2, 0).astype(np.int32)
    if transform == NONE:
        return planes
    red, green, blue = planes[:3]
    if transform == GREEN:
        first = [green, red - green, blue - green]
    else:
        orange = red - blue
        middle = blue + (orange >> 1)
        green_less = green - middle
        first = [middle + (green_less >> 1), green_less, orange]
    return np.stack([*first, *planes[3:]])


def from_planes(planes: np.ndarray, transform: int, high: int) -> np.ndarray:
    """Inverse of `to_planes`.

    Returns:
        (H, W, C) int32.

    Raises:
        DamagedError: if a sample is not within 0 to high.
    """
    rest = list(planes)
    if transform == GREEN:
        green, red, blue = planes[:3]
        rest[:3] = [red + green, green, blue + green]
    elif transform == YCOCG:
        luma, green_less, orange = planes[:3]
        middle = luma - (green_less >> 1)
        blue = middle - (orange >> 1)
        rest[:3] = [blue + orange, green_less + middle, blue]
    samples = np.stack(rest, -1)
    if samples.min() < 0 or samples.max() > high:
        raise DamagedError("The tile is damaged: it has samples beyond what its layout allows.")
    return samples


def cheapest(samples: np.ndarray) -> int:
    """The transform whose planes have the smallest differences between neighbours; arguments as in `to_planes`."""
    if samples.shape[2] < 3:
        return NONE
    return min((YCOCG, GREEN, NONE), key=lambda transform: _roughness(to_planes(samples[..., :3], transform)))


def _roughness(planes: np.ndarray) -> float:
    """About the bits of the planes: logarithms of the errors of the gradient predictor, left + up - left up."""
    errors = np.abs(np.diff(np.diff(planes, axis=1, prepend=0), axis=2, prepend=0))
    return float(np.log2(1.0 + errors).sum())
