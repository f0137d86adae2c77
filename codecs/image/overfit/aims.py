"""From what a user asks for to the trade between bits and error, and back while a fit goes on."""

import math
from dataclasses import dataclass

import numpy as np

from fewbits.codecs.codec import Target
from fewbits.codecs.image.overfit.objective import Cost

DEFAULT_QUALITY = 50.0
SMALLEST_TRADE, LARGEST_TRADE = 1e-5, 0.2
_TRADE_AT_10, _TRADE_AT_90 = 0.016, 0.0002

BITS_SLOPE = 0.6  # how much the logarithm of the bits falls where that of the trade rises by 1, for most photos
DECIBELS_SLOPE = 3.3  # and the PSNR


def trade_of_quality(quality: float) -> float:
    """Lambda for a quality of 0 to 100."""
    return _TRADE_AT_10 * (_TRADE_AT_90 / _TRADE_AT_10) ** ((quality - 10) / 80)


@dataclass
class Aim:
    """What a fit is steered to: bits of all sections, or a PSNR, or a trade that stays.

    Attributes:
        first_trade: where to begin.
    """

    first_trade: float
    bits: float | None = None
    psnr: float | None = None

    def wants_look(self, step: int, steps: int) -> bool:
        """Whether the trade is to be looked at after a step: now and then, and not at the very end."""
        if self.bits is None and self.psnr is None:
            return False
        return step % max(steps // 20, 1) == 0 and 0.1 * steps <= step <= 0.9 * steps

    def steered(self, trade: float, cost: Cost, pixels: int) -> float:
        """The trade that should bring the cost of rounded latents to the aim."""
        if self.bits is not None:
            step = math.log(max(cost.bits, 1.0) / self.bits) / BITS_SLOPE
        elif self.psnr is not None:
            psnr = -10 * np.log10(max(cost.squared_error / (3 * pixels), 1e-10))
            step = (psnr - self.psnr) / DECIBELS_SLOPE
        else:
            return trade
        return min(max(trade * math.exp(min(max(step, -1.5), 1.5)), SMALLEST_TRADE), LARGEST_TRADE)


def aim_of(target: Target, pixels: int) -> Aim:
    """The aim for a target; the first trade is a guess from what photos usually need."""
    if target.size is not None:
        bits = 8.0 * target.size
        return Aim(min(max(1.1e-3 * (bits / pixels / 0.65) ** -1.7, SMALLEST_TRADE), LARGEST_TRADE), bits=bits)
    if target.psnr is not None:
        guess = 1e-3 * math.exp((32.5 - target.psnr) / DECIBELS_SLOPE)
        return Aim(min(max(guess, SMALLEST_TRADE), LARGEST_TRADE), psnr=target.psnr)
    return Aim(trade_of_quality(DEFAULT_QUALITY if target.quality is None else target.quality))
