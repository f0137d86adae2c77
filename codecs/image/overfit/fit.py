"""One picture being fitted: its latents, its networks, and a step of both.

Soft rounding and noise stand for rounding and are annealed towards it, as in C3 and Cool-Chic. What is new here is
where a fit begins (networks and an analysis that were trained once, and are shipped) and how little a step costs
(compiled kernels that go forward and back while a block is in the cache).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fewbits.codecs.image.overfit.analysis import propose
from fewbits.codecs.image.overfit.architecture import CONTEXT_NETWORKS, GRIDS, SIZES, DecoderSize
from fewbits.codecs.image.overfit.networks import Networks
from fewbits.codecs.image.overfit.objective import Cost, Objective
from fewbits.codecs.image.overfit.parameters import Parameters
from fewbits.codecs.image.overfit.rounding import Rounding
from fewbits.codecs.image.overfit.soap import Soap
from fewbits.codecs.image.overfit.starts import Starts

if TYPE_CHECKING:
    from fewbits.codecs.image.overfit.torch_objective import TorchObjective

PRICE = 1.0  # of parameters: how much of their estimated bits counts
LEAST_SCALE = 2.0**-8  # of a tensor's differences from the start


@dataclass(frozen=True)
class Schedule:
    """How a fit goes.

    Attributes:
        size: the decoder, an index of `SIZES`.
        steps: of the fit.
        latent_rate, network_rate: learning rates at the beginning. That of latents falls to about 0 along a cosine,
            that of networks in the second half only.
        temperature, noise: of soft rounding, at the beginning and at the end.
    """

    size: int
    steps: int
    latent_rate: float = 0.08
    network_rate: float = 8e-3
    temperature: tuple[float, float] = (0.3, 0.05)
    noise: tuple[float, float] = (0.25, 0.12)

    def at(self, share: float) -> tuple[float, float, float, float]:
        """Latent rate, network rate, temperature and noise when a share of the steps is done."""
        late = max(2 * share - 1, 0.0)
        return (1e-3 + self.latent_rate * _half_cosine(share), self.network_rate * _half_cosine(late),
                self.temperature[0] + share * (self.temperature[1] - self.temperature[0]),
                self.noise[0] + share * (self.noise[1] - self.noise[0]))


def _half_cosine(share: float) -> float:
    """From 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * share))


Objectives = Callable[[np.ndarray, DecoderSize, int], "Objective | TorchObjective"]


class Fit:
    """One picture being fitted.

    Args:
        rgb: (H, W, 3) uint8.
        trade: lambda, the worth of a bit a pixel in mean squared error of samples in 0..1.
        objectives: makes the objective of a picture, for a size of the decoder and a finest grid.
        only_biases: leave the networks those of the start, but for a few biases that take next to no bits.
    """

    def __init__(self, rgb: np.ndarray, schedule: Schedule, trade: float, starts: Starts, objectives: Objectives,
                 only_biases: bool = False) -> None:
        self.rgb, self.schedule, self.trade, self.starts, self.objectives = rgb, schedule, trade, starts, objectives
        self.size = SIZES[schedule.size]
        self.objective = objectives(rgb, self.size, 0)
        self.rounding: Rounding | None = None
        self.steps_done = 0
        begin = self._begin_with_mean_colour if only_biases else self._begin_with_proposal
        every = list(range(starts.count(schedule.size)))  # what expects few bits suits a picture without content
        begin(self._cheapest(every if only_biases else starts.nearest(schedule.size, trade), begin))
        self.origin = Parameters.from_networks(self.size, self.start_networks).flat
        self.optimiser = Soap(self.parameters)
        self._free = Parameters(self.size)
        for name, view in self._free.views.items():
            view[...] = name in _cheap_biases(self.size) or not only_biases

    def _cheapest(self, candidates: list[int], begin: Callable[[int], None]) -> int:
        """The start with which it costs least to begin; where there is no choice, nothing is tried."""
        def cost(start: int) -> float:
            begin(start)
            return self.rounded_total()

        return min(candidates, key=cost) if len(candidates) > 1 else candidates[0]

    def _begin_with_proposal(self, start: int) -> None:
        """Networks of a start, and latents as its analysis proposes them."""
        self._begin_with_networks(start)
        filters = self.starts.by_size[self.schedule.size][start].filters
        for grid, latents in zip(self.objective.grids, propose(self.objective.target, filters), strict=True):
            grid.latents[:] = latents

    def _begin_with_networks(self, start: int) -> None:
        self.start = start
        self.parameters = Parameters.from_networks(self.size, self.start_networks)

    def _begin_with_mean_colour(self, start: int) -> None:
        """Networks of a start, latents of 0, and a bias that gives the mean colour: all that a picture without content
        needs."""
        self._begin_with_networks(start)
        self.rounded_cost()
        missing = (self.objective.target + np.float32(0.5) - self.objective.picture).mean((1, 2))
        self.parameters[f"synthesis.residual.{self.size.residual_layers - 1}.bias"][...] += missing

    @property
    def start_networks(self) -> Networks:
        """What differences are coded from."""
        return self.starts.networks(self.schedule.size, self.start)

    @property
    def pixels(self) -> int:
        return self.rgb.shape[0] * self.rgb.shape[1]

    def step(self) -> Cost:
        """One step of all that is fitted; the cost of the relaxed latents before it."""
        latent_rate, network_rate, temperature, noise = self.schedule.at(self.steps_done / self.schedule.steps)
        gradient = Parameters(self.size)
        self.objective.relax(temperature, noise, self.steps_done + 1)
        cost = self.objective.cost(self.rounded_parameters(), self.trade, gradient)
        self._add_price(gradient)
        gradient.flat *= self._free.flat
        self.optimiser.step(gradient, network_rate)
        self.objective.descend(latent_rate, self.steps_done + 1)
        self.steps_done += 1
        return cost

    def rounded_parameters(self) -> Parameters:
        """The parameters as a file would have them, from where it is known how they are rounded."""
        if self.rounding is None:
            return self.parameters
        return Parameters.from_networks(self.size, self.rounding.networks(self.parameters))

    def _add_price(self, gradient: Parameters) -> None:
        """The bits of the parameters: those of a Laplacian for each tensor about its start."""
        difference = Parameters(self.size, self.parameters.flat - self.origin)
        for name, view in difference.views.items():
            scale = np.abs(view).mean() + LEAST_SCALE
            gradient[name][...] += PRICE / np.log(2) / scale * np.sign(view)

    def psnr(self, cost: Cost) -> float:
        """PSNR of the last pass, whose cost is given, in dB."""
        error = cost.squared_error
        if self.objective.perceptual:  # the cost has something else in its place
            error = float(np.square(self.objective.picture - self.objective.target - np.float32(0.5)).sum())
        return -10 * math.log10(max(error / (3 * self.pixels), 1e-10))

    def rounded_cost(self) -> Cost:
        """The cost of rounded latents."""
        self.objective.relax(0.0, 0.0, 0)
        return self.objective.cost(self.parameters, self.trade, Parameters(self.size))

    def total(self, cost: Cost) -> float:
        """Bits and the worth of the error in bits."""
        return cost.bits + cost.squared_error / (3 * self.trade)

    def rounded_total(self) -> float:
        """Bits of rounded latents, and the worth of their error in bits."""
        return self.total(self.rounded_cost())

    def rounded_share(self, tensor: str) -> float:
        """The part of that in which a tensor of the parameters has a say."""
        self.objective.relax(0.0, 0.0, 0)
        return self.objective.share(self.parameters, self.trade, tensor)

    def drop_finest_if_it_pays(self) -> None:
        """Goes on without the grid of full resolution where that costs nothing; a step takes a third then."""
        if self.objective.finest:
            return
        finest = self.objective.grids[0]
        before, kept = self.rounded_total(), finest.latents.copy()
        finest.latents[:] = 0
        if self.rounded_total() > before:
            finest.latents[:] = kept
            return
        objective = self.objectives(self.rgb, self.size, 1)
        for new, old in zip(objective.grids, self.objective.grids[1:], strict=True):
            new.latents[:], new.first[:], new.second[:] = old.latents, old.first, old.second
        self.objective = objective

    def integers(self) -> list[np.ndarray | None]:
        """The rounded latents of grids 0 to 6."""
        grids = [np.floor(grid.latents + np.float32(0.5)).astype(np.int32) for grid in self.objective.grids]
        return [None] * (GRIDS - len(grids)) + grids


def _cheap_biases(size: DecoderSize) -> set[str]:
    """Parameters that stay free in the fit of a picture that is not worth networks of its own: how likely zeros are
    in each grid, and a colour."""
    return ({f"context.{number}.first.bias" for number in range(CONTEXT_NETWORKS)}
            | {f"synthesis.residual.{size.residual_layers - 1}.bias"})
