"""In which order latents are coded, and from what each pass over them predicts.

Hyper-latents come first, then latents from low to high frequencies. Both come in passes over the phases of 2 x 2
lattices; low frequencies, which cost most, over two of them, one within the other, and, where the model is made so,
band by band at each phase. So a pass codes thousands of numbers at once, and twenty, or ten, are enough for a picture
of any size. D. He et al., "Checkerboard
Context Model for Efficient Learned Image Compression" (CVPR 2021); D. He et al., "ELIC" (CVPR 2022) for groups of
channels.
"""

from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig

LOW = HyperpriorConfig.LOW_BANDS[-1][1]  # channels of low frequencies
CONTEXT_LIMIT = 2**12 - 1  # of decoded latents as the networks see them
HYPER_LIMIT = 2**10 - 1  # of decoded hyper-latents as the networks see them

Phases = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pass:
    """One step of decoding.

    Attributes:
        channels: which of the latents or hyper-latents are coded.
        known: how many channels, from the first on, its networks see; None: all hyper-latents, which it codes.
        phases: (row, column) of each phase of the lattice that is coded.
        spacing: of the lattice, in latents or hyper-latents.
    """

    channels: slice
    known: int | None
    phases: Phases
    spacing: int = 1

    @property
    def hyper(self) -> bool:
        """Whether it codes hyper-latents."""
        return self.known is None

    @property
    def low(self) -> bool:
        """Whether it codes low frequencies."""
        return self.known == LOW

    @property
    def known_limit(self) -> int:
        """Of what its networks see, in 1/8 step."""
        return HYPER_LIMIT if self.hyper else CONTEXT_LIMIT

    def places(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each phase."""
        s = self.spacing
        return [(slice(s * row, None, 2 * s), slice(s * column, None, 2 * s)) for row, column in self.phases]

    def extents(self, height: int, width: int) -> list[tuple[int, int]]:
        """Rows and columns of each phase in a tensor of this size."""
        s = self.spacing
        return [(-(-(height - s * i) // (2 * s)), -(-(width - s * j) // (2 * s))) for i, j in self.phases]

    def take(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N * phases, C, h, w), phase after phase."""
        parts = [x[..., rows, columns] for rows, columns in self.places()]
        return torch.cat(parts).contiguous(memory_format=torch.channels_last)

    def put(self, x: Tensor, values: Tensor) -> None:
        """Inverse of `take` of the pass's channels: writes (N * phases, c, h, w) into (N, C, H, W)."""
        for (rows, columns), phase in zip(self.places(), values.chunk(len(self.phases)), strict=True):
            x[:, self.channels, rows, columns] = phase

    def neighbourhoods(self, x: Tensor) -> Tensor:
        """As `take` with a margin: a 3x3 convolution of stride 2 over it is centred on the phase's samples, and reaches
        their neighbours in the lattice."""
        lattice = x[..., :: self.spacing, :: self.spacing]
        height, width = lattice.shape[-2:]
        padded = F.pad(lattice, (1, 1, 1, 1))
        windows = torch.cat([padded[..., i : i + height + 1, j : j + width + 1] for i, j in self.phases])
        return windows.contiguous(memory_format=torch.channels_last)


FIRST, DIAGONAL, OTHERS = ((0, 0),), ((1, 1),), ((0, 1), (1, 0))
HYPER_PASSES = tuple(Pass(slice(None), None, phases) for phases in (FIRST, DIAGONAL, OTHERS))
LEVELS = 5  # of progressive files


def levels_of_passes(config: HyperpriorConfig) -> tuple[tuple[Pass, ...], ...]:
    """All passes over latents, by the levels of progressive files."""
    bands = config.LOW_BANDS if config.low_by_bands else ((0, LOW),)

    def low(phases: Phases, spacing: int = 1) -> tuple[Pass, ...]:
        return tuple(Pass(slice(*band), LOW, phases, spacing) for band in bands)

    def high(phases: Phases) -> tuple[Pass, ...]:
        return (Pass(slice(LOW, config.LATENTS), config.LATENTS, phases),)

    coarse = low(FIRST, 2) + low(DIAGONAL, 2) + low(OTHERS, 2)  # the first phase of the lattice that follows
    return coarse, low(DIAGONAL), low(OTHERS), high(FIRST + DIAGONAL), high(OTHERS)


def passes_of(config: HyperpriorConfig) -> tuple[Pass, ...]:
    """All passes over latents, in their order."""
    return tuple(chain.from_iterable(levels_of_passes(config)))
