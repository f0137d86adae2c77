"""The trainable `vqextreme` model: a pyramid of vector-quantised features around a lapped transform.

An index of the coarse stage stands for 32 x 32 pixels; one of the fine stage for 16 x 16, by what its features differ
from those predicted from the coarse stage around it; where the rate allows, one of the detail stage says what is still
missing there. All that a picture needs lies in these indices. Two levels of resolution as in "Generating Diverse
High-Fidelity Images with VQ-VAE-2" (A. Razavi et al., NeurIPS 2019); several rates from one model by nested codebooks
as in "Extreme Image Compression using Fine-tuned VQGANs" (Q. Mao et al., DCC 2024).

Networks begin as linear maps onto principal components of the lapped transform: every learned branch ends in a layer
that begins at zero.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.image.hyperprior.model import EVERY_SIDE
from fewbits.codecs.image.hyperprior.transforms import LappedAnalysis, LappedSynthesis, ResidualBlock, Sides
from fewbits.codecs.image.vqextreme.config import CELL, COEFFICIENTS, FINE, RATES, STAGES, VqExtremeConfig
from fewbits.codecs.image.vqextreme.quantiser import Bottleneck, Codebooks, FiniteScalars

UNIT = 64.0  # of the coefficients, on the 0..255 scale, so that features are about 1


class Reduction(nn.Module):
    """Four neighbours become one: (N, C, h, w) -> (N, D, h / 2, w / 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return _by_place(self.linear, F.pixel_unshuffle(x, 2))


class Expansion(nn.Module):
    """One becomes four neighbours: (N, C, h, w) -> (N, D, 2 h, 2 w)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 4 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(_by_place(self.linear, x), 2)


class Blocks(nn.ModuleList):
    """Residual blocks one after the other, which are told the rate."""

    def __init__(self, count: int, channels: int, hidden: int) -> None:
        super().__init__(ResidualBlock(len(RATES), channels, hidden) for _ in range(count))

    def forward(self, x: Tensor, rate_weights: Tensor) -> Tensor:
        for block in self:
            x = block(x, rate_weights)
        return x


class Analysis(LappedAnalysis):
    """Image to features at 1/16 and 1/32 of its resolution."""

    def __init__(self, config: VqExtremeConfig) -> None:
        super().__init__()
        self.outer = Blocks(1, COEFFICIENTS, config.outer_hidden)
        self.to_fine = Reduction(COEFFICIENTS, config.channels)
        self.fine = Blocks(config.fine_blocks - 1, config.channels, config.hidden)
        self.to_coarse = Reduction(config.channels, config.channels)
        self.coarse = Blocks(config.coarse_blocks, config.channels, config.hidden)

    def forward(self, image: Tensor, rate_weights: Tensor, sides: Sides, dimensions: int) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) in [0, 1] -> (N, D, H / 16, W / 16) and (N, D, H / 32, W / 32)."""
        fine = self.fine(self.to_fine(self.outer(self.coefficients(image, sides) / UNIT, rate_weights)), rate_weights)
        coarse = self.coarse(self.to_coarse(fine), rate_weights)
        return fine[:, :dimensions].float(), coarse[:, :dimensions].float()


class Prediction(nn.Module):
    """Features of the fine stage from those of the coarse one around: (N, D, h, w) -> (N, D, 2 h, 2 w)."""

    def __init__(self, config: VqExtremeConfig) -> None:
        super().__init__()
        self.blocks = Blocks(config.coarse_blocks, config.dimensions, config.channels)
        self.expansion = Expansion(config.dimensions, config.dimensions)

    def forward(self, coarse: Tensor, rate_weights: Tensor) -> Tensor:
        return self.expansion(self.blocks(coarse, rate_weights)).float()


class Synthesis(LappedSynthesis):
    """Quantised features to image."""

    def __init__(self, config: VqExtremeConfig) -> None:
        super().__init__()
        self.widen = nn.Linear(config.dimensions, config.channels)
        self.fine = Blocks(config.fine_blocks, config.channels, config.hidden)
        self.to_outer = Expansion(config.channels, COEFFICIENTS)
        self.outer = Blocks(config.outer_blocks, COEFFICIENTS, config.outer_hidden)

    def forward(self, features: Tensor, rate_weights: Tensor, sides: Sides) -> Tensor:
        """(N, D, h, w) -> (N, 3, 16 h, 16 w) in about [0, 1]; `sides` as of `LappedSynthesis`."""
        fine = self.fine(_by_place(self.widen, features), rate_weights)
        return self.image(self.outer(self.to_outer(fine), rate_weights) * UNIT, sides)


class VqExtremeModel(nn.Module):
    """Analysis, the three stages of the bottleneck, and synthesis under one roof."""

    def __init__(self, config: VqExtremeConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = Analysis(config)
        self.prediction = Prediction(config)
        self.synthesis = Synthesis(config)
        kind: type[Codebooks] | type[FiniteScalars] = FiniteScalars if config.finite_scalar else Codebooks
        self.stages = nn.ModuleDict({
            stage: kind({rate.size(stage) for rate in RATES} - {1}, config.dimensions) for stage in STAGES})
        self.register_buffer("slopes", torch.full((len(RATES),), 40.0))

    def stage(self, name: str) -> Bottleneck:
        """That of one of the `STAGES`."""
        bottleneck = self.stages[name]
        assert isinstance(bottleneck, Bottleneck)
        return bottleneck

    def slope(self, number: int) -> float:
        """What a bit is worth at one of the rates, in squared distance of features, when an entry is chosen."""
        return float(self.get_buffer("slopes")[number])

    def forward(self, image: Tensor, number: int) -> tuple[Tensor, Tensor, float]:
        """Reconstruction (N, 3, H, W) in about [0, 1], what the bottleneck adds to a loss (N,), and bits per pixel.

        Args:
            image: (N, 3, H, W) in [0, 1], H and W multiples of 32.
            number: which of the `RATES`.
        """
        rate, slope, weights, sides = RATES[number], self.slope(number), rate_weights(number, image), EVERY_SIDE
        fine, coarse = self.analysis(image, weights, sides, self.config.dimensions)
        with torch.autocast(image.device.type, enabled=False):
            coarse, meeting, bits = self.stage("coarse")(coarse, rate.coarse, slope)
            decoded = self.prediction(coarse, weights)
            for name in STAGES[1:]:
                if rate.size(name) > 1:
                    part, apart, more = self.stage(name)(fine - decoded, rate.size(name), slope)
                    decoded, meeting, bits = decoded + part, meeting + apart, bits + FINE**2 * more
        return self.synthesis(decoded, weights, sides), meeting, bits / CELL**2


def rate_weights(number: int, like: Tensor) -> Tensor:
    """What tells residual blocks the rate: (1, rates)."""
    return F.one_hot(torch.tensor([number], device=like.device), len(RATES)).to(torch.float32)


def _by_place(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear map of the channels at each place: (N, C, h, w) -> (N, D, h, w)."""
    return linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
