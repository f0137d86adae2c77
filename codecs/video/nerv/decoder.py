"""The network of a group of frames: times in, frames out."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.randomness import own_randomness
from fewbits.codecs.video.nerv.config import COLOURS, NervConfig, StageDesign

EXPANSION = 2  # of the features inside a ConvNeXt block


class LearnedEmbedding(nn.Module):
    """Numbers for each place of the coarsest resolution, interpolated in time."""

    def __init__(self, config: NervConfig) -> None:
        super().__init__()
        self.frames_a_step = config.design.frames_a_step
        steps, channels = config.embedding_steps, config.design.embedding_channels
        self.numbers = nn.Parameter(torch.zeros(steps, channels, *config.coarsest))

    def forward(self, positions: Tensor) -> Tensor:
        """(N,) frames to (N, C, h, w)."""
        steps = positions / self.frames_a_step
        before = steps.floor().long().clamp(max=len(self.numbers) - 1)
        after = (before + 1).clamp(max=len(self.numbers) - 1)
        share = (steps - before)[:, None, None, None]
        return self.numbers[before] * (1 - share) + self.numbers[after] * share


class Coordinates(nn.Module):
    """Sines and cosines of time and place, in octaves of frequency: nothing that would have to be sent."""

    def __init__(self, config: NervConfig) -> None:
        super().__init__()
        self.frames, (self.rows, self.columns) = config.frames, config.coarsest
        self.octaves = config.design.embedding_channels // 6

    def forward(self, positions: Tensor) -> Tensor:
        """(N,) frames to (N, C, h, w)."""
        rows, columns = (torch.arange(n, device=positions.device) for n in (self.rows, self.columns))
        middles = torch.meshgrid(2 * (positions + 0.5) / self.frames - 1, 2 * (rows + 0.5) / self.rows - 1,
                                 2 * (columns + 0.5) / self.columns - 1, indexing="ij")
        frequencies = math.pi / 2 * 2.0 ** torch.arange(self.octaves, device=positions.device)
        angles = torch.stack(middles, 1)[:, :, None] * frequencies[:, None, None]
        return torch.cat((angles.sin(), angles.cos()), 1).flatten(1, 2)


class ConvNeXtBlock(nn.Module):
    """A residual block (Z. Liu et al., "A ConvNet for the 2020s", CVPR 2022), with 3x3 in place of 7x7."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up, self.down = nn.Conv2d(channels, EXPANSION * channels, 1), nn.Conv2d(EXPANSION * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.down(F.gelu(self.up(y), approximate="tanh"))


class SeparableBlock(nn.Module):
    """A residual block of a depthwise convolution and one of the features of each place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.down = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same."""
        return x + self.down(F.gelu(self.depthwise(x), approximate="tanh"))


class Sine(nn.Module):
    """The activation of V. Sitzmann et al., "Implicit Neural Representations with Periodic Activation Functions",
    NeurIPS 2020."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x.sin()


class Stage(nn.Module):
    """Enlarges features, adds what is known of places, and works on them."""

    def __init__(self, design: StageDesign, inputs: int, outputs: int, rows: int, columns: int) -> None:
        super().__init__()
        self.factor, self.shuffles = design.factor, design.upsampling == "shuffle"
        entering = outputs * (self.factor**2 if self.shuffles else 1)
        self.before = SeparableBlock(inputs) if design.block == "separable" else None
        self.enter = nn.Conv2d(inputs, entering, design.kernel, padding=design.kernel // 2)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if design.block == "separable" else None
        self.block = _block(design, outputs)
        self.places = None
        if count := design.grid_channels:
            self.places = nn.Parameter(torch.zeros(1, count, rows, columns))
            self.of_places = nn.Conv2d(count, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, outputs, factor * h, factor * w)."""
        y = self.enter(x if self.before is None else self.before(x))
        y = F.pixel_shuffle(y, self.factor) if self.shuffles else self._interpolated(y)
        if self.skip is not None:
            y = y + self._interpolated(self.skip(x))
        if self.places is not None:
            y = y + self.of_places(self.places)
        return self.block(y)

    def _interpolated(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear") if self.factor > 1 else x


def _block(design: StageDesign, channels: int) -> nn.Module:
    match design.block:
        case "convnext":
            return ConvNeXtBlock(channels)
        case "separable":
            return SeparableBlock(channels)
        case "sine":
            return Sine()
    return nn.GELU()


class Decoder(nn.Module):
    """All frames of a group, whole ones and those in between."""

    def __init__(self, config: NervConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = LearnedEmbedding(config) if config.design.embedding == "learned" else Coordinates(config)
        rows, columns = config.coarsest
        stages, inputs = [], config.design.embedding_channels
        for design, outputs in zip(config.design.stages, config.channels, strict=True):
            rows, columns = design.factor * rows, design.factor * columns
            stages.append(Stage(design, inputs, outputs, rows, columns))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.head = nn.Conv2d(inputs, COLOURS * config.design.head_factor**2, 3, padding=1)

    @torch.no_grad()
    def begin(self) -> None:
        """Where a fit begins: grey frames, blocks that change little, sines that neither fade nor grow."""
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        for stage in self.stages:
            if stage.places is not None:
                nn.init.normal_(stage.places, std=0.05)
            if isinstance(stage.block, ConvNeXtBlock | SeparableBlock):
                stage.block.down.weight.mul_(0.3)
            if isinstance(stage.block, Sine):
                bound = math.sqrt(6 / stage.enter.in_channels)
                nn.init.uniform_(stage.enter.weight, -bound, bound)

    def forward(self, positions: Tensor) -> Tensor:
        """Frames (N, 3, H, W), about 0 to 1, at positions (N,) float32 in frames of the group."""
        x = self.embedding(positions).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
        frames = F.pixel_shuffle(self.head(x), self.config.design.head_factor)
        return frames[:, :, : self.config.height, : self.config.frame_width].float() + 0.5



def bare_decoder(config: NervConfig, device: str) -> Decoder:
    """A decoder to be called with the numbers of a group; its own mean nothing."""
    with own_randomness():
        return Decoder(config).to(device, memory_format=torch.channels_last)
