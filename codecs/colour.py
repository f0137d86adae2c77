"""Colour of films: luma and chroma to RGB and back, in integers, the same on every machine.

The matrices are those of ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance), in 13 bits after the point. RGB is
what FFmpeg makes of planes in its usual, quick way on x86: each product is rounded down, so that RGB lies a level or
two below what the matrix says. The films in use for comparisons were made so. The way back allows for it: planes that
become RGB and planes again keep their levels.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

MATRICES = ("bt601", "bt709", "bt2020")
"""In the order of the numbers that files name them by."""

# the shares of red and blue in luma
_SHARES = {"bt601": (Fraction(299, 1000), Fraction(114, 1000)), "bt709": (Fraction(2126, 10000), Fraction(722, 10000)),
           "bt2020": (Fraction(2627, 10000), Fraction(593, 10000))}
_POINT = 13  # bits after the point
_STEPS = (1, 2, 4)  # luma samples for each of chroma, in one direction

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Colour:
    """How the samples of a film are meant.

    Attributes:
        matrix: one of `MATRICES`.
        full_range: luma and chroma take all of 0 to 255; else luma takes 16 to 235, chroma 16 to 240.
    """

    matrix: str = "bt601"
    full_range: bool = False

    def __post_init__(self) -> None:
        if self.matrix not in MATRICES:
            raise ValueError(f"there is no matrix {self.matrix!r}")

    def __str__(self) -> str:
        return f"{self.matrix}, {'full' if self.full_range else 'limited'} range"


def to_rgb(planes: Planes, colour: Colour) -> np.ndarray:
    """Planes Y, Cb, Cr as RGB; a sample of chroma holds for all pixels that it lies in.

    Args:
        planes: uint8, (H, W) and twice (ceil(H / v), ceil(W / h)) with v and h among 1, 2 and 4: 4:4:4, 4:2:2, 4:2:0
            and all others that are in use.

    Returns:
        (H, W, 3) uint8.
    """
    luma, cb, cr = planes
    down, across = (_step(luma.shape[axis], cb.shape[axis]) for axis in (0, 1))
    tints = _tints(cb, cr, colour)
    grey = _grey(luma, colour)
    out = np.empty((*luma.shape, 3), np.uint8)
    for row in range(down):
        for column in range(across):
            part = grey[row::down, column::across]
            for channel, tint in enumerate(tints):
                level = part + tint[: part.shape[0], : part.shape[1]]
                np.clip(level, 0, 255, out=out[row::down, column::across, channel], casting="unsafe")
    return out


def to_planes(rgb: np.ndarray, colour: Colour) -> Planes:
    """RGB as planes of 4:2:0: chroma is that of the mean of 2 x 2 pixels, the last row and column counting twice where
    their number is odd; luma is what comes nearest to the pixels with this chroma.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        uint8: (H, W) and twice (ceil(H / 2), ceil(W / 2)).
    """
    height, width = rgb.shape[:2]
    rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge") if height % 2 or width % 2 else rgb
    corners = [rgb[row::2, column::2] for row in (0, 1) for column in (0, 1)]
    sums = [np.sum([corner[..., channel] for corner in corners], axis=0, dtype=np.int32) for channel in range(3)]
    sums[1] += 2  # to green three products add up, to the others two: it lost half a level more, four times here
    cb, cr = (_weighted(sums, weights) for weights in _chroma_weights(colour))
    tints = _tints(cb, cr, colour)
    luma = np.empty(rgb.shape[:2], np.uint8)
    for number, corner in enumerate(corners):
        luma[number // 2 :: 2, number % 2 :: 2] = _luma_of(corner, tints, colour)
    return luma[:height, :width], cb, cr


def _grey(luma: np.ndarray, colour: Colour) -> np.ndarray:
    """What luma is in each channel, int16."""
    black = 0 if colour.full_range else 16
    return ((luma.astype(np.int32) - black) * _factors(colour)[0] >> _POINT).astype(np.int16)


def _tints(cb: np.ndarray, cr: np.ndarray, colour: Colour) -> Planes:
    """What chroma adds to red, green and blue, int16."""
    _, red, green_cb, green_cr, blue = _factors(colour)
    cb, cr = cb.astype(np.int32) - 128, cr.astype(np.int32) - 128
    green = (green_cb * cb >> _POINT) + (green_cr * cr >> _POINT)
    return (red * cr >> _POINT).astype(np.int16), green.astype(np.int16), (blue * cb >> _POINT).astype(np.int16)


def _luma_of(rgb: np.ndarray, tints: Planes, colour: Colour) -> np.ndarray:
    """The luma with which pixels of chroma that adds `tints` come nearest to `rgb`: (H, W) uint8."""
    weights = _luma_weights(colour)
    red, green, blue = ((rgb[..., channel] - tint).astype(np.int32) for channel, tint in enumerate(tints))
    level = red * weights[0] + green * weights[1] + blue * weights[2]
    if not colour.full_range:  # grey was rounded down: by half a level in the mean
        level += (sum(weights) >> 1) + (16 << _POINT)
    level += 1 << _POINT - 1
    level >>= _POINT
    return np.clip(level, 0, 255, out=level).astype(np.uint8)


def _weighted(sums: list[np.ndarray], weights: tuple[int, int, int]) -> np.ndarray:
    """Chroma of sums over four pixels: the weighted sum of channels, rounded, uint8."""
    level = sums[0] * weights[0] + sums[1] * weights[1] + sums[2] * weights[2]
    level += (128 << _POINT + 2) + (1 << _POINT + 1)
    level >>= _POINT + 2
    return np.clip(level, 0, 255, out=level).astype(np.uint8)


def _step(luma: int, chroma: int) -> int:
    """How many samples of luma one of chroma stands for, along one side."""
    return next(step for step in _STEPS if -(-luma // step) == chroma)


def _spans(colour: Colour) -> tuple[Fraction, Fraction]:
    """What white is above black in luma, and what the ends of chroma are apart, over 255."""
    return (Fraction(1), Fraction(1)) if colour.full_range else (Fraction(219, 255), Fraction(224, 255))


def _fixed(value: Fraction) -> int:
    return round(value * (1 << _POINT))


@cache
def _factors(colour: Colour) -> tuple[int, int, int, int, int]:
    """Of luma; of Cr in red; of Cb and of Cr in green; of Cb in blue."""
    red, blue = _SHARES[colour.matrix]
    green = 1 - red - blue
    luma, chroma = _spans(colour)
    of_red, of_blue = 2 * (1 - red) / chroma, 2 * (1 - blue) / chroma
    return (_fixed(1 / luma), _fixed(of_red), _fixed(-of_blue * blue / green), _fixed(-of_red * red / green),
            _fixed(of_blue))


@cache
def _luma_weights(colour: Colour) -> tuple[int, int, int]:
    """Of red, green and blue; their sum is the span of luma."""
    span, _ = _spans(colour)
    red, blue = (_fixed(span * share) for share in _SHARES[colour.matrix])
    return red, _fixed(span) - red - blue, blue


@cache
def _chroma_weights(colour: Colour) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Of red, green and blue in Cb and in Cr; those of green are what is left, so that grey has no colour."""
    red, blue = _SHARES[colour.matrix]
    half = _spans(colour)[1] / 2
    most, of_red, of_blue = _fixed(half), _fixed(-half * red / (1 - blue)), _fixed(-half * blue / (1 - red))
    return (of_red, -most - of_red, most), (most, -most - of_blue, of_blue)
