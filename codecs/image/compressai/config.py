"""What a model of CompressAI is made of: its architecture and its channels."""

from dataclasses import dataclass
from typing import ClassVar

FACTORIZED, SCALE_HYPERPRIOR, MEAN_SCALE_HYPERPRIOR = range(3)
NAMES = ("bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean")  # as CompressAI calls them


@dataclass(frozen=True)
class CompressaiConfig:
    """Architecture and sizes of one model. Travels with its weights.

    Attributes:
        architecture: index into `NAMES`.
        channels: of hidden layers and of hyper-latents, N in the papers.
        latents: channels of the latents, M in the papers.

    Raises:
        ValueError: if there is no such architecture.
    """

    architecture: int
    channels: int
    latents: int

    BLOCK: ClassVar[int] = 16  # pixels of a latent on a side
    HYPER_STRIDE: ClassVar[int] = 4  # latents of a hyper-latent on a side

    def __post_init__(self) -> None:
        if self.architecture not in range(len(NAMES)) or min(self.channels, self.latents) < 1:
            raise ValueError(f"there is no architecture {self.architecture} with {self.channels} and {self.latents} "
                             "channels")

    @property
    def architecture_name(self) -> str:
        return NAMES[self.architecture]

    @property
    def has_hyperprior(self) -> bool:
        return self.architecture != FACTORIZED

    @property
    def has_means(self) -> bool:
        """Whether the hyper-decoder gives means beside scales."""
        return self.architecture == MEAN_SCALE_HYPERPRIOR
