"""Levels: operating points that a model is trained for, and quality in between.

A network sees the level as interpolation weights between the two nearest ones. They are multiples of 1/64, so that
integer networks see the same ones.
"""

import torch
from torch import Tensor

from fewbits.codecs.quantisation import FixedPoint

LEVEL_FRACTION = 6  # level weights are multiples of 1/64


def level_weights(quality: Tensor, levels: int) -> Tensor:
    """Linear interpolation between trained levels, in multiples of 1/64.

    Args:
        quality: (N,) in [0, 100].

    Returns:
        (N, levels) float32; each row has at most two entries that are not 0, and sums to 1.
    """
    position = torch.round(quality.float() / 100 * (levels - 1) * 2**LEVEL_FRACTION) / 2**LEVEL_FRACTION
    return (1 - (position[:, None] - torch.arange(levels, device=quality.device)).abs()).clamp(min=0)


def level_integers(position: int, levels: int) -> Tensor:
    """Interpolation weights between levels as integers that sum to 64.

    Args:
        position: 64 times the (fractional) level.

    Returns:
        (1, levels) float32 integers.
    """
    distance = (position - 2**LEVEL_FRACTION * torch.arange(levels)).abs()
    return (2**LEVEL_FRACTION - distance).clamp(min=0).float()[None]


def level_format(levels: int) -> FixedPoint:
    """Format of the level weights as inputs of integer networks."""
    return FixedPoint.uniform(levels, LEVEL_FRACTION, 0, 2**LEVEL_FRACTION)
