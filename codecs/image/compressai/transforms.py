"""The networks of CompressAI's models with hyperpriors, layer by layer under the names that they have there.

J. Balle, D. Minnen, S. Singh, S. J. Hwang, N. Johnston, "Variational image compression with a scale hyperprior" (ICLR
2018), and D. Minnen, J. Balle, G. Toderici, "Joint autoregressive and hierarchical priors for learned image
compression" (NeurIPS 2018), the model without context.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.image.compressai.config import CompressaiConfig

LEAK = 0.01  # slope of `nn.LeakyReLU` below 0


class GDN(nn.Module):
    """Generalised divisive normalisation: (N, C, H, W) to the same, `x / sqrt(beta + gamma x^2)` at each position.

    J. Balle, V. Laparra, E. P. Simoncelli, "Density modeling of images using a generalized normalization
    transformation" (ICLR 2016). Inverse, it multiplies. `beta` and `gamma` are the numbers of this formula, not those
    that training moves.
    """

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(0.1 * torch.eye(channels))

    def forward(self, x: Tensor) -> Tensor:
        norm = F.conv2d(x.square(), self.gamma[:, :, None, None], self.beta)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


def halving(inputs: int, outputs: int) -> nn.Conv2d:
    """A convolution that halves height and width, rounded up."""
    return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)


def doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)


def analysis(config: CompressaiConfig) -> nn.Sequential:
    """`g_a`: (N, 3, 16 h, 16 w) in [0, 1] to latents (N, M, h, w)."""
    n, m = config.channels, config.latents
    return nn.Sequential(halving(3, n), GDN(n), halving(n, n), GDN(n), halving(n, n), GDN(n), halving(n, m))


def synthesis(config: CompressaiConfig) -> nn.Sequential:
    """`g_s`: latents (N, M, h, w) to (N, 3, 16 h, 16 w) in about [0, 1]."""
    n, m = config.channels, config.latents
    return nn.Sequential(doubling(m, n), GDN(n, inverse=True), doubling(n, n), GDN(n, inverse=True),
                         doubling(n, n), GDN(n, inverse=True), doubling(n, 3))


def hyper_analysis(config: CompressaiConfig) -> nn.Sequential:
    """`h_a`: latents (N, M, h, w), without their sign where there are no means, to hyper-latents (N, N', h / 4, w / 4),
    N' being `config.channels`."""
    n, m = config.channels, config.latents
    return nn.Sequential(nn.Conv2d(m, n, 3, padding=1), _activation(config), halving(n, n), _activation(config),
                         halving(n, n))


def hyper_synthesis(config: CompressaiConfig) -> nn.Sequential:
    """`h_s`: hyper-latents (N, N', h, w) to scales (N, M, 4 h, 4 w); where there are means, these are M channels more.

    In float only where weights are made; files are coded with its integer form, see `hyper_decoder`.
    """
    n, m = config.channels, config.latents
    if config.has_means:
        return nn.Sequential(doubling(n, m), nn.LeakyReLU(LEAK), doubling(m, m * 3 // 2), nn.LeakyReLU(LEAK),
                             nn.Conv2d(m * 3 // 2, 2 * m, 3, padding=1))
    return nn.Sequential(doubling(n, n), nn.ReLU(), doubling(n, n), nn.ReLU(), nn.Conv2d(n, m, 3, padding=1), nn.ReLU())


def _activation(config: CompressaiConfig) -> nn.Module:
    return nn.LeakyReLU(LEAK) if config.has_means else nn.ReLU()


class Transforms(nn.Module):
    """The float networks that code pictures; none of them decides a probability."""

    def __init__(self, config: CompressaiConfig) -> None:
        super().__init__()
        self.config = config
        self.g_a, self.g_s = analysis(config), synthesis(config)
        if config.has_hyperprior:
            self.h_a = hyper_analysis(config)

    def hyper_latents(self, latents: Tensor) -> Tensor:
        """Hyper-latents, not rounded yet, of latents (N, M, h, w)."""
        return self.h_a(latents if self.config.has_means else latents.abs())
