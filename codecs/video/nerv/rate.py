"""What the numbers of a decoder cost, in a form that training can follow.

Each tensor has a step that its numbers are counted in, each of its rows a scale; both are learned. First, noise takes
the place of rounding, then numbers are rounded and the slope passes as if they were not. (J. Balle et al., "End-to-end
Optimized Image Compression", ICLR 2017; for networks as signals, E. Dupont et al. and H. Kwan et al., "NVRC", 2024.)
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.video.nerv.coding import SCALE_LOW, STEPS_AN_OCTAVE, Numbers, step_codes
from fewbits.codecs.video.nerv.layout import EMBEDDING, Layout
from fewbits.kernels import grid_prediction
from fewbits.kernels.laplace_rate import laplace_rate

UNRATED_BITS, UNRATED_GRID_BITS = 8, 6  # that numbers are rounded to where nothing is known of their rate
START_STEP = 0.2  # of the mean size of a tensor's numbers
SMALL_SIZE = 0.05  # that is added to it: many numbers begin as 0
EMBEDDING_CONTEXT, PLACES_CONTEXT = (0.5, 0.0, 0.0), (0.0, 0.3, 0.3)  # coefficients of neighbours, at first


class RatedNumbers(nn.Module):
    """The numbers of a decoder, and their rate.

    Args:
        row: (size,) where training begins.
        random: where noise comes from.

    Attributes:
        rounded: whether numbers, steps and coefficients are as they will be sent; else noise stands for rounding.
    """

    def __init__(self, layout: Layout, row: Tensor, random: torch.Generator) -> None:
        super().__init__()
        self.layout, self.random, self.rounded = layout, random, False
        self.row = nn.Parameter(row.clone())
        sizes = torch.stack([part.abs().mean() for part in row.split(layout.sizes)])
        self.log_step = nn.Parameter((START_STEP * (sizes + SMALL_SIZE)).log())
        start = torch.tensor([EMBEDDING_CONTEXT if part.name == EMBEDDING else PLACES_CONTEXT
                              for _, part in layout.grids() for _ in range(part.scales)])
        self.context = nn.Parameter(start)
        self.register_buffer("part", torch.from_numpy(layout.part_of_number), persistent=False)
        self.register_buffer("scale", torch.from_numpy(layout.scale_of_number), persistent=False)
        part_of_scale = np.repeat(np.arange(len(layout.parts)), [part.scales for part in layout.parts])
        self.register_buffer("part_of_scale", torch.from_numpy(part_of_scale), persistent=False)
        counts = torch.bincount(self.scale, minlength=layout.scales)
        self.log_scale = nn.Parameter((torch.bincount(self.scale, row.abs(), layout.scales) / counts + 1e-3).log())

    def forward(self) -> tuple[Tensor, Tensor]:
        """The numbers (size,) as the decoder will have them, or noisy, and their bits."""
        log_step = self._as_sent(self.log_step, STEPS_AN_OCTAVE / math.log(2))
        step = log_step.exp().index_select(0, self.part)
        exact = self.row / step
        counted = self._as_sent(exact, 1) if self.rounded else exact + self._noise(exact)
        log_scale = (self.log_scale - log_step[self.part_of_scale]).clamp(min=math.log(SCALE_LOW))
        return counted * step, LaplaceBits.apply(self._unknown(counted), log_scale, self.scale)

    def _noise(self, values: Tensor) -> Tensor:
        """Between -1/2 and 1/2, for each value."""
        return torch.rand(values.shape, generator=self.random).to(values.device) - 0.5

    def _as_sent(self, values: Tensor, parts: float) -> Tensor:
        """Rounded to so many parts of 1, with the slope of the identity, once all is."""
        return values + ((values * parts).round() / parts - values).detach() if self.rounded else values

    def _unknown(self, counted: Tensor) -> Tensor:
        """Numbers (size,), those of grids without what their neighbours tell."""
        context = self._as_sent(self.context, 2**grid_prediction.FRACTION)
        parts, first = [], 0
        for part, numbers in zip(self.layout.parts, counted.split(self.layout.sizes), strict=True):
            if part.kind == "grid":
                coefficients = context[first : first + part.scales]
                numbers = numbers - self._prediction(numbers.view(part.shape), coefficients).flatten()
                first += part.scales
            parts.append(numbers)
        return torch.cat(parts)

    def _prediction(self, grid: Tensor, coefficients: Tensor) -> Tensor:
        """What `fewbits.kernels.grid_prediction` predicts of a grid (T, C, H, W)."""
        padded = F.pad(grid, (1, 0, 1, 0, 0, 0, 1, 0))
        before, left, above = padded[:-1, :, 1:, 1:], padded[1:, :, 1:, :-1], padded[1:, :, :-1, 1:]
        a, b, c = coefficients.T[..., None, None]
        return self._as_sent(a * before + b * left + c * above, 1)

    @torch.no_grad()
    def coarsen(self) -> None:
        """Goes on to the next larger steps that can be sent."""
        self.log_step += math.log(2) / STEPS_AN_OCTAVE

    @torch.no_grad()
    def numbers(self) -> Numbers:
        """What is sent."""
        steps = step_codes(self.log_step.exp().cpu().numpy())
        context = (self.context * 2**grid_prediction.FRACTION).round().clamp(-128, 127).to(torch.int8)
        return Numbers.rounded(self.row.cpu(), steps, context.cpu().numpy(), self.layout)


class LaplaceBits(torch.autograd.Function):
    """`fewbits.kernels.laplace_rate` as a function of numbers (n,) and logarithms of scales (s,)."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor, log_scales: Tensor, scale_of_number: Tensor) -> Tensor:
        slopes = np.empty(len(numbers), np.float32)
        scales = log_scales.detach().double().exp().cpu().numpy()
        scale_slopes = np.zeros(len(scales))
        bits = laplace_rate(numbers.detach().cpu().numpy(), scales, scale_of_number.cpu().numpy(), slopes, scale_slopes)
        ctx.save_for_backward(torch.from_numpy(slopes).to(numbers), torch.from_numpy(scale_slopes).to(log_scales))
        return numbers.new_tensor(bits)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        slopes, scale_slopes = ctx.saved_tensors
        return gradient * slopes, gradient * scale_slopes, None


class UnratedNumbers(nn.Module):
    """The numbers of a decoder that are rounded after training, as H. Chen et al., "HNeRV", CVPR 2023, do: evenly
    between the least and the greatest of a tensor. Interface of `RatedNumbers`."""

    def __init__(self, layout: Layout, row: Tensor, random: torch.Generator) -> None:
        super().__init__()
        self.layout, self.rounded = layout, True
        self.row = nn.Parameter(row.clone())
        self.bits = np.where([part.kind == "grid" for part in layout.parts], UNRATED_GRID_BITS, UNRATED_BITS)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The numbers, and no bits."""
        return self.row * 1, torch.zeros(())

    def coarsen(self) -> None:
        """A bit less for each number, where there are bits left to take."""
        self.bits = np.maximum(self.bits - 1, 1)

    @torch.no_grad()
    def numbers(self) -> Numbers:
        """What is sent."""
        row = self.row.cpu()
        spans = torch.stack([numbers.max() - numbers.min() for numbers in row.split(self.layout.sizes)])
        codes = step_codes(np.maximum(spans.numpy(), 1e-6) / (2.0**self.bits - 1))
        context = np.zeros((self.layout.grid_channels, grid_prediction.NEIGHBOURS), np.int8)
        return Numbers.rounded(row, codes, context, self.layout)
