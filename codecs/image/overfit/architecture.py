"""The decoder of `overfit`: its latent grids, its networks in three sizes, and the units of their numbers.

A picture is a pyramid of latent grids, one value per position, grid k at 1 / 2**k of the resolution. A decoder decodes
them from coarse to fine. A small causal network per grid predicts every latent from its neighbours; learned filters
bring all grids to full resolution; a small synthesis turns the planes into RGB. (T. Ladune et al., "COOL-CHIC:
Coordinate-based Low Complexity Hierarchical Image Codec", ICCV 2023; H. Kim et al., "C3: High-performance and
low-complexity neural compression from a single image or video", CVPR 2024.)
"""

from dataclasses import dataclass

from fewbits.kernels.context import COARSE_INPUTS, FRACTION

GRIDS = 7  # full resolution down to 1/64
CONTEXT_NETWORKS = 4  # for grids 0, 1, 2, and one for 3 and coarser
UNIT = 1 << FRACTION  # of parameters
TAPS = 4  # of an upsampling filter, for each of its two phases

# Causal neighbours (rows down, columns right), nearest first.
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2), (-1, 2),
              (-2, -1), (-2, 1), (0, -3), (-3, 0), (-2, -2), (-2, 2), (-1, -3), (-1, 3))


@dataclass(frozen=True)
class DecoderSize:
    """How large the networks are.

    Attributes:
        neighbours: how many causal neighbours a context network sees.
        context_width: units in each of its two hidden layers.
        synthesis_width: units in the hidden layer of the synthesis.
        residual_layers: 3x3 layers after it; all but the last have a ReLU.
    """

    name: str
    neighbours: int
    context_width: int
    synthesis_width: int
    residual_layers: int

    @property
    def context_inputs(self) -> int:
        return self.neighbours + COARSE_INPUTS

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all parameters by name, in the order of the file.

        A context network computes, from inputs x: `first` gives the first hidden layer (ReLU) and, in its last two
        rows, a linear part of mean and scale; `second` the second hidden layer (ReLU); `last` adds to mean and scale.
        The synthesis computes, per pixel, likewise: `first` gives the hidden layer (ReLU) and, in its last three rows,
        a linear part of red, green and blue; `last` adds to it. Residual layers are 3x3 convolutions added to
        their input.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for i in range(CONTEXT_NETWORKS):
            shapes |= {
                f"context.{i}.first.weight": (self.context_width + 2, self.context_inputs),
                f"context.{i}.first.bias": (self.context_width + 2,),
                f"context.{i}.second.weight": (self.context_width, self.context_width),
                f"context.{i}.second.bias": (self.context_width,),
                f"context.{i}.last.weight": (2, self.context_width),
            }
        shapes["upsampling"] = (GRIDS - 1, 2, TAPS)
        shapes |= {
            "synthesis.first.weight": (self.synthesis_width + 3, GRIDS),
            "synthesis.first.bias": (self.synthesis_width + 3,),
            "synthesis.last.weight": (3, self.synthesis_width),
        }
        for i in range(self.residual_layers):
            shapes |= {f"synthesis.residual.{i}.weight": (3, 3, 3, 3), f"synthesis.residual.{i}.bias": (3,)}
        return shapes

    def macs_per_pixel(self) -> float:
        """Multiplications a pixel, all grids and layers counted."""
        width, latents = self.context_width, sum(4.0**-k for k in range(GRIDS))
        context = ((width + 2) * self.context_inputs + width * width + 2 * width) * latents
        upsampling = sum((GRIDS - 1 - k) * TAPS * 1.5 * 4.0**-k for k in range(GRIDS - 1))
        synthesis = (self.synthesis_width + 3) * GRIDS + 3 * self.synthesis_width + 81 * self.residual_layers
        return context + upsampling + synthesis


SIZES = (DecoderSize("small", 8, 8, 12, 1), DecoderSize("medium", 12, 12, 24, 2), DecoderSize("large", 16, 24, 32, 2))


def context_network(grid: int) -> int:
    """The number of the context network for a grid."""
    return min(grid, CONTEXT_NETWORKS - 1)


def grid_shape(grid: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a grid of a picture."""
    return -(-height >> grid), -(-width >> grid)
