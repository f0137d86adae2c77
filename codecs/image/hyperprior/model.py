"""The trainable `hyperprior` model: image in, image and rate out."""

import math

import torch
from torch import Tensor, nn

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.entropy_model import EntropyModel
from fewbits.codecs.image.hyperprior.transforms import Analysis, Quantiser, Synthesis
from fewbits.codecs.levels import level_weights

EVERY_SIDE = (True, True, True, True)


def lambda_of(quality: Tensor, config: HyperpriorConfig) -> Tensor:
    """Trade-off of `lambda * MSE + bits per pixel` at a quality of 0..100, log-linear between lowest and highest."""
    low, high = math.log(config.lambda_low), math.log(config.lambda_high)
    return torch.exp(low + quality / 100 * (high - low))


class HyperpriorModel(nn.Module):
    """Transforms, quantiser and entropy model under one roof."""

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__()
        self.config = config
        self.quantiser = Quantiser(config)
        self.analysis = Analysis(config)
        self.synthesis = Synthesis(config)
        self.entropy_model = EntropyModel(config)

    def forward(self, image: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction (N, 3, H, W) in about [0, 1], and bits (N,).

        Args:
            image: (N, 3, H, W) in [0, 1], H and W multiples of 64.
            quality: (N,) in [0, 100].
        """
        weights = level_weights(quality, self.config.levels)
        step, step_back = self.quantiser.steps(weights)
        scale = self.quantiser.input_scale(step)
        latents = self.analysis(self.analysis.coefficients(image, EVERY_SIDE), step, scale, weights)
        with torch.autocast(image.device.type, enabled=False):
            decoded, bits = self.entropy_model(latents.float(), scale, weights)
        return self.synthesis(decoded, step_back, self.quantiser.input_scale(step_back), weights, EVERY_SIDE), bits

    @torch.no_grad()
    def measure_deviation(self, images: list[Tensor]) -> None:
        """Sets the latents' standard deviations from pictures (1, 3, H, W) in [0, 1], sides multiples of 8."""
        squares = [self.analysis.coefficients(x, EVERY_SIDE).square().mean([0, 2, 3]) for x in images]
        self.quantiser.deviation.copy_(torch.stack(squares).mean(0).sqrt())
