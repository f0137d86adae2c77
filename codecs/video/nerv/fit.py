"""Fits the decoder of a group of frames: distortion plus rate, by gradient descent."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from fewbits.codecs.video.nerv.config import NervConfig
from fewbits.codecs.video.nerv.decoder import Decoder
from fewbits.codecs.video.nerv.layout import Layout
from fewbits.codecs.video.nerv.optimiser import RowOptimiser
from fewbits.codecs.video.nerv.rate import RatedNumbers, UnratedNumbers

BATCH = 2  # frames of a step
WARMUP = 50  # steps
ROUNDED_SHARE = 0.3  # of the steps, the last ones
SIDE_RATE = 0.01  # of steps and scales, in logarithms
START_SPREAD = 0.5  # of the embedding
START_SIDE = 4  # pixels along a side that the embedding begins with at each place
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
        start: tensors to begin with, those of another group's network of the same width.
    """

    def __init__(self, frames: Tensor, config: NervConfig, steps: int, start: dict[str, Tensor] | None = None,
                 device: str = "cpu") -> None:
        self.frames, self.config, self.steps, self.device = frames, config, steps, device
        self.layout = Layout(config)
        # a decoder for each frame of a step, since threads cannot share one
        self.decoders = [Decoder(config).to(device, memory_format=torch.channels_last) for _ in range(BATCH)]
        of = RatedNumbers if config.design.rated else UnratedNumbers
        self.numbers = of(self.layout, self._first_row() if start is None else self._row_after(start)).to(device)
        self.optimiser = RowOptimiser(self.layout, self.numbers.row)
        side = [parameter for name, parameter in self.numbers.named_parameters() if name != "row"]
        self.side = torch.optim.Adam([{"params": side}], SIDE_RATE, betas=(0.9, 0.99))
        self.step_count, self._order = 0, torch.empty(0, dtype=torch.long)
        self.pool = ThreadPoolExecutor(BATCH)

    def _first_row(self) -> Tensor:
        """Numbers (size,) to begin with where nothing is known."""
        decoder = Decoder(self.config)
        decoder.begin()
        return self.layout.row(dict(decoder.named_parameters()) | {"embedding": self._principal_components()}).detach()

    def _row_after(self, start: dict[str, Tensor]) -> Tensor:
        """Those of another group's network. Its embedding is of other frames: all begin as its last one."""
        last = start["embedding"][-1:]
        return self.layout.row(start | {"embedding": last.expand(self.config.embedding_steps, -1, -1, -1)})

    def _principal_components(self) -> Tensor:
        """An embedding that follows the frames: what varies most in them, much reduced."""
        rows, columns = self.config.coarsest
        shown = self.frames[:: self.config.design.frames_a_step]
        size = START_SIDE * rows, START_SIDE * columns
        small = torch.stack([F.adaptive_avg_pool2d(frame.permute(2, 0, 1) / 255.0, size) for frame in shown])
        features = F.pixel_unshuffle(small, START_SIDE).movedim(1, -1)
        flat = features.flatten(0, 2) - features.mean((0, 1, 2))
        channels = self.config.design.embedding_channels
        _, directions = torch.linalg.eigh(flat.T @ flat)
        found = flat @ directions.flip(1)[:, :channels]
        found = START_SPREAD * found / (found.std(0) + 1e-3)
        embedding = torch.zeros(self.config.embedding_steps, channels, rows, columns)
        embedding[: len(shown), : found.shape[1]] = found.unflatten(0, features.shape[:3]).movedim(-1, 1)
        embedding[len(shown) :] = embedding[len(shown) - 1]
        return embedding

    @property
    def share(self) -> float:
        """Of the steps, those done; more than 1 where there were more."""
        return self.step_count / self.steps

    def step(self, trade: float) -> Measured:
        """One step on a few frames.

        Args:
            trade: what a bit for each pixel costs, as an error.
        """
        self.numbers.rounded = self.share >= 1 - ROUNDED_SHARE
        chosen = self._next_frames()
        row, bits = self.numbers()
        results = self.pool.map(partial(self._gradient, row.detach()), self.decoders, chosen.split(1))
        errors, gradients = zip(*results, strict=True)
        for parameter in self.numbers.parameters():
            parameter.grad = None
        (row @ (sum(gradients) / len(chosen)) + trade / self.config.pixels * bits).backward()
        falling = max(0.5 * (1 + math.cos(math.pi * min(self.share, 1))), LAST_RATE)
        factor = min(1, (self.step_count + 1) / WARMUP) * falling
        self.optimiser.step(factor)
        for group in self.side.param_groups:
            group["lr"] = SIDE_RATE * factor
        self.side.step()
        self.step_count += 1
        return Measured(sum(errors) / len(errors), bits.item())

    def _gradient(self, row: Tensor, decoder: Decoder, chosen: Tensor) -> tuple[float, Tensor]:
        """The error in some frames, and its gradient for all numbers (size,)."""
        row = row.clone().requires_grad_()
        source = self.frames[chosen].to(self.device).permute(0, 3, 1, 2) / 255.0
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            made = functional_call(decoder, self.layout.tensors(row), (chosen.to(self.device).float(),))
        error = (made - source).square().mean()
        (gradient,) = torch.autograd.grad(error, row)
        return error.item(), gradient

    def _next_frames(self) -> Tensor:
        if len(self._order) == 0:
            self._order = torch.randperm(self.config.frames)
        chosen, self._order = self._order[:BATCH], self._order[BATCH:]
        return chosen
