"""What the network of a group of frames is made of. A few numbers in the header of a file say all of it."""

from dataclasses import dataclass
from typing import Literal

COLOURS = 3


@dataclass(frozen=True)
class Design:
    """A way to build decoders, of any width.

    Attributes:
        name: of the codec.
        factors: by which the stages enlarge, from coarse to fine.
        head_factor: by which pixel shuffling enlarges at the end.
        shares: features of each stage, as shares of those of the last.
        embedding_channels: numbers of a frame at each place of the coarsest resolution.
        frames_a_step: frames between the embedding's steps in time; between them it is interpolated.
        grid_channels: of the grids that stay where they are, for each stage.
        upsampling: "interpolate": a 1x1 convolution, then interpolation; "shuffle": a larger one, then pixel shuffling.
        block: what follows the upsampling of a stage.
        rated: whether training knows what numbers cost; else they are rounded to 8 bits afterwards.
    """

    name: str
    factors: tuple[int, ...]
    head_factor: int
    shares: tuple[float, ...]
    embedding_channels: int
    frames_a_step: int
    grid_channels: tuple[int, ...]
    upsampling: Literal["interpolate", "shuffle"]
    block: Literal["convnext", "gelu"]
    rated: bool

    @property
    def stride(self) -> int:
        """Pixels between the places of the embedding."""
        stride = self.head_factor
        for factor in self.factors:
            stride *= factor
        return stride


# H. Kwan et al., "HiNeRV", NeurIPS 2023, made small
NERV = Design(
    name="nerv", factors=(1, 2, 2, 2, 2), head_factor=2, shares=(6, 6, 4, 2, 1), embedding_channels=8, frames_a_step=2,
    grid_channels=(8, 8, 4, 2, 1), upsampling="interpolate", block="convnext", rated=True)

# H. Chen et al., "HNeRV: A Hybrid Neural Representation for Videos", CVPR 2023
HNERV = Design(
    name="hnerv", factors=(5, 4, 2, 2), head_factor=1, shares=(1.73, 1.44, 1.2, 1), embedding_channels=16,
    frames_a_step=1, grid_channels=(0, 0, 0, 0), upsampling="shuffle", block="gelu", rated=False)

MAX_WIDTH = 31
MAX_FEATURES = 1 << 27  # numbers of a stage, for a frame: half a gigabyte
MAX_NUMBERS = 1 << 25  # of a network


@dataclass(frozen=True)
class NervConfig:
    """The decoder of one group of frames.

    Attributes:
        design: how it is built.
        width: features of its last stage, in steps of 4, less one; 0 to `MAX_WIDTH`.
        frames: of the group.
        height, frame_width: of a frame, in pixels.
    """

    design: Design
    width: int
    frames: int
    height: int
    frame_width: int

    @property
    def channels(self) -> tuple[int, ...]:
        """Features of each stage, from coarse to fine: fewer where there are more places."""
        finest = 4 * (self.width + 1)
        return tuple(4 * max(round(finest * share / 4), 1) for share in self.design.shares)

    @property
    def largest(self) -> int:
        """Numbers of the largest stage, for a frame."""
        places, largest = self.coarsest[0] * self.coarsest[1], 0
        for factor, features in zip(self.design.factors, self.channels, strict=True):
            places *= factor**2
            largest = max(largest, places * features)
        return largest

    @property
    def pixels(self) -> int:
        """Of all frames."""
        return self.frames * self.height * self.frame_width

    @property
    def coarsest(self) -> tuple[int, int]:
        """Rows and columns of the embedding."""
        return -(-self.height // self.design.stride), -(-self.frame_width // self.design.stride)

    @property
    def embedding_steps(self) -> int:
        """Steps in time of the embedding."""
        return -(-(self.frames - 1) // self.design.frames_a_step) + 1
