"""Analysis and synthesis: a lapped transform with learned corrections around it (float, never part of the coder).

Both start as an orthonormal lapped transform with a uniform quantiser and learn from there: every learned branch
ends in a layer that begins at zero. One set of weights serves all rates; where a branch has to know the rate it is
told through `Modulation`.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.lapped import lapped_colour_kernel, mirror_signs

Sides = tuple[bool, bool, bool, bool]  # left, right, top, bottom: which are borders of the picture
OVERLAP = HyperpriorConfig.BLOCK // 2  # pixels a basis function reaches beyond its block, on each side


class Modulation(nn.Module):
    """Scale and offset of each channel, as a function of the rate: (N, H, W, C) -> (N, H, W, C)."""

    def __init__(self, levels: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(levels, channels))
        self.offset = nn.Parameter(torch.zeros(levels, channels))

    def forward(self, x: Tensor, level_weights: Tensor) -> Tensor:
        scale, offset = level_weights @ self.scale, level_weights @ self.offset
        return x * scale[:, None, None] + offset[:, None, None]


class DepthwiseConv(nn.Conv2d):
    """A 5x5 convolution of each channel by itself, always in float32: in bfloat16 its gradient takes thrice as long."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 5, padding=2, groups=channels)
        nn.init.dirac_(self.weight, groups=channels)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float().contiguous(memory_format=torch.channels_last))


class ResidualBlock(nn.Module):
    """Depthwise 5x5, then a modulated two-layer perceptron at each position, added to the input.

    The shape of a ConvNeXt block (Liu et al., "A ConvNet for the 2020s", CVPR 2022) without its normalisation.
    """

    def __init__(self, levels: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.spatial = DepthwiseConv(channels)
        self.expand = nn.Linear(channels, hidden)
        self.modulation = Modulation(levels, hidden)
        self.project = nn.Linear(hidden, channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, level_weights: Tensor, input_scale: Tensor | None = None) -> Tensor:
        """x: (N, C, H, W); input_scale: (N, C, 1, 1), applied to what the branch sees only."""
        seen = x if input_scale is None else x * input_scale
        hidden = self.expand(self.spatial(seen).permute(0, 2, 3, 1))
        hidden = F.gelu(self.modulation(hidden, level_weights), approximate="tanh")
        return x + self.project(hidden).permute(0, 3, 1, 2)


class Quantiser(nn.Module):
    """Step of each latent channel at each level, and the normalisation that the learned branches see."""

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__()
        lambdas = np.geomspace(config.lambda_low, config.lambda_high, config.levels)
        steps = np.log(4 / np.sqrt(lambdas))[:, None].repeat(config.LATENTS, 1)  # optimal at these lambdas, roughly
        self.log_step = nn.Parameter(torch.tensor(steps, dtype=torch.float32))
        self.log_step_back = nn.Parameter(self.log_step.detach().clone())
        self.register_buffer("deviation", torch.ones(config.LATENTS))

    def steps(self, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Steps for analysis and synthesis on the 0..255 scale, each (N, C, 1, 1)."""
        return tuple((level_weights @ p).exp()[:, :, None, None] for p in (self.log_step, self.log_step_back))

    def input_scale(self, step: Tensor) -> Tensor:
        """Brings latents counted in steps to about unit variance where they are large. (N, C, 1, 1)."""
        return (1 + (self.deviation[:, None, None] / step) ** 2).rsqrt()


def pad_mirrored(image: Tensor, sides: Sides) -> Tensor:
    """Mirrors `OVERLAP` pixels over the sides (left, right, top, bottom) that are borders of the picture."""
    left, right, top, bottom = (OVERLAP * s for s in sides)
    image = torch.cat([image[..., :left].flip(-1), image, image[..., image.shape[-1] - right :].flip(-1)], -1)
    return torch.cat([image[..., :top, :].flip(-2), image, image[..., image.shape[-2] - bottom :, :].flip(-2)], -2)


class LappedAnalysis(nn.Module):
    """Image to coefficients: three colour components at 8 x 8 frequencies for every block of 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.from_numpy(lapped_colour_kernel()))

    def coefficients(self, image: Tensor, sides: Sides) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 192, H / 8, W / 8) on the 0..255 scale.

        `sides` as in `pad_mirrored`, others bring their overlap.
        """
        with torch.autocast(image.device.type, enabled=False):
            blocks = F.pixel_unshuffle(pad_mirrored(image * 255 - 127.5, sides), HyperpriorConfig.BLOCK)
            return F.conv2d(blocks.contiguous(memory_format=torch.channels_last), self.kernel)


class Analysis(LappedAnalysis):
    """Image to latents: (N, 3, H, W) in [0, 1] -> (N, 192, H / 8, W / 8) counted in quantiser steps."""

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(config.levels, config.LATENTS, config.transform_hidden)
            for _ in range(config.analysis_blocks)
        )

    def forward(self, coefficients: Tensor, step: Tensor, input_scale: Tensor, level_weights: Tensor) -> Tensor:
        latents = coefficients / step
        for block in self.blocks:
            latents = block(latents, level_weights, input_scale)
        return latents


class LappedSynthesis(nn.Module):
    """Coefficients to image, the inverse of `LappedAnalysis`."""

    mirror_signs: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernel = lapped_colour_kernel().transpose(1, 0, 2, 3)[:, :, ::-1, ::-1].copy()
        self.kernel = nn.Parameter(torch.from_numpy(kernel))
        self.register_buffer("mirror_signs", torch.from_numpy(mirror_signs())[:, :, None, None], persistent=False)

    def image(self, coefficients: Tensor, sides: Sides) -> Tensor:
        """(N, 192, h, w) on the 0..255 scale -> (N, 3, 8 h, 8 w) in about [0, 1].

        Sides that are no border of the picture lose half a block: they need a halo.
        """
        with torch.autocast(coefficients.device.type, enabled=False):
            padded = self._continued(coefficients.float(), sides).contiguous(memory_format=torch.channels_last)
            image = F.pixel_shuffle(F.conv2d(padded, self.kernel), HyperpriorConfig.BLOCK)
        left, right, top, bottom = (OVERLAP * s for s in sides)
        return (image[..., top : image.shape[-2] - bottom, left : image.shape[-1] - right] + 127.5) / 255

    def _continued(self, coefficients: Tensor, sides: Sides) -> Tensor:
        """One more row or column over each border: the coefficients of the mirrored picture."""
        left, right, top, bottom = map(int, sides)
        horizontal, vertical = self.mirror_signs
        x, width, height = coefficients, coefficients.shape[-1], coefficients.shape[-2]
        x = torch.cat([x[..., :left] * horizontal, x, x[..., width - right :] * horizontal], -1)
        return torch.cat([x[..., :top, :] * vertical, x, x[..., height - bottom :, :] * vertical], -2)


class Synthesis(LappedSynthesis):
    """Latents to image: learned corrections, then the inverse transform."""

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(config.levels, config.LATENTS, config.transform_hidden)
            for _ in range(config.synthesis_blocks)
        )

    def forward(self, latents: Tensor, step: Tensor, input_scale: Tensor, level_weights: Tensor,
                sides: Sides) -> Tensor:
        """(N, 192, h, w) counted in steps -> (N, 3, 8 h, 8 w) in about [0, 1]; `sides` as of `LappedSynthesis`."""
        for block in self.blocks:
            latents = block(latents, level_weights, input_scale)
        with torch.autocast(latents.device.type, enabled=False):
            return self.image(latents.float() * step, sides)
