"""Fits latents and networks to one picture: what the encoder spends its time on.

Soft rounding and noise stand for rounding and are annealed towards it, as in C3 and Cool-Chic. What is new here is
where a fit begins (networks and an analysis that were trained once, and are shipped) and how little a step costs
(compiled kernels that go forward and back while a block is in the cache).
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fewbits.codecs.codec import Progress, Target
from fewbits.codecs.image.overfit.aims import Aim, aim_of
from fewbits.codecs.image.overfit.analysis import propose
from fewbits.codecs.image.overfit.architecture import GRIDS, SIZES
from fewbits.codecs.image.overfit.fitted import Fitted
from fewbits.codecs.image.overfit.objective import Cost, Objective
from fewbits.codecs.image.overfit.parameters import Parameters
from fewbits.codecs.image.overfit.rounding import Rounding, leave_unchanged_what_pays_not
from fewbits.codecs.image.overfit.starts import Starts

ROUNDING_BEGINS = 0.8  # share of the steps after which networks are used rounded, as a file has them
LEAST_SCALE = 2.0**-8  # of a tensor's differences from the start
PRICE = 1.0  # of parameters: how much of their estimated bits counts
FINEST_CHECKS = (0.15, 0.5)  # shares of the steps after which the finest grid may be dropped


@dataclass(frozen=True)
class Schedule:
    """How a fit goes.

    Attributes:
        size: the decoder, an index of `SIZES`.
        steps: of the fit.
        latent_rate, network_rate: learning rates at the beginning; they fall to about 0 along a cosine.
        temperature, noise: of soft rounding, at the beginning and at the end.
    """

    size: int
    steps: int
    latent_rate: float = 0.1
    network_rate: float = 4e-3
    temperature: tuple[float, float] = (0.3, 0.06)
    noise: tuple[float, float] = (0.25, 0.12)

    def at(self, share: float) -> tuple[float, float, float, float]:
        """Latent rate, network rate, temperature and noise when a share of the steps is done."""
        cosine = 0.5 * (1 + np.cos(np.pi * share))
        return (1e-3 + self.latent_rate * cosine, self.network_rate * cosine,
                self.temperature[0] + share * (self.temperature[1] - self.temperature[0]),
                self.noise[0] + share * (self.noise[1] - self.noise[0]))


SCHEDULES = {1: Schedule(0, 60), 2: Schedule(0, 420), 3: Schedule(0, 1000), 4: Schedule(1, 1600), 5: Schedule(1, 3000),
             6: Schedule(2, 6000), 7: Schedule(2, 11_000), 8: Schedule(2, 22_000), 9: Schedule(2, 44_000)}
"""By effort. With two cores and 768x512: about 4 s, 20 s, 40 s, 90 s, 3 min, 8 min, 15 min, 30 min, an hour."""


class NetworkOptimiser:
    """Adam (arXiv 1412.6980) for the parameters of the networks."""

    DECAYS = (0.9, 0.99)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.first, self.second = np.zeros_like(parameters.flat), np.zeros_like(parameters.flat)
        self.count = 0

    def step(self, gradient: Parameters, rate: float) -> None:
        self.count += 1
        decay1, decay2 = self.DECAYS
        self.first += (1 - decay1) * (gradient.flat - self.first)
        self.second += (1 - decay2) * (np.square(gradient.flat) - self.second)
        root = np.sqrt(self.second / (1 - decay2**self.count)) + 1e-8
        self.parameters.flat -= np.float32(rate / (1 - decay1**self.count)) * self.first / root


class Fit:
    """One picture being fitted.

    Args:
        rgb: (H, W, 3) uint8.
        trade: lambda, the worth of a bit a pixel in mean squared error of samples in 0..1.
    """

    def __init__(self, rgb: np.ndarray, schedule: Schedule, trade: float, starts: Starts,
                 pool: ThreadPoolExecutor) -> None:
        self.rgb, self.schedule, self.trade, self.starts, self.pool = rgb, schedule, trade, starts, pool
        self.size = SIZES[schedule.size]
        self.start = starts.nearest(schedule.size, trade)
        self.parameters = Parameters.from_networks(self.size, starts.networks(schedule.size, self.start))
        self.objective = Objective(rgb, self.size, 0, pool)
        self.optimiser = NetworkOptimiser(self.parameters)
        filters = starts.by_size[schedule.size][self.start].filters
        for grid, latents in zip(self.objective.grids, propose(self.objective.target, filters), strict=True):
            grid.latents[:] = latents
        self.origin = self.parameters.flat.copy()
        self.rounding: Rounding | None = None
        self.steps_done = 0

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
        objective = Objective(self.rgb, self.size, 1, self.pool)
        for new, old in zip(objective.grids, self.objective.grids[1:], strict=True):
            new.latents[:], new.first[:], new.second[:] = old.latents, old.first, old.second
        self.objective = objective

    def integers(self) -> list[np.ndarray | None]:
        """The rounded latents of grids 0 to 6."""
        grids = [np.floor(grid.latents + np.float32(0.5)).astype(np.int32) for grid in self.objective.grids]
        return [None] * (GRIDS - len(grids)) + grids


def fit(rgb: np.ndarray, target: Target, starts: Starts, progress: Progress) -> Fitted:
    """Fits a decoder to a picture.

    Args:
        rgb: (H, W, 3) uint8.
        target: an aim of rate is for all sections of the file together.

    Raises:
        KeyboardInterrupt: when interrupted, unless the target asks for the best so far.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        schedule = SCHEDULES[target.effort]
        aim = aim_of(target, rgb.shape[0] * rgb.shape[1])
        work = Fit(rgb, schedule, aim.first_trade, starts, pool)
        try:
            _run(work, aim, progress)
        except KeyboardInterrupt:
            if not target.keep_best:
                raise
        progress(1.0, "rounding networks")
        return _finish(work, aim)


def _run(work: Fit, aim: Aim, progress: Progress) -> None:
    """All steps, with the trade steered towards the aim."""
    steps, begun = work.schedule.steps, time.monotonic()
    checks = {max(int(share * steps), 1) for share in FINEST_CHECKS}
    while work.steps_done < steps:
        cost = work.step()
        if work.steps_done in checks:
            work.drop_finest_if_it_pays()
        if work.steps_done == int(ROUNDING_BEGINS * steps):
            work.rounding = Rounding(work)
        if aim.wants_look(work.steps_done, steps):
            work.trade = aim.steered(work.trade, work.rounded_cost(), work.pixels)
        left = (time.monotonic() - begun) * (steps / work.steps_done - 1)
        progress(work.steps_done / steps, _report(cost, work.pixels, left))


def _finish(work: Fit, aim: Aim) -> Fitted:
    """The integers of the fit."""
    rounding = work.rounding or Rounding(work)
    networks = rounding.networks(work.parameters)
    work.parameters = Parameters.from_networks(work.size, networks)
    networks = leave_unchanged_what_pays_not(work, networks, rounding.shifts)
    return Fitted(work.schedule.size, work.start, work.objective.finest, networks, rounding.shifts, work.integers())


def _report(cost: Cost, pixels: int, seconds_left: float) -> str:
    psnr = -10 * np.log10(max(cost.squared_error / (3 * pixels), 1e-10))
    return f"fitting: {cost.bits / pixels:.3f} bpp, {psnr:.2f} dB, {seconds_left:.0f} s left"
