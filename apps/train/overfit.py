"""Recipe: train the starts of the `overfit` image codec: networks and analysis filters, three decoders at five rates.

A start is what fits of many pictures would agree on. So the recipe is a fit itself: crops of photos have latents of
their own, as in the encoder, and one set of networks for all. For the first rate, three random beginnings are tried
and the best one goes on; half way, filters are fitted to the latents that were found, and all latents begin anew from
what the filters propose, which frees them from the accidents of the beginning. The other rates go on from the
neighbouring one. Each finished start is kept, and an interrupted run goes on after the last.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.image.overfit.analysis import fitted_filters, propose
from fewbits.codecs.image.overfit.architecture import GRIDS, SIZES, DecoderSize
from fewbits.codecs.image.overfit.fit import Schedule
from fewbits.codecs.image.overfit.networks import initial_networks, rounded
from fewbits.codecs.image.overfit.objective import Cost, Objective
from fewbits.codecs.image.overfit.parameters import Parameters
from fewbits.codecs.image.overfit.soap import Soap
from fewbits.codecs.image.overfit.starts import Start, context_tables, save_starts
from fewbits.codecs.media import Image
from fewbits.errors import InputError

TRADES = (0.0018, 0.0006, 0.0002, 0.0055, 0.016)  # lambdas, in the order of training
RETURN_TO_FIRST = 3  # which of them goes on from the first instead of the one before
VALIDATION_EVERY = 90  # every 90th photo of the folder is kept out of training


@dataclass(frozen=True)
class Budget:
    """How much to train.

    Attributes:
        crops, side: how many crops of how many pixels; all are kept in memory with their latents.
        batch: crops of a step.
        trial, first, second, further: steps of each random beginning, of the first fit, of the one that begins with
            filters, and of each further rate.
    """

    crops: int = 40
    side: int = 256
    batch: int = 8
    beginnings: int = 3
    trial: int = 300
    first: int = 1400
    second: int = 1600
    further: int = 900


class JointFit:
    """Crops with latents of their own and networks in common."""

    def __init__(self, crops: list[np.ndarray], parameters: Parameters, pool: ThreadPoolExecutor) -> None:
        self.parameters, self.pool = parameters, pool
        self.objectives = [Objective(crop, parameters.size, 0) for crop in crops]

    def run(self, trade: float, schedule: Schedule, batch: int, report: Callable[[float], None] = lambda share: None
            ) -> None:
        """Fits for a number of steps, each with some of the crops; the latents' optimiser begins anew."""
        optimiser = Soap(self.parameters)
        counts = [0] * len(self.objectives)
        for objective in self.objectives:
            for grid in objective.grids:
                grid.first[:] = grid.second[:] = 0
        for step, chosen in zip(range(schedule.steps), _batches(len(self.objectives), batch), strict=False):
            latent_rate, network_rate, temperature, noise = schedule.at(step / schedule.steps)

            def one(number: int, settings: tuple[float, float, float, int] = (latent_rate, temperature, noise, step)
                    ) -> np.ndarray:
                rate, warmth, spread, seed = settings
                objective, gradient = self.objectives[number], Parameters(self.parameters.size)
                counts[number] += 1
                objective.relax(warmth, spread, 64 * seed + number)
                objective.cost(self.parameters, trade, gradient)
                objective.descend(rate, counts[number])
                return gradient.flat

            total = Parameters(self.parameters.size, np.sum(list(self.pool.map(one, chosen)), axis=0) / len(chosen))
            optimiser.step(total, network_rate)
            report((step + 1) / schedule.steps)

    def rounded_total(self, trade: float) -> float:
        """Bits and worth of the error in bits, a pixel, with rounded latents."""
        def one(objective: Objective) -> Cost:
            objective.relax(0.0, 0.0, 0)
            return objective.cost(self.parameters, trade, Parameters(self.parameters.size))

        costs = list(self.pool.map(one, self.objectives))
        pixels = sum(o.height * o.width for o in self.objectives)
        return sum(c.bits + c.squared_error / (3 * trade) for c in costs) / pixels

    def filters(self) -> np.ndarray:
        """Of the analysis that proposes the present latents best."""
        return fitted_filters([o.target for o in self.objectives],
                              [[grid.latents for grid in o.grids] for o in self.objectives])

    def propose(self, filters: np.ndarray) -> None:
        """Sets all latents to a proposal."""
        self.set_latents([propose(o.target, filters) for o in self.objectives])

    def latents(self) -> list[list[np.ndarray]]:
        return [[grid.latents.copy() for grid in o.grids] for o in self.objectives]

    def set_latents(self, latents: list[list[np.ndarray]]) -> None:
        for objective, grids in zip(self.objectives, latents, strict=True):
            for grid, values in zip(objective.grids, grids, strict=True):
                grid.latents[:] = values


def _batches(count: int, batch: int) -> Iterator[list[int]]:
    """Numbers of crops, without end, each crop as often as any other."""
    generator, left = np.random.default_rng(0), list[int]()
    while True:
        if len(left) < batch:
            left = generator.permutation(count).tolist()
        yield [left.pop() for _ in range(min(batch, count))]


def load_crops(folder: Path, budget: Budget, seed: int) -> list[np.ndarray]:
    """Random crops (side, side, 3) uint8 of random photos, every source (the first word of a file's name) alike.

    Raises:
        InputError: if there are no photos that are large enough.
    """
    sources: dict[str, list[Path]] = {}
    for number, path in enumerate(sorted(p for p in folder.iterdir() if p.is_file())):
        if number % VALIDATION_EVERY:
            sources.setdefault(path.stem.split("_")[0], []).append(path)
    generator, crops = np.random.default_rng(seed), []
    for tried in range(100 * budget.crops):
        if not sources or len(crops) == budget.crops:
            break
        paths = list(sources.values())[tried % len(sources)]
        rgb = Image.open(paths[generator.integers(len(paths))]).rgb()
        if min(rgb.shape[:2]) >= budget.side:
            top, left = (generator.integers(length - budget.side + 1) for length in rgb.shape[:2])
            crops.append(rgb[top : top + budget.side, left : left + budget.side])
    if len(crops) < budget.crops:
        raise InputError(f"{folder} has too few photos of {budget.side} x {budget.side} pixels or more.")
    return crops


def random_parameters(size: DecoderSize, seed: int) -> Parameters:
    """Where the first fit begins: the synthesis mixes all planes, context networks expect scales of 1/2."""
    parameters = Parameters(size)
    for name, values in initial_networks(size, seed).items():
        parameters[name][...] = values
    return parameters


def train(data: Path, run: Path, weights: Path, budget: Budget = Budget(), progress: Progress = no_progress,
          report: Callable[[str], None] = print) -> None:
    """Trains all starts and writes the file that is shipped.

    Args:
        data: a folder of photos. run: a folder for finished starts; those that are there already are kept.
    """
    run.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        for number, size in enumerate(SIZES):
            if not all(_kept(run, size, trade).exists() for trade in TRADES):
                _train_size(load_crops(data, budget, number + 1), size, run, budget, pool, progress, report)
    export(run, weights)
    report(f"{weights}: {weights.stat().st_size / 1e6:.2f} MB")


def _train_size(crops: list[np.ndarray], size: DecoderSize, run: Path, budget: Budget, pool: ThreadPoolExecutor,
                progress: Progress, report: Callable[[str], None]) -> None:
    """All starts of one decoder."""
    fit, first = None, None
    for number, trade in enumerate(TRADES):
        def watch(share: float, what: str = f"{size.name} decoder, lambda {trade}") -> None:
            progress(share, what)

        if fit is None:
            fit = _first_fit(crops, size, trade, budget, pool, watch)
            first = fit.parameters.flat.copy(), fit.latents()
        else:
            if number == RETURN_TO_FIRST and first is not None:
                fit.parameters.flat[:] = first[0]
                fit.set_latents(first[1])
            fit.run(trade, Schedule(0, budget.further), budget.batch, watch)
        np.savez(_kept(run, size, trade), filters=fit.filters(), **fit.parameters.views)
        report(f"{size.name}, lambda {trade}: {fit.rounded_total(trade):.4f} bits a pixel, error included")


def _first_fit(crops: list[np.ndarray], size: DecoderSize, trade: float, budget: Budget, pool: ThreadPoolExecutor,
               watch: Callable[[float], None]) -> JointFit:
    """The fit at the first rate: the best of some beginnings, then with latents of its own, then with proposed ones."""
    trials = []
    for seed in range(budget.beginnings):
        trial = JointFit(crops[:16], random_parameters(size, seed), pool)
        trial.run(trade, Schedule(0, budget.trial, temperature=(0.3, 0.2)), budget.batch, watch)
        trials.append((trial.rounded_total(trade), seed, trial.parameters))
    fit = JointFit(crops, min(trials)[2], pool)
    fit.run(trade, Schedule(0, budget.first, temperature=(0.3, 0.1)), budget.batch, watch)
    fit.propose(fit.filters())
    fit.run(trade, Schedule(0, budget.second), budget.batch, watch)
    return fit


def export(run: Path, weights: Path) -> None:
    """Writes the file of starts from the finished starts of a run."""
    by_size = []
    for size in SIZES:
        starts = []
        for trade in sorted(TRADES):
            with np.load(_kept(run, size, trade)) as kept:
                starts.append(Start(rounded({name: kept[name] for name in size.shapes()}), kept["filters"], trade))
        by_size.append(starts)
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_starts(weights, by_size, context_tables(), {"date": f"{date.today()}", "grids": f"{GRIDS}"})


def _kept(run: Path, size: DecoderSize, trade: float) -> Path:
    return run / f"{size.name}-{trade}.npz"
