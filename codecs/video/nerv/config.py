"""What the network of a group of frames is made of. A few numbers in the header of a file say all of it."""

from dataclasses import dataclass, replace
from typing import Literal

COLOURS = 3


@dataclass(frozen=True)
class StageDesign:
    """A stage, which enlarges features and works on them.

    Attributes:
        factor: by which it enlarges.
        share: its features, as a share of those of the last stage.
        kernel: side of the convolution by which features enter.
        upsampling: "interpolate": a convolution, then interpolation; "shuffle": a larger one, then pixel shuffling.
        block: what follows. A "separable" one stands before the convolution as well, and past both goes a skip.
        grid_channels: of the grid of numbers that stay where they are in all frames.
    """

    factor: int
    share: float
    kernel: int
    upsampling: Literal["interpolate", "shuffle"]
    block: Literal["convnext", "gelu", "separable", "sine"]
    grid_channels: int = 0


@dataclass(frozen=True)
class Design:
    """A way to build decoders, of any width, and to send them.

    Attributes:
        name: of the codec.
        stages: from coarse to fine.
        head_factor: by which pixel shuffling enlarges at the end.
        embedding: what stages begin with: "learned" numbers of each frame at each place of the coarsest resolution, or
            the "coordinates" of time and place, of which nothing is sent.
        embedding_channels: of either; of coordinates a multiple of 6.
        frames_a_step: frames between the steps of a learned embedding in time; between them it is interpolated.
        rated: whether training knows what numbers cost; else they are rounded to 8 bits afterwards.
        bits_a_number: that a network of the right size comes to.
        group_frames: frames that share a network, about.
        chain: groups in a row of which all but the first are coded as differences to the one before.
    """

    name: str
    stages: tuple[StageDesign, ...]
    head_factor: int
    embedding: Literal["learned", "coordinates"] = "learned"
    embedding_channels: int = 16
    frames_a_step: int = 1
    rated: bool = True
    bits_a_number: float = 1.15
    group_frames: int = 144
    chain: int = 1

    @property
    def stride(self) -> int:
        """Pixels between the places of the coarsest resolution."""
        stride = self.head_factor
        for stage in self.stages:
            stride *= stage.factor
        return stride


# H. Kwan et al., "HiNeRV", NeurIPS 2023, made small
NERV = Design(
    name="nerv", head_factor=2, embedding_channels=8, frames_a_step=2,
    stages=(
        StageDesign(1, 6, 3, "interpolate", "convnext", 8),
        StageDesign(2, 6, 1, "interpolate", "convnext", 8),
        StageDesign(2, 4, 1, "interpolate", "convnext", 4),
        StageDesign(2, 2, 1, "interpolate", "convnext", 2),
        StageDesign(2, 1, 1, "interpolate", "convnext", 1),
    ),
)

# H. Chen et al., "HNeRV: A Hybrid Neural Representation for Videos", CVPR 2023
HNERV = Design(
    name="hnerv", head_factor=1, rated=False, bits_a_number=7.6,
    stages=(
        StageDesign(5, 1.73, 1, "shuffle", "gelu"),
        StageDesign(4, 1.44, 3, "shuffle", "gelu"),
        StageDesign(2, 1.2, 5, "shuffle", "gelu"),
        StageDesign(2, 1, 5, "shuffle", "gelu"),
    ),
)

# as in the paper, for frames of 640 x 1280
HNERV_LARGE = replace(
    HNERV,
    stages=(
        StageDesign(1, 2.49, 1, "shuffle", "gelu"),
        StageDesign(5, 2.07, 1, "shuffle", "gelu"),
        StageDesign(4, 1.73, 3, "shuffle", "gelu"),
        StageDesign(4, 1.44, 5, "shuffle", "gelu"),
        StageDesign(2, 1.2, 5, "shuffle", "gelu"),
        StageDesign(2, 1, 5, "shuffle", "gelu"),
    ),
)
LARGE = 1 << 19  # pixels of a frame, from which on that is taken

# A. Ghorbel et al., "NERV++: An Enhanced Implicit Neural Video Representation", 2024
NERV_PLUS = Design(
    name="nerv++", head_factor=1, bits_a_number=2.0,
    stages=(
        StageDesign(5, 1.73, 1, "shuffle", "separable"),
        StageDesign(4, 1.44, 3, "shuffle", "separable"),
        StageDesign(2, 1.2, 3, "shuffle", "separable"),
        StageDesign(2, 1, 3, "shuffle", "separable"),
    ),
)

# S. Maiya et al., "NIRVANA: Neural Implicit Representations of Videos with Adaptive Networks and Autoregressive
# Patch-wise Modeling", CVPR 2023. A patch is what the stages make of one place of the coarsest resolution.
NIRVANA = Design(
    name="nirvana", head_factor=2, embedding="coordinates", embedding_channels=30, bits_a_number=0.5, group_frames=8,
    chain=16,
    stages=(
        StageDesign(1, 3, 1, "interpolate", "sine"),
        StageDesign(1, 3, 1, "interpolate", "sine"),
        StageDesign(1, 3, 1, "interpolate", "sine"),
        StageDesign(4, 2, 3, "shuffle", "gelu"),
        StageDesign(4, 1, 3, "shuffle", "gelu"),
    ),
)

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
        return tuple(4 * max(round(finest * stage.share / 4), 1) for stage in self.design.stages)

    @property
    def largest(self) -> int:
        """Numbers of the largest stage, for a frame."""
        places, largest = self.coarsest[0] * self.coarsest[1], 0
        for stage, features in zip(self.design.stages, self.channels, strict=True):
            places *= stage.factor**2
            largest = max(largest, places * features)
        return largest

    @property
    def pixels(self) -> int:
        """Of all frames."""
        return self.frames * self.height * self.frame_width

    @property
    def coarsest(self) -> tuple[int, int]:
        """Rows and columns of the coarsest resolution."""
        return -(-self.height // self.design.stride), -(-self.frame_width // self.design.stride)

    @property
    def embedding_steps(self) -> int:
        """Steps in time of a learned embedding."""
        return -(-(self.frames - 1) // self.design.frames_a_step) + 1
