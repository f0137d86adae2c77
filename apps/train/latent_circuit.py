"""Recipe: train the circuit of `hyperprior`, its prior over the latents of a position.

Photos are coded at three qualities, so that one circuit serves all rates. In the cumulative frequencies of its table,
each symbol is an interval; if the tables said everything, numbers from these intervals would be uniform and
independent. The tree comes from the mutual information of such numbers, channel by channel; parameters begin at random
and come from expectation-maximisation over the intervals themselves. What the circuit saves is log2 of the mass of the
intervals against the product of their widths.

Photos are a random choice of the folder, each also at half its size, which has finer colours. One in
`VALIDATION_EVERY` is kept out; the parameters that save most there are kept.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from fewbits.apps.train.checkpoints import replaced
from fewbits.codecs.circuit.em import Expectation, Parameters
from fewbits.codecs.circuit.tree import maximum_spanning_tree, mutual_information, rooted_at_centre
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.image.hyperprior.codec import WEIGHTS
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.latent_circuit import (
    LATENTS,
    CircuitPrior,
    LatentCircuit,
)
from fewbits.codecs.image.hyperprior.latent_coder import LatentCoder, QuantisedTile
from fewbits.codecs.image.hyperprior.passes import HYPER_PASSES, passes_of
from fewbits.codecs.image.hyperprior.picture import QUALITY_CODES, Picture
from fewbits.codecs.image.hyperprior.weights import Weights, load_weights
from fewbits.codecs.media import Image
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import InputError
from fewbits.kernels.ans import TOTAL

QUALITIES = (20.0, 50.0, 80.0)
VALIDATION_EVERY = 8
HALF_EDGES = (0, 2**-11, 2**-9, 2**-8, 2**-7, 2**-6, 2**-5, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2)
EDGES = (TOTAL * np.array(HALF_EDGES + tuple(1 - x for x in HALF_EDGES[-2::-1]))).astype(np.int64)
"""Cells of the leaves, finer towards the ends."""
TREE_EDGES = TOTAL * np.array([0, 1 / 64, 1 / 16, 1 / 4, 1 / 2, 3 / 4, 15 / 16, 63 / 64, 1])  # cells to count pairs in
TREE_POSITIONS = 40000  # that pairs are counted in


@dataclass(frozen=True)
class Budget:
    """How much to train.

    Attributes:
        states: of each hidden variable.
        photos: at all sizes and qualities; fewer where the folder has fewer.
        positions: of the latents, out of all of these.
        passes: over these positions, in batches.
        batch: positions of a step.
        first_step, last_step: share of a batch in the average of counts; falls geometrically.
        pseudocount: see `Parameters.probabilities`. Rises evenly from 0.
        least_bits: channels whose symbols cost less, on average, are left to their tables.
    """

    states: int = 8
    photos: int = 400
    positions: int = 400000
    passes: int = 6
    batch: int = 500
    first_step: float = 1.0
    last_step: float = 0.02
    pseudocount: float = 2.0
    least_bits: float = 2e-3


def train(data: Path, weights: Path, budget: Budget = Budget(), base: Path = WEIGHTS,
          progress: Progress = no_progress, report: Callable[[str], None] = print) -> None:
    """Trains a circuit and writes the file that is shipped, with a model card beside it.

    Args:
        data: a folder of photos. base: the weights of `hyperprior` to train for.

    Raises:
        InputError: if there are too few photos, or a file that is none.
    """
    loaded = load_weights(base, "cpu")
    training: list[np.ndarray] = []  # entries alone: tiles of all photos would take gigabytes
    held_out: list[CodedPhoto] = []
    for number, photo in enumerate(_coded(data, loaded, budget.photos, progress)):
        if number % VALIDATION_EVERY:
            training.append(photo.entries)
        else:
            held_out.append(photo)
    learner = Learner(loaded.coder.residuals.latent_tables, _positions(training, budget.positions), budget)
    validation = _positions([photo.entries for photo in held_out], budget.positions // 10)
    history = learner.train(validation, progress, report)
    circuit = learner.circuit(loaded.identity)
    with replaced(weights) as temporary:
        circuit.save(temporary, {"date": f"{date.today()}"})
    savings = _savings(circuit, loaded.coder, held_out)
    for quality, saved in savings.items():
        report(f"quality {quality:g}: {saved:.2f} % saved of the validation photos")
    photo_counts = len(training), len(held_out)
    with replaced(weights.with_suffix(".md")) as card:
        card.write_text(_card(weights, budget, photo_counts, learner, history, savings))


@dataclass(frozen=True)
class CodedPhoto:
    """A photo at all sizes and qualities.

    Attributes:
        tiles: all of them, quality by quality.
        entries: (positions, 192) uint16, where symbols are in `SymbolTables.frequencies`; of all qualities together.
    """

    tiles: dict[float, list[QuantisedTile]]
    entries: np.ndarray

    @classmethod
    @torch.inference_mode()
    def of(cls, sizes: list[Image], weights: Weights) -> "CodedPhoto":
        """From the photo at its sizes."""
        pictures = [Picture(weights, "cpu", image) for image in sizes]
        tiles = {quality: [tile for picture in pictures
                           for tile in picture.quantised(round(quality / 100 * QUALITY_CODES))]
                 for quality in QUALITIES}
        entries = [_entries(tile, weights.coder.config) for own in tiles.values() for tile in own]
        return cls(tiles, np.concatenate(entries))


def _coded(folder: Path, weights: Weights, most: int, progress: Progress) -> Iterator[CodedPhoto]:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if len(paths) < 2:
        raise InputError(f"{folder} needs two photos at least, one for training and one for validation.")
    chosen = np.random.default_rng(0).permutation(len(paths))[:most]
    for number, place in enumerate(chosen.tolist()):
        photo = PillowImage.fromarray(Image.open(paths[place]).rgb())
        half = photo.resize((photo.width // 2, photo.height // 2), PillowImage.Resampling.LANCZOS)
        yield CodedPhoto.of([Image(np.array(size)) for size in (photo, half)], weights)
        progress((number + 1) / len(chosen), "coding photos")


def _entries(tile: QuantisedTile, config: HyperpriorConfig) -> np.ndarray:
    """The symbols of a tile in one section, position by position: (positions, 192) uint16 as in `CodedPhoto`."""
    (groups,) = tile.sections
    whole = np.empty((tile.height, tile.width, LATENTS), np.uint16)
    for step, group in zip(passes_of(config), groups[len(HYPER_PASSES) :], strict=True):
        entries, begin = group.tables.offsets[group.index] + group.tables.entries(group.symbols, group.index)[0], 0
        for rows, columns in step.places():
            phase = whole[rows, columns, step.channels]
            phase[:] = entries[begin : begin + phase.size].reshape(phase.shape)
            begin += phase.size
    return whole.reshape(-1, LATENTS)


def _positions(photos: list[np.ndarray], most: int) -> np.ndarray:
    """At most that many of the positions of some photos, given as `CodedPhoto.entries`, mixed."""
    joined = np.concatenate(photos)
    return joined[np.random.default_rng(0).permutation(len(joined))[:most]]


@dataclass(frozen=True)
class Intervals:
    """What each entry of the tables stands for.

    Attributes:
        lows, widths: (entries,) float64, its interval in 0..2**24.
        ratios: (cells, entries) float32, the share of each cell that lies in the interval, over the interval's share of
            2**24.
    """

    lows: np.ndarray
    widths: np.ndarray
    ratios: Tensor

    @classmethod
    def of(cls, tables: SymbolTables) -> "Intervals":
        widths = tables.frequencies.astype(np.float64)
        highs = (np.cumsum(tables.frequencies, dtype=np.int64) - 1) % TOTAL + 1.0
        lows, cells = highs - widths, EDGES[:, None]
        overlaps = np.maximum(np.minimum(highs, cells[1:]) - np.maximum(lows, cells[:-1]), 0)
        ratios = overlaps / np.diff(EDGES)[:, None] * (TOTAL / widths)
        return cls(lows, widths, torch.from_numpy(ratios).float())

    def drawn(self, entries: np.ndarray) -> np.ndarray:
        """A number from the interval of each entry, uniformly."""
        return self.lows[entries] + self.widths[entries] * np.random.default_rng(0).random(entries.shape)


class IntervalExpectation(Expectation):
    """The E-step for intervals in place of values. `Parameters.components` are `Intervals.ratios`, which are fixed."""

    def __call__(self, parameters: Parameters, images: Tensor, counts: Parameters | None = None) -> Tensor:
        """Log of the circuit's mass over that of the tables, for each position: (N,) float64 in nats.

        Args:
            images: (N, D) entries, int64, as `arranged`.
        """
        emitted = parameters.components.t()[images.t()]
        log_ratio, beliefs = self.infer(parameters, emitted, counts)
        if counts is not None:
            counts.leaves.addcmul_(parameters.leaves, torch.bmm(beliefs, emitted))
        return log_ratio


class Learner:
    """A circuit and its training.

    Attributes:
        channels: (D,) int64, those that are variables.

    Args:
        tables: those of the latents.
        positions: (N, 192) uint16, to train on.
    """

    def __init__(self, tables: SymbolTables, positions: np.ndarray, budget: Budget) -> None:
        self.budget, intervals = budget, Intervals.of(tables)
        sample = positions[:TREE_POSITIONS]
        self.channels = np.flatnonzero(tables.code_lengths()[sample].mean(0) >= budget.least_bits)
        bins = len(TREE_EDGES) - 1
        cells = np.searchsorted(TREE_EDGES, intervals.drawn(sample[:, self.channels]), "right") - 1
        information = mutual_information((cells * (256 // bins)).astype(np.uint8), bins)
        tree = rooted_at_centre(maximum_spanning_tree(information))
        self._expectation = IntervalExpectation(tree)
        self._parameters = _beginning(len(tree), budget.states, intervals.ratios)
        self._positions = self._arranged(positions)

    def _arranged(self, positions: np.ndarray) -> Tensor:
        return self._expectation.arranged(positions[:, self.channels])

    def train(self, held_out: np.ndarray, progress: Progress, report: Callable[[str], None]
              ) -> list[tuple[float, float]]:
        """Expectation-maximisation on batches with averaged counts; keeps what saves most of `held_out` (N, 192).

        Returns:
            Bits saved a position, in training (on the way) and in validation, after each pass.
        """
        validation, history, best = self._arranged(held_out), [], self._parameters
        counts = Parameters(*(tensor.clone() for tensor in self._parameters.tensors[:3]), torch.ones(1, 1))
        for number in range(self.budget.passes):
            trained = self._pass(number, counts) / math.log(2) / len(self._positions)
            self._parameters = self._probabilities(counts, (number + 1) / self.budget.passes)
            validated = self._saving(validation) / math.log(2) / len(validation)
            if validated > max((before for _, before in history), default=-math.inf):
                best = self._parameters
            history.append((trained, validated))
            report(f"pass {number + 1}: {trained:.3f} bits saved a position in training, {validated:.3f} in validation")
            progress((number + 1) / self.budget.passes, "training")
        self._parameters = best
        return history

    def _pass(self, number: int, counts: Parameters) -> float:
        """One pass; what the circuit saves on the way, in nats."""
        budget, positions, total = self.budget, self._positions, 0.0
        order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(number))
        for begin in range(0, len(positions), budget.batch):
            chosen = order[begin : begin + budget.batch]
            share = (number + begin / len(positions)) / budget.passes
            batch, probabilities = Parameters.zeros_like(counts), self._probabilities(counts, share)
            total += float(self._expectation(probabilities, positions[chosen].long(), batch).sum())
            step = budget.first_step * (budget.last_step / budget.first_step) ** share
            counts.average_with(batch, len(positions) / len(chosen), step)
        return total

    def _probabilities(self, counts: Parameters, share: float) -> Parameters:
        """What counts say, at a share of the training."""
        smoothed = counts.probabilities(share * self.budget.pseudocount)
        return replace(smoothed, components=self._parameters.components)

    def _saving(self, positions: Tensor) -> float:
        """What the circuit saves, in nats."""
        return sum(float(self._expectation(self._parameters, part.long()).sum())
                   for part in positions.split(self.budget.batch))

    def circuit(self, belongs_to: bytes) -> LatentCircuit:
        """The circuit with integers for parameters; see `LatentCircuit.belongs_to`."""
        tree = self._expectation.tree
        root, transitions, leaves = (tensor.double().numpy() for tensor in self._parameters.tensors[:3])
        places = np.argsort(self._expectation.order)
        return LatentCircuit.from_probabilities(tree, self.channels, EDGES, root, transitions[places], leaves[places],
                                                belongs_to)


def _beginning(nodes: int, states: int, ratios: Tensor) -> Parameters:
    """Where training begins: random rows, leaves about uniform."""
    generator = torch.Generator().manual_seed(0)

    def rows(*shape: int) -> Tensor:
        random = torch.rand(shape, generator=generator) ** 4 + 0.01
        return random / random.sum(-1, keepdim=True)

    widths = torch.from_numpy(np.diff(EDGES) / TOTAL).float()
    leaves = widths * (torch.rand((nodes, states, len(widths)), generator=generator) + 0.5)
    return Parameters(rows(states), rows(nodes, states, states), leaves / leaves.sum(-1, keepdim=True), ratios)


def _savings(circuit: LatentCircuit, coder: LatentCoder, photos: list[CodedPhoto]) -> dict[float, float]:
    """What the circuit, with its integers, saves of the sections of photos at each quality, in per cent."""
    with_circuit = coder.with_prior(CircuitPrior(circuit, coder.config, coder.residuals.latent_tables))
    result = {}
    for quality in QUALITIES:
        tiles = [tile for photo in photos for tile in photo.tiles[quality]]
        before, after = (sum(which.estimate_bits(tile)[0] for tile in tiles) for which in (coder, with_circuit))
        result[quality] = 100 * (1 - after / before)
    return result


def _card(weights: Path, budget: Budget, photos: tuple[int, int], learner: Learner,
          history: list[tuple[float, float]], savings: dict[float, float]) -> str:
    """The model card in Markdown."""
    lines = "\n".join(f"- {name.replace('_', ' ')}: {value:,}" for name, value in asdict(budget).items())
    passes = "\n".join(f"| {number + 1} | {a:.3f} | {b:.3f} |" for number, (a, b) in enumerate(history))
    saved = "\n".join(f"| {quality:g} | {share:.2f} |" for quality, share in savings.items())
    return f"""# {weights.name}

Circuit of the image codec `hyperprior`, a prior over its latents, made by `fewbits train hyperprior-circuit`.

- Date: {date.today()}
- Data: {photos[0]} photos and their halves; {photos[1]} more were kept out for validation
- Size: {weights.stat().st_size} bytes, {len(learner.channels)} variables of {LATENTS} channels
{lines}

Saved of the sections of the validation photos, with the file's integer parameters:

| quality | saved (%) |
|---|---|
{saved}

Bits saved a position of the latents, pass by pass (of training positions on the way, before the pass has its effect):

| pass | training | validation |
|---|---|---|
{passes}
"""
