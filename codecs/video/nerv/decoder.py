"""The network of a group of frames: times in, frames out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.video.nerv.config import COLOURS, NervConfig

EXPANSION = 2  # of the features inside a block
KERNELS = (1, 3, 5)  # of the convolutions before pixel shuffling, the last for all further stages


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


class Stage(nn.Module):
    """Enlarges features, adds what is known of places, and works on them."""

    def __init__(self, config: NervConfig, number: int, inputs: int, outputs: int, rows: int, columns: int) -> None:
        super().__init__()
        design = config.design
        self.factor, self.shuffles = design.factors[number], design.upsampling == "shuffle"
        kernel = KERNELS[min(number, len(KERNELS) - 1)] if self.shuffles else 3 if number == 0 else 1
        self.enter = nn.Conv2d(inputs, outputs * (self.factor**2 if self.shuffles else 1), kernel, padding=kernel // 2)
        self.block = ConvNeXtBlock(outputs) if design.block == "convnext" else nn.GELU()
        self.places = None
        if count := design.grid_channels[number]:
            self.places = nn.Parameter(torch.zeros(1, count, rows, columns))
            self.of_places = nn.Conv2d(count, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, outputs, factor * h, factor * w)."""
        x = self.enter(x)
        if self.shuffles:
            x = F.pixel_shuffle(x, self.factor)
        elif self.factor > 1:
            x = F.interpolate(x, scale_factor=self.factor, mode="bilinear")
        if self.places is not None:
            x = x + self.of_places(self.places)
        return self.block(x)


class Decoder(nn.Module):
    """All frames of a group, whole ones and those in between."""

    def __init__(self, config: NervConfig) -> None:
        super().__init__()
        self.config, design = config, config.design
        rows, columns = config.coarsest
        self.embedding = nn.Parameter(torch.zeros(config.embedding_steps, design.embedding_channels, rows, columns))
        stages, inputs = [], design.embedding_channels
        for number, (factor, outputs) in enumerate(zip(design.factors, config.channels, strict=True)):
            rows, columns = factor * rows, factor * columns
            stages.append(Stage(config, number, inputs, outputs, rows, columns))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.head = nn.Conv2d(inputs, COLOURS * design.head_factor**2, 3, padding=1)

    @torch.no_grad()
    def begin(self) -> None:
        """Where a fit begins: grey frames, blocks that change little."""
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        for stage in self.stages:
            if stage.places is not None:
                nn.init.normal_(stage.places, std=0.05)
            if isinstance(stage.block, ConvNeXtBlock):
                stage.block.down.weight.mul_(0.3)

    def forward(self, positions: Tensor) -> Tensor:
        """Frames (N, 3, H, W), about 0 to 1, at positions (N,) float32 in frames of the group."""
        steps = positions / self.config.design.frames_a_step
        before = steps.floor().long().clamp(max=len(self.embedding) - 1)
        after = (before + 1).clamp(max=len(self.embedding) - 1)
        share = (steps - before)[:, None, None, None]
        x = self.embedding[before] * (1 - share) + self.embedding[after] * share
        x = x.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
        frames = F.pixel_shuffle(self.head(x), self.config.design.head_factor)
        return frames[:, :, : self.config.height, : self.config.frame_width].float() + 0.5
