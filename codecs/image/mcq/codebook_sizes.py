"""How large the codebook of each predicted scale is; what weights and the recipe must agree on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CodebookSize:
    """Dimension of its vectors, and how many of them there are."""

    dimension: int
    entries: int


CODEBOOK_SIZES = (
    (CodebookSize(16, 64),) * 5  # scales below 0.07 step, where hardly anything but 0 occurs
    + (CodebookSize(8, 256),) * 5  # to 0.13
    + (CodebookSize(4, 256),) * 7  # to 0.32
    + (CodebookSize(2, 256),) * 6  # to 0.7
    + (CodebookSize(2, 512),) * 4  # to 1.2
)
"""By index of the scale; residuals of larger scales are spelled out, since no codebook of a few hundred entries covers
them."""
