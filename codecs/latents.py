"""What codecs with scalar quantisation and integer entropy models have in common: how latents are counted.

A latent is coded as the nearest whole step from its mean, with a table of the scale that the networks have chosen.
Decoded latents are integers in 1/16 step; the networks see known ones in 1/8 step.
"""

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.quantisation import FixedPoint

SCALES = 64  # size of the table of scales
SCALE_LOW, SCALE_RATIO = 0.04, 2.0**0.1875  # scale of table k: SCALE_LOW * SCALE_RATIO**k, 0.04 .. 143 steps
MEAN_FRACTION = 4  # means are multiples of 1/16 step
UNIT = 2**MEAN_FRACTION  # decoded latents are integers in 1/16 step
LATENT_LIMIT = 2**15 - 1  # of a decoded latent
SYMBOL_LIMIT = LATENT_LIMIT // UNIT - 1
CONTEXT_FRACTION = 3  # decoded latents as the networks see them are multiples of 1/8 step


def table_scales() -> np.ndarray:
    """The scale of each table, in steps: (SCALES,) float64."""
    return SCALE_LOW * SCALE_RATIO ** np.arange(SCALES)


def scale_of(index: Tensor) -> Tensor:
    """Scales, in steps, of indices that need not be whole numbers."""
    return SCALE_LOW * SCALE_RATIO ** index.float().clamp(0, SCALES - 1)


def round_through(x: Tensor) -> Tensor:
    """Rounded, with the gradient of the identity."""
    return x + (torch.round(x) - x).detach()


def context_format(channels: int, limit: int) -> FixedPoint:
    """Format of decoded latents as networks see them, clamped to `-limit..limit` in 1/8 step."""
    return FixedPoint.uniform(channels, CONTEXT_FRACTION, -limit, limit)


def as_context(latents: Tensor, limit: int) -> Tensor:
    """Decoded latents in 1/16 step to what the networks see (1/8 step, rounded half up, clamped)."""
    halved = torch.floor(latents * 2.0 ** (CONTEXT_FRACTION - MEAN_FRACTION) + 0.5)
    return halved.clamp(-limit, limit)
