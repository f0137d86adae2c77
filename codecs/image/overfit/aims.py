"""From what a user asks for to the trade between bits and error."""

import math

from fewbits.codecs.codec import Target

DEFAULT_QUALITY = 50.0
SMALLEST_TRADE, LARGEST_TRADE = 1e-5, 0.2
_TRADE_AT_0, _TRADE_AT_100 = 0.045, 0.0001

COUNTED_BITS = 256.0  # what sections take beyond their estimate, and room for rounding
BITS_SLOPE = -0.6  # of the logarithm of the bits by that of the trade, for most photos
DECIBELS_SLOPE = -3.3  # and of the PSNR
LONGEST_STEP = 1.0  # of the logarithm of the trade, at one look


def trade_of_quality(quality: float) -> float:
    """Lambda for a quality of 0 to 100."""
    return _TRADE_AT_0 * (_TRADE_AT_100 / _TRADE_AT_0) ** (quality / 100)


class Aim:
    """What a fit is to reach: a size of all sections, or a PSNR, or whatever a trade leads to.

    A fit is looked at while it goes on. What it will come to differs from what is seen then, by the bits of the
    networks for one thing; so after a whole fit that missed, what is steered to is moved by as much.

    Attributes:
        trade: the lambda to begin with.
        is_fixed: whether nothing else is asked for.
    """

    def __init__(self, target: Target, pixels: int) -> None:
        self._bits = None if target.size is None else max(8.0 * target.size - COUNTED_BITS, 1.0)
        self._psnr = target.psnr
        self.is_fixed = self._bits is None and self._psnr is None
        self.trade = trade_of_quality(DEFAULT_QUALITY if target.quality is None else target.quality)
        self._goal = 0.0  # logarithm of bits, or dB, that is steered to
        if self._bits is not None:  # guesses from what photos usually need
            self._goal = math.log(0.95 * self._bits)
            self.trade = _within_limits(1.1e-3 * (self._bits / pixels / 0.65) ** (1 / BITS_SLOPE))
        elif self._psnr is not None:
            self._goal = self._psnr + 0.05
            self.trade = _within_limits(1e-3 * math.exp((self._psnr - 32.5) / DECIBELS_SLOPE))

    def steered(self, trade: float, bits: float, psnr: float) -> float:
        """The trade that should bring a fit to the aim, from how it stands with rounded latents."""
        step = ((self._goal - math.log(max(bits, 1.0))) / BITS_SLOPE if self._bits is not None
                else (self._goal - psnr) / DECIBELS_SLOPE)
        return _within_limits(trade * math.exp(min(max(step, -LONGEST_STEP), LONGEST_STEP)))

    def is_met(self, bits: float, psnr: float) -> bool:
        """Whether a finished fit is what was asked for: no larger, no worse, and not much smaller or better."""
        if self._bits is not None:
            return 0.94 * self._bits <= bits <= self._bits
        return self._psnr is None or self._psnr <= psnr <= self._psnr + 0.15

    def miss(self, bits: float, psnr: float) -> tuple[bool, float]:
        """By how much a fit misses; the least is best, and one on the right side is better than any on the wrong."""
        if self._bits is not None:
            return bits > self._bits, abs(bits - self._bits)
        return psnr < (self._psnr or 0.0), abs(psnr - (self._psnr or 0.0))

    def learn(self, bits: float, psnr: float) -> None:
        """Moves what is steered to, after a whole fit that missed."""
        if self._bits is not None:
            self._goal += math.log(0.97 * self._bits / max(bits, 1.0))
        else:
            self._goal += (self._psnr or 0.0) + 0.06 - psnr

    @property
    def regret(self) -> str:
        """The sentence for the user where it could not be met."""
        return ("The size could not be met; this is the nearest that was found." if self._bits is not None
                else f"A PSNR of {self._psnr:g} dB could not be met; this is the nearest that was found.")


def _within_limits(trade: float) -> float:
    return min(max(trade, SMALLEST_TRADE), LARGEST_TRADE)
