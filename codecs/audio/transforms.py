"""Analysis and synthesis: MDCT frames to latents and back, by convolutions over time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.audio.config import TransformConfig


class FrameConvolution(nn.Conv1d):
    """A convolution over as many frames before as after, or, where causal, over as many before alone.

    Args:
        size: frames that it sees, its own among them.
    """

    def __init__(self, inputs: int, outputs: int, size: int, causal: bool, groups: int = 1) -> None:
        super().__init__(inputs, outputs, size, groups=groups)
        self.margins = (size - 1, 0) if causal else (size // 2, size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, T) to (N, outputs, T); frames outside count as 0."""
        return super().forward(F.pad(x, self.margins))


class Block(nn.Module):
    """A residual block over frames (Z. Liu et al., "A ConvNet for the 2020s", CVPR 2022, in one dimension).

    What it does depends on the level, by a gain and an offset for each feature.
    """

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        width = config.width
        self.depthwise = FrameConvolution(width, width, 7, config.causal, groups=width)
        self.norm = nn.LayerNorm(width)
        self.film = nn.Linear(config.levels, 2 * width)
        self.up, self.down = nn.Linear(width, config.hidden), nn.Linear(config.hidden, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, level_weights: Tensor) -> Tensor:
        """(N, width, T) to the same, for levels (N, L)."""
        gain, offset = self.film(level_weights)[:, None].chunk(2, -1)
        y = self.norm(self.depthwise(x).transpose(1, 2)) * (1 + gain) + offset
        return x + (self.down(F.gelu(self.up(y), approximate="tanh")) * self.scale).transpose(1, 2)


class Analysis(nn.Module):
    """MDCT coefficients (N, hop, T) to latents (N, K, T), counted in steps of the quantiser.

    Where training begins, latents are the lowest coefficients, companded; the blocks learn what to add.
    """

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        self.decades = config.decades
        self.enter = FrameConvolution(2 * config.hop, config.width, 3, config.causal)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.leave = nn.Conv1d(config.width, config.latents, 1)
        self.skip = nn.Conv1d(config.hop, config.latents, 1, bias=False)
        with torch.no_grad():
            self.leave.weight.mul_(0.1)
            self.skip.weight.copy_(torch.eye(config.latents, config.hop)[..., None])

    def forward(self, coefficients: Tensor, gain: Tensor, level_weights: Tensor) -> Tensor:
        """`gain` (N, K): steps in a unit of each latent."""
        size = coefficients.abs()
        # amplitudes span several powers of ten: roots keep the sign, logarithms show what is quiet
        companded = coefficients.sign() * size.sqrt() * 2
        x = self.enter(torch.cat([companded, torch.log(size + 10.0**-self.decades) / self.decades + 1], 1))
        for block in self.blocks:
            x = block(x, level_weights)
        return (self.leave(x) + self.skip(companded)) * gain[..., None]


class Synthesis(nn.Module):
    """Latents (N, K, T), counted in steps, to MDCT coefficients (N, hop, T).

    A coefficient is a signed value times the exponential of another: sizes are learned as logarithms.
    """

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        self.enter = FrameConvolution(config.latents, config.width, 3, config.causal)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.leave = nn.Conv1d(config.width, 2 * config.hop, 1)
        self.skip = nn.Conv1d(config.latents, config.hop, 1, bias=False)
        with torch.no_grad():
            self.skip.weight.copy_(torch.eye(config.hop, config.latents)[..., None])

    def forward(self, latents: Tensor, gain: Tensor, level_weights: Tensor) -> Tensor:
        """`gain` (N, K): steps in a unit of each latent."""
        latents = latents / gain[..., None]
        x = self.enter(latents)
        for block in self.blocks:
            x = block(x, level_weights)
        value, log_size = self.leave(x).chunk(2, 1)
        return (0.3 * value + self.skip(latents)) * torch.exp((log_size - 2).clamp(max=6))
