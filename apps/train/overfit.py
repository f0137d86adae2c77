"""Recipe: train the starts of the `overfit` image codec: networks and analysis filters, three decoders at six rates.

A start is what fits of many pictures would agree on. So the recipe is a fit itself: crops of photos have latents of
their own, as in the encoder, and one set of networks for all. For the first rate, three random beginnings are tried
and the best one goes on; half way, filters are fitted to the latents that were found, and all latents begin anew from
what the filters propose, which frees them from the accidents of the beginning.

Pictures disagree, in their colours above all. So there are several kinds of starts, found as k-means finds clusters:
each crop goes to the start from which a short fit of it comes farthest, and each start is fitted to the crops that
came to it. The encoder takes the kind whose proposal costs least. Other rates go on from the neighbouring one, kind by
kind. Each finished decoder is kept, and an interrupted run goes on after the last.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np

from fewbits.apps.train.checkpoints import replaced
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.image.overfit.analysis import fitted_filters, propose
from fewbits.codecs.image.overfit.architecture import CONTEXT_NETWORKS, GRIDS, SIZES, DecoderSize
from fewbits.codecs.image.overfit.fit import Fit, Schedule
from fewbits.codecs.image.overfit.networks import rounded
from fewbits.codecs.image.overfit.objective import Cost, Objective
from fewbits.codecs.image.overfit.parameters import Parameters
from fewbits.codecs.image.overfit.soap import Soap
from fewbits.codecs.image.overfit.starts import Start, Starts, context_tables, save_starts
from fewbits.codecs.media import Image
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import InputError
from fewbits.kernels.synthesis import COLOURS

TRADES = (0.0018, 0.0006, 0.0002, 0.0055, 0.016, 0.045)  # lambdas, in the order of training
RETURN_TO_FIRST = 3  # which of them goes on from the first instead of the one before
KINDS = (4, 4, 1)  # of starts, for each of `SIZES`; the large decoder is fitted so long that it matters little
FEWEST_CROPS = 3  # of a kind: with fewer, its start stays as it is
LATER_TEMPERATURES = (0.3, 0.1)  # of fits that others go on from
VALIDATION_EVERY = 90  # every 90th photo of the folder is kept out of training


@dataclass(frozen=True)
class Budget:
    """How much to train.

    Attributes:
        crops, side: how many crops of how many pixels; all are kept in memory with their latents.
        batch, kind_batch: crops of a step, of all kinds together and of one kind.
        trial, first, second: steps of each random beginning, of the first fit, of the one that begins with filters.
        candidates, alone: how many crops are fitted alone, in how many steps, as possible beginnings of kinds.
        rounds, short, kind: how often crops choose their kind, after fits of how many steps, and the steps of each
            kind's fit that follows.
        further: steps of each kind at each rate.
    """

    crops: int = 48
    side: int = 256
    batch: int = 8
    kind_batch: int = 4
    beginnings: int = 3
    trial: int = 300
    first: int = 1400
    second: int = 1600
    candidates: int = 14
    alone: int = 200
    rounds: int = 3
    short: int = 30
    kind: int = 300
    further: int = 500


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

    def start(self, trade: float) -> Start:
        """The present networks, and the filters that propose the present latents best."""
        filters = fitted_filters([o.target for o in self.objectives],
                                 [[grid.latents for grid in o.grids] for o in self.objectives])
        return Start(rounded(dict(self.parameters.views)), filters, trade)

    def propose(self, filters: np.ndarray) -> None:
        """Sets all latents to a proposal."""
        for objective in self.objectives:
            for grid, latents in zip(objective.grids, propose(objective.target, filters), strict=True):
                grid.latents[:] = latents


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
    """Where the first fit begins: context networks pass their inputs on and expect scales of 1/2, planes are upsampled
    linearly, the synthesis mixes all of them into grey."""
    generator, parameters = np.random.default_rng(seed), Parameters(size)
    for name, view in parameters.views.items():
        if name == "upsampling":
            view[:] = 0, 0.25, 0.75, 0
        elif name.startswith("synthesis.") and not name.startswith("synthesis.residual.") and view.ndim == 2:
            view[:] = generator.normal(0, 0.1, view.shape)
        elif name.endswith("second.weight"):
            view[:] = np.eye(len(view)) + generator.normal(0, 0.1, view.shape)
        elif name.startswith("context.") and view.ndim == 2:
            view[:] = generator.normal(0, 0.05 if name.endswith("last.weight") else view.shape[1] ** -0.5, view.shape)
    for number in range(CONTEXT_NETWORKS):
        parameters[f"context.{number}.first.weight"][-2:] = 0
        parameters[f"context.{number}.first.bias"][-1] = -1
    parameters["synthesis.first.weight"][-COLOURS:] += np.float32(0.1)
    return parameters


def train(data: Path, run: Path, weights: Path, budget: Budget = Budget(), progress: Progress = no_progress,
          report: Callable[[str], None] = print) -> None:
    """Trains all starts and writes the file that is shipped.

    Args:
        data: a folder of photos. run: a folder for the starts of finished decoders; those that are there are kept.
    """
    run.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        for number, size in enumerate(SIZES):
            if not _kept(run, size).exists():
                training = SizeTraining(number, load_crops(data, budget, number + 1), budget, pool, progress, report)
                _keep(_kept(run, size), training.starts())
    export(run, weights)
    report(f"{weights}: {weights.stat().st_size / 1e6:.2f} MB")


@dataclass(frozen=True)
class SizeTraining:
    """The training of all starts of one decoder, an index of `SIZES`."""

    number: int
    crops: list[np.ndarray]
    budget: Budget
    pool: ThreadPoolExecutor
    progress: Progress
    report: Callable[[str], None]
    tables: SymbolTables = field(default_factory=context_tables)

    def starts(self) -> list[Start]:
        """All rates and kinds."""
        result: list[Start] = []
        kinds = first = self._kinds(self._first_start())
        for number, trade in enumerate(TRADES):
            kinds = self._fitted_kinds(first if number == RETURN_TO_FIRST else kinds, trade, self.budget.further)
            first = first if number else kinds
            result += kinds
        return result

    def _first_start(self) -> Start:
        """The start for all crops at the first rate: the best of some beginnings, then with latents of its own, then
        with proposed ones."""
        size, budget, trials = SIZES[self.number], self.budget, []
        for seed in range(budget.beginnings):
            trial = JointFit(self.crops[:16], random_parameters(size, seed), self.pool)
            trial.run(TRADES[0], Schedule(0, budget.trial, temperature=(0.3, 0.2)), budget.batch, self._watch)
            trials.append((trial.rounded_total(TRADES[0]), seed, trial.parameters))
        fit = JointFit(self.crops, min(trials)[2], self.pool)
        fit.run(TRADES[0], Schedule(0, budget.first, temperature=LATER_TEMPERATURES), budget.batch, self._watch)
        fit.propose(fit.start(TRADES[0]).filters)
        fit.run(TRADES[0], Schedule(0, budget.second), budget.batch, self._watch)
        return fit.start(TRADES[0])

    def _kinds(self, first: Start) -> list[Start]:
        """Kinds of starts at the first rate: the given one, those fits of single crops that serve other crops best
        beside it, and what becomes of them."""
        if KINDS[self.number] == 1:
            return [first]
        crops = self.crops[: self.budget.candidates]
        alone = list(self.pool.map(lambda crop: self._short_fit(crop, first, self.budget.alone), crops))
        candidates = [first, *(replace(first, networks=rounded(dict(fit.parameters.views))) for fit in alone)]
        table = self._costs(crops, candidates)
        table[range(len(crops)), range(1, len(candidates))] = table[:, 0]  # of itself a crop tells nothing
        chosen = [0]
        while len(chosen) < KINDS[self.number]:
            with_each = np.minimum(table[:, chosen].min(1, keepdims=True), table)
            chosen.append(int(np.log(with_each).mean(0).argmin()))
        kinds = [candidates[number] for number in chosen]
        for _ in range(self.budget.rounds):
            kinds = self._fitted_kinds(kinds, first.trade, self.budget.kind)
        return kinds

    def _costs(self, crops: list[np.ndarray], starts: list[Start]) -> np.ndarray:
        """Bits a pixel, error included, of short fits of each crop (rows) from each start (columns)."""
        pairs = [(crop, start) for crop in crops for start in starts]
        fits = self.pool.map(lambda pair: self._short_fit(*pair, self.budget.short).rounded_total(), pairs)
        return np.reshape(list(fits), (len(crops), len(starts))) / self.budget.side**2

    def _fitted_kinds(self, kinds: list[Start], trade: float, steps: int) -> list[Start]:
        """Kinds that are fitted to the crops that choose them."""
        kinds = [replace(kind, trade=trade) for kind in kinds]
        table = self._costs(self.crops, kinds)
        chosen = table.argmin(1)
        self.report(f"{SIZES[self.number].name}, lambda {trade}: {table.min(1).mean():.4f} bits a pixel after "
                    f"{self.budget.short} steps, error included; kinds have {np.bincount(chosen).tolist()} crops")
        result = []
        for number, kind in enumerate(kinds):
            members = [crop for crop, choice in zip(self.crops, chosen, strict=True) if choice == number]
            result.append(self._fitted_kind(kind, members, steps) if len(members) >= FEWEST_CROPS else kind)
        return result

    def _fitted_kind(self, kind: Start, members: list[np.ndarray], steps: int) -> Start:
        fit = JointFit(members, Parameters.from_networks(SIZES[self.number], kind.networks), self.pool)
        fit.propose(kind.filters)
        fit.run(kind.trade, Schedule(0, steps, temperature=LATER_TEMPERATURES), self.budget.kind_batch, self._watch)
        return fit.start(kind.trade)

    def _short_fit(self, crop: np.ndarray, start: Start, steps: int) -> Fit:
        """The fit of one crop, from a start."""
        by_size = tuple((start,) if number == self.number else () for number in range(len(SIZES)))
        fit = Fit(crop, Schedule(self.number, steps), start.trade, Starts(self.tables, by_size), Objective)
        while fit.steps_done < steps:
            fit.step()
        return fit

    def _watch(self, share: float) -> None:
        self.progress(share, f"{SIZES[self.number].name} decoder")


def export(run: Path, weights: Path) -> None:
    """Writes the file of starts from the finished decoders of a run."""
    by_size = [sorted(_starts_kept(_kept(run, size), size), key=lambda start: start.trade) for size in SIZES]
    with replaced(weights) as temporary:
        save_starts(temporary, by_size, context_tables(), {"date": f"{date.today()}", "grids": f"{GRIDS}"})


def _kept(run: Path, size: DecoderSize) -> Path:
    return run / f"{size.name}.npz"


def _keep(path: Path, starts: list[Start]) -> None:
    arrays = {name: np.stack([start.networks[name] for start in starts]) for name in starts[0].networks}
    with replaced(path) as temporary:
        np.savez(temporary, trades=[start.trade for start in starts], filters=[start.filters for start in starts],
                 **arrays)


def _starts_kept(path: Path, size: DecoderSize) -> list[Start]:
    with np.load(path) as kept:
        return [Start({name: kept[name][number] for name in size.shapes()}, kept["filters"][number], float(trade))
                for number, trade in enumerate(kept["trades"])]
