"""What a fit aims at: a trade of bits for error, which is steered where a rate or an error is asked for."""

import math

from fewbits.codecs.codec import Target

DEFAULT_QUALITY = 40.0
USUAL_TRADE, USUAL_RATE = 0.04, 0.031  # at the default quality: bits per pixel of an animated film of 320x160
OCTAVES = 0.0533  # of the rate, in one of quality
TRADE_OCTAVES = 1.8  # of the trade, in one of the rate
STEER_FROM = 0.2  # share of a fit: before it, rate and error are not what they will be
STEERING = 30.0  # how far the trade goes in the course of a fit, in logarithms, where the rate is e times too high
MARGIN = 0.985  # of the bits asked for, which are aimed at
LIMITS = (1e-6, 10.0)


class Aim:
    """What the groups of a film aim at.

    Args:
        pixels: of all frames.

    Attributes:
        trade: what a bit for each pixel costs, as a mean square error of samples from 0 to 1; the next group begins
            with the one that the last has ended with.
        bits_per_pixel: that are expected, for the width of the networks; asked for, where a size is.
    """

    def __init__(self, target: Target, pixels: int) -> None:
        octaves = OCTAVES * ((DEFAULT_QUALITY if target.quality is None else target.quality) - DEFAULT_QUALITY)
        self.psnr, self.sized = target.psnr, target.size is not None
        if target.psnr is not None:
            # an octave of the rate is worth 2.4 dB, about, and 27 dB go with the usual rate
            octaves = (target.psnr - 27) / 2.4
        self.bits_per_pixel = USUAL_RATE * 2**octaves
        if target.size is not None:
            self.bits_per_pixel = 8 * target.size / pixels
            octaves = math.log2(self.bits_per_pixel / USUAL_RATE)
        self.trade = _within(USUAL_TRADE * 2 ** (-TRADE_OCTAVES * octaves))

    def steer(self, share: float, step: float, bits_per_pixel: float, psnr: float) -> None:
        """Learns from a step of a fit, of which `share` is done; the step was `step` of it."""
        miss = 0.0
        if self.sized:
            miss = math.log(bits_per_pixel / (MARGIN * self.bits_per_pixel))
        elif self.psnr is not None:
            miss = (psnr - self.psnr) / 3
        if share > STEER_FROM:
            self.trade = _within(self.trade * math.exp(STEERING * step * min(max(miss, -1), 1)))


def _within(trade: float) -> float:
    return min(max(trade, LIMITS[0]), LIMITS[1])
