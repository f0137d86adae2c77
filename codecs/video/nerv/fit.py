"""Fits the decoder of a group of frames: distortion plus rate, by gradient descent."""

import math
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from fewbits.codecs.precision import mixed_precision
from fewbits.codecs.video.nerv.config import NervConfig
from fewbits.codecs.video.nerv.decoder import Decoder, bare_decoder
from fewbits.codecs.video.nerv.layout import layout_of
from fewbits.codecs.video.nerv.optimiser import RowOptimiser
from fewbits.codecs.video.nerv.rate import RatedNumbers, UnratedNumbers

BATCH = 2  # frames of a step
WARMUP = 50  # steps
ROUNDED_SHARE = 0.3  # of the steps, the last ones
HURRY_SHARE = 0.15  # of the steps done, that still follow where a fit is to end early
SIDE_RATE = 0.01  # of steps and scales, in logarithms
LAST_RATE = 0.02  # of the learning rate, at the end and beyond


@dataclass(frozen=True)
class Measured:
    """Of one step.

    Attributes:
        error: mean square, of samples from 0 to 1.
        bits: of all numbers.
    """

    error: float
    bits: float


class Fit:
    """A decoder that learns a group of frames.

    Args:
        frames: (N, H, W, 3) uint8.
        steps: how many there will be.
        row: (size,) the numbers to begin with.
        reference: (size,) numbers that the decoder has already: what is learned and sent is added to them.
        seed: of the order of frames, and of noise.
    """

    def __init__(self, frames: Tensor, config: NervConfig, steps: int, row: Tensor, reference: Tensor | None = None,
                 device: str = "cpu", seed: int = 0) -> None:
        self.frames, self.config, self.steps, self.device = frames, config, steps, device
        self.layout = layout_of(config)
        # on a CPU, a decoder for each frame of a step, since threads cannot share one; elsewhere one for all frames
        self.decoders = [bare_decoder(config, device) for _ in range(BATCH if device == "cpu" else 1)]
        self.reference = torch.zeros_like(row, device=device) if reference is None else reference.to(device)
        of = RatedNumbers if config.design.rated else UnratedNumbers
        self.random = torch.Generator().manual_seed(seed)
        self.numbers = of(self.layout, row, self.random).to(device)
        self.optimiser = RowOptimiser(self.layout, self.numbers.row)
        side = [parameter for name, parameter in self.numbers.named_parameters() if name != "row"]
        self.side = torch.optim.Adam([{"params": side}], SIDE_RATE, betas=(0.9, 0.99))
        self.step_count, self.order = 0, torch.empty(0, dtype=torch.long)
        self.pool = ThreadPoolExecutor(BATCH)

    @property
    def share(self) -> float:
        """Of the steps, those done; more than 1 where there were more."""
        return self.step_count / self.steps

    def hurry(self) -> None:
        """Ends soon: only what it takes to round well still follows."""
        self.steps = min(self.steps, max(math.ceil((1 + HURRY_SHARE) * self.step_count), 1))

    def step(self, trade: float) -> Measured:
        """One step on a few frames.

        Args:
            trade: what a bit for each pixel costs, as an error.
        """
        self.numbers.rounded = self.share >= 1 - ROUNDED_SHARE
        chosen = self._next_frames()
        row, bits = self.numbers()
        errors, gradients = zip(*self._gradients(row.detach() + self.reference, chosen), strict=True)
        for parameter in self.numbers.parameters():
            parameter.grad = None
        (row @ (sum(gradients) / len(gradients)) + trade / self.config.pixels * bits).backward()
        falling = max(0.5 * (1 + math.cos(math.pi * min(self.share, 1))), LAST_RATE)
        factor = min(1, (self.step_count + 1) / WARMUP) * falling
        self.optimiser.step(factor)
        for group in self.side.param_groups:
            group["lr"] = SIDE_RATE * factor
        self.side.step()
        self.step_count += 1
        return Measured(sum(errors) / len(errors), bits.item())

    def _gradients(self, row: Tensor, chosen: Tensor) -> list[tuple[float, Tensor]]:
        """By each decoder, side by side. None is still at work when this ends, however it does."""
        # frames may be fewer than decoders
        futures = [self.pool.submit(self._gradient, row, decoder, part)
                   for decoder, part in zip(self.decoders, chosen.chunk(len(self.decoders)), strict=False)]
        try:
            return [future.result() for future in futures]
        finally:
            wait(futures)

    def _gradient(self, row: Tensor, decoder: Decoder, chosen: Tensor) -> tuple[float, Tensor]:
        """The error in some frames, and its gradient for all numbers (size,)."""
        row = row.clone().requires_grad_()
        source = self.frames[chosen].to(self.device).permute(0, 3, 1, 2) / 255.0
        with mixed_precision(torch.device(self.device).type):
            made = functional_call(decoder, self.layout.tensors(row), (chosen.to(self.device).float(),))
        error = (made - source).square().mean()
        (gradient,) = torch.autograd.grad(error, row)
        return error.item(), gradient

    def _next_frames(self) -> Tensor:
        if len(self.order) == 0:
            self.order = torch.randperm(self.config.frames, generator=self.random)
        chosen, self.order = self.order[:BATCH], self.order[BATCH:]
        return chosen
