"""What a `vqextreme` model is made of: every number that encoder and decoder must agree on."""

from dataclasses import dataclass
from typing import NamedTuple

from fewbits.codecs.stored_config import StoredConfig

BLOCK = 8  # pixels between neighbouring coefficients of the lapped transform
COEFFICIENTS = 192  # 3 colour components x 8 x 8 frequencies
CELL = 32  # pixels on a side of what one index of the coarse stage stands for
FINE = 2  # cells of the fine stages along a side of that: they stand for 16 x 16 pixels


STAGES = ("coarse", "fine", "detail")


class Rate(NamedTuple):
    """One of the rates.

    Attributes:
        coarse, fine, detail: how many entries the codebook of each stage has; 1 where a stage is left out.
        bits_per_pixel: that training aims at, on its own photos.
    """

    coarse: int
    fine: int
    detail: int
    bits_per_pixel: float

    def size(self, stage: str) -> int:
        """Entries of one of the `STAGES`."""
        return int(getattr(self, stage))


RATES = (Rate(512, 256, 1, 0.021), Rate(1024, 1024, 1, 0.030), Rate(1024, 1024, 32, 0.041),
         Rate(1024, 1024, 256, 0.054), Rate(1024, 1024, 256, 0.067))
"""From the smallest file to the largest."""


@dataclass(frozen=True)
class VqExtremeConfig(StoredConfig):
    """Sizes of one `vqextreme` model. Travels with its weights."""

    channels: int = 256  # of features at 1/16 and 1/32 of the picture's resolution
    hidden: int = 512  # width inside their residual blocks
    outer_hidden: int = 256  # ... and of those at 1/8
    outer_blocks: int = 3
    fine_blocks: int = 4
    coarse_blocks: int = 2
    dimensions: int = 64  # of a codebook's entries
    finite_scalar: bool = False  # whether levels of single numbers stand in the place of codebooks
