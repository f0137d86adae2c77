"""A circuit as prior over the latents of `hyperprior`: what would it save?

The codec gives every latent symbol a table of its own and codes the symbols of a pass as if they were independent
given what is known before. In the cumulative probabilities of its table, a symbol is an interval of [0, 1), and if the
tables said everything, a number drawn from the interval would be uniform and independent of all others. A hidden
Chow-Liu tree over these numbers, of all channels and positions of a small block of latents, says what is left: the
probability of a symbol becomes the mass of its interval under the circuit, given the block's symbols that are known.
It is a proper distribution, so that it could be coded, and by the chain rule all symbols of a block together save

    log2 (mass of the intervals under the circuit / product of their widths)

bits, in whatever order they are coded. Latents, and so the decoded picture, stay as they are.

Train on a folder of photos and print what is saved on another, for example

    python docs/codecs/latent_circuit.py PHOTOS KODAK --qualities 20 50 80 --states 1 32

Beside a circuit for each quality there is one for all of them. One
state means no dependencies: what tables that are better calibrated for each channel would save by themselves.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs import files
from fewbits.codecs.circuit.em import Expectation, Parameters
from fewbits.codecs.circuit.tree import maximum_spanning_tree, mutual_information, rooted_at_centre
from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior.codec import QUALITY_CODES, HyperpriorCodec, _Picture
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.entropy_model import PASSES
from fewbits.codecs.image.hyperprior.latent_coder import Group
from fewbits.codecs.image_set import SUFFIXES
from fewbits.codecs.media import Image
from fewbits.entropy.tables import SymbolTables
from fewbits.kernels.ans import TOTAL

LATENTS, LOW = HyperpriorConfig.LATENTS, HyperpriorConfig.low_channels
VALIDATION_EVERY = 8  # training photos, of which one is for choosing among passes
HALF_CELLS = (0, 2**-11, 2**-9, 2**-8, 2**-7, 2**-6, 2**-5, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2)
CELLS = np.array(HALF_CELLS + tuple(1 - x for x in HALF_CELLS[-2::-1]))  # leaves are densities constant between these
TREE_CELLS = np.array([0, 1 / 64, 1 / 16, 1 / 4, 1 / 2, 3 / 4, 15 / 16, 63 / 64, 1])  # in which pairs are counted
TREE_BLOCKS = 40000  # that pairs are counted in


@dataclass(frozen=True)
class Intervals:
    """The interval of [0, 1) that each symbol of each table stands for. After them [0, 1), which means "no symbol
    here", and the `CELLS`, for numbers of which only the cell is known.

    Attributes:
        low, width: (entries,) float64; the first entries are those of `SymbolTables.frequencies`.
    """

    low: np.ndarray
    width: np.ndarray

    @classmethod
    def of(cls, tables: SymbolTables) -> "Intervals":
        ends = np.cumsum(tables.frequencies, dtype=np.int64) % TOTAL
        starts = np.concatenate([[0], ends[:-1]])
        return cls(np.concatenate([starts / TOTAL, [0], CELLS[:-1]]),
                   np.concatenate([tables.frequencies / TOTAL, [1], np.diff(CELLS)]))

    def ratios(self) -> Tensor:
        """Mass of each interval under the uniform distribution over each cell, against its width. (cells, entries)."""
        low, high, cells = self.low, self.low + self.width, CELLS[:, None]
        overlap = np.minimum(high, cells[1:]) - np.maximum(low, cells[:-1])
        return torch.from_numpy(np.maximum(overlap, 0) / (np.diff(CELLS)[:, None] * self.width)).float()

    def dithered(self, blocks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A number from the interval of each entry, uniformly."""
        return self.low[blocks] + self.width[blocks] * generator.random(blocks.shape)

    def cells_of(self, numbers: np.ndarray) -> np.ndarray:
        """The entries of the cells in which numbers lie."""
        first = len(self.low) - (len(CELLS) - 1)
        return (first + np.searchsorted(CELLS, numbers, "right") - 1).astype(np.uint16)


@dataclass(frozen=True)
class Photo:
    """What the codec makes of a photo.

    Attributes:
        entries: (blocks, D) uint16, which interval each symbol is; D = side * side * 192, row, column, channel.
        bits: ideal code length of all symbols by their tables, hyper-latents included.
    """

    entries: np.ndarray
    bits: float


class Coded:
    """Photos as intervals, at one quality.

    Args:
        side: of the blocks that a circuit looks at, in latents.
        dither: a number from each interval in its place.
    """

    def __init__(self, codec: HyperpriorCodec, quality: float, side: int, dither: bool) -> None:
        self.weights, self.device, self.side = codec._weights, codec.device, side
        self.dither = np.random.default_rng(0) if dither else None
        self.code = round(quality / 100 * QUALITY_CODES)
        self.tables = self.weights.coder.latent_tables
        self.intervals = Intervals.of(self.tables)

    @torch.inference_mode()
    def photo(self, image: Image) -> Photo:
        picture, blocks, bits = _Picture(self.weights, self.device, image), [], 0.0
        for (rows, columns), (_, groups) in zip(picture.tiles, picture.groups(self.code), strict=True):
            blocks.append(self._blocks(groups[1:], rows.stop - rows.start, columns.stop - columns.start))
            bits += sum(float(group.tables.bits(group.symbols, group.index)) for group in groups)
        entries = np.concatenate(blocks)
        if self.dither is not None:
            entries = self.intervals.cells_of(self.intervals.dithered(entries, self.dither))
        return Photo(entries, bits)

    def _blocks(self, groups: list[Group], height: int, width: int) -> np.ndarray:
        """Entries of a tile, block by block: (blocks, side * side * 192) uint16."""
        side, nothing = self.side, len(self.tables.frequencies)
        entries = np.full((height + -height % side, width + -width % side, LATENTS), nothing, np.uint16)
        for step, group in zip(PASSES, groups, strict=True):
            flat, begin = self._entries(group), 0
            channels = slice(0, LOW) if step.low else slice(LOW, None)
            for i, j in step.phases:
                part = entries[i:height:2, j:width:2, channels]
                part[:] = flat[begin : begin + part.size].reshape(part.shape)
                begin += part.size
        cut = entries.reshape(entries.shape[0] // side, side, entries.shape[1] // side, side, LATENTS)
        return cut.transpose(0, 2, 1, 3, 4).reshape(-1, side * side * LATENTS)

    def _entries(self, group: Group) -> np.ndarray:
        """Where the symbols of a group are in `SymbolTables.frequencies`; escapes are the last of their table."""
        tables, index = self.tables, group.index
        place = group.symbols - tables.lows[index]
        escape = tables.sizes[index] - 1
        place = np.where((place < 0) | (place > escape), escape, place)
        return (tables.offsets[index] + place).astype(np.uint16)


class IntervalExpectation(Expectation):
    """The E-step for intervals in place of values. `Parameters.components` are the intervals' ratios, which are fixed:
    (cells, entries + 1)."""

    def __call__(self, parameters: Parameters, images: Tensor, counts: Parameters | None = None) -> Tensor:
        """Log of the circuit's mass over the tables' mass, for each block: (N,) float64 in nats.

        Args:
            images: (N, D) entries, int64, as `arranged`.
        """
        emitted = parameters.components.t()[images.t()]
        log_ratio, beliefs = self.infer(parameters, emitted, counts)
        if counts is not None:
            counts.leaves.addcmul_(parameters.leaves, torch.bmm(beliefs, emitted))
        return log_ratio


@dataclass(frozen=True)
class Budget:
    """How much to train.

    Attributes:
        states: of each hidden variable.
        passes: over all blocks of the training photos, in batches.
        batch: blocks of a step.
        first_step, last_step: share of a batch in the average of counts; falls geometrically.
        pseudocount: see `Parameters.probabilities`. Rises evenly from 0.
        least_bits: variables that cost less, on average, are left to their tables.
    """

    states: int = 32
    passes: int = 6
    batch: int = 500
    first_step: float = 1.0
    last_step: float = 0.02
    pseudocount: float = 2.0
    least_bits: float = 2e-3


class LatentCircuit:
    """A circuit over the intervals of a block, and its training.

    Args:
        blocks: (N, D) uint16, of the training photos.
    """

    def __init__(self, intervals: Intervals, blocks: np.ndarray, budget: Budget) -> None:
        self.budget, generator = budget, np.random.default_rng(0)
        sample = blocks[generator.permutation(len(blocks))[:TREE_BLOCKS]]
        self.kept = np.flatnonzero(-np.log2(intervals.width)[sample].mean(0) >= budget.least_bits)
        bins = len(TREE_CELLS) - 1
        numbers = intervals.dithered(sample[:, self.kept], generator)
        binned = ((np.searchsorted(TREE_CELLS, numbers, "right") - 1) * (256 // bins)).astype(np.uint8)
        tree = rooted_at_centre(maximum_spanning_tree(mutual_information(binned, bins)))
        self.expectation = IntervalExpectation(tree)
        self.parameters = beginning(len(tree), budget.states, intervals.ratios())

    def arranged(self, blocks: np.ndarray) -> Tensor:
        """The variables of blocks (N, D) that the circuit has, in its order: (N, kept) uint16."""
        return self.expectation.arranged(blocks[:, self.kept])

    def train(self, blocks: np.ndarray, validation: np.ndarray) -> None:
        """Expectation-maximisation on batches with averaged counts; keeps what saves most in validation."""
        budget, images, held = self.budget, self.arranged(blocks), self.arranged(validation)
        counts = Parameters(*(t.clone() for t in self.parameters.tensors[:3]), torch.ones(1, 1))
        steps = -(-len(images) // budget.batch)
        best, most = self.parameters, -math.inf
        for number in range(budget.passes):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(number))
            total, began = 0.0, time.process_time()
            for step, chosen in enumerate(order.split(budget.batch)):
                share = (number + step / steps) / budget.passes
                batch, probabilities = Parameters.zeros_like(counts), self._probabilities(counts, share)
                total += float(self.expectation(probabilities, images[chosen].long(), batch).sum())
                counts.average_with(batch, len(images) / len(chosen),
                                    budget.first_step * (budget.last_step / budget.first_step) ** share)
            self.parameters = self._probabilities(counts, (number + 1) / budget.passes)
            saved = self._saving(held)
            print(f"  pass {number + 1}: saves {total / math.log(2) / len(images):.3f} bits a block in training, "
                  f"{saved / len(held):.3f} in validation ({time.process_time() - began:.0f} s)", flush=True)
            if saved > most:
                best, most = self.parameters, saved
        self.parameters = best

    def _probabilities(self, counts: Parameters, share: float) -> Parameters:
        return replace(counts.probabilities(share * self.budget.pseudocount), components=self.parameters.components)

    def _saving(self, images: Tensor) -> float:
        return sum(float(self.expectation(self.parameters, part.long()).sum())
                   for part in images.split(self.budget.batch)) / math.log(2)

    def saving(self, blocks: np.ndarray) -> float:
        """Bits that the circuit saves in blocks (N, D), against their tables."""
        return self._saving(self.arranged(blocks))


def beginning(nodes: int, states: int, ratios: Tensor) -> Parameters:
    """Where training begins: random rows, leaves about uniform. `ratios`: see `Intervals`."""
    generator = torch.Generator().manual_seed(0)

    def rows(*shape: int) -> Tensor:
        random = torch.rand(shape, generator=generator) ** 4 + 0.01
        return random / random.sum(-1, keepdim=True)

    widths = torch.from_numpy(np.diff(CELLS)).float()
    leaves = widths * (torch.rand((nodes, states, len(widths)), generator=generator) + 0.5)
    return Parameters(rows(states), rows(nodes, states, states), leaves / leaves.sum(-1, keepdim=True), ratios)


def opened(folder: Path, most: int | None = None) -> Iterator[Image]:
    """Photos of a folder, in the order of their names or, where there are more than `most`, some of them mixed."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if most is not None:
        paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:most]]
    return (Image.open(path) for path in paths)


def some(blocks: list[np.ndarray], most: int) -> np.ndarray:
    """At most that many of the blocks of some photos, mixed."""
    joined = np.concatenate(blocks)
    return joined[np.random.default_rng(0).permutation(len(joined))[:most]]


@dataclass(frozen=True)
class TestSet:
    """The photos that are measured, at one quality: `photos`, and the `sizes` of their files in bytes."""

    photos: list[Photo]
    sizes: list[int]

    @classmethod
    def of(cls, coded: Coded, codec: HyperpriorCodec, quality: float, folder: Path) -> "TestSet":
        target = Target(quality=quality)
        return cls([coded.photo(image) for image in opened(folder)],
                   [len(files.encode(image, codec.name, target).data) for image in opened(folder)])

    def tables_error(self) -> float:
        """How far files are from what their tables say, in per cent."""
        return 100 * (8 * sum(self.sizes) / sum(p.bits for p in self.photos) - 1)

    def savings(self, circuit: LatentCircuit) -> str:
        """Savings in per cent of the files, as cells of a table: all together, the least and the most of a photo."""
        saved, bits = np.array([circuit.saving(p.entries) for p in self.photos]), 8.0 * np.array(self.sizes)
        each = 100 * saved / bits
        return f"{100 * saved.sum() / bits.sum():.2f} | {each.min():.2f} .. {each.max():.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path, help="folder of photos to train on")
    parser.add_argument("test", type=Path, help="folder of photos to measure")
    parser.add_argument("--qualities", type=float, nargs="+", default=[50.0])
    parser.add_argument("--states", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--side", type=int, default=1, help="of a block, in latents")
    parser.add_argument("--photos", type=int, default=160, help="to train on")
    parser.add_argument("--blocks", type=int, default=150000, help="to train on")
    parser.add_argument("--passes", type=int, default=Budget.passes)
    parser.add_argument("--dither", action="store_true", help="a number drawn from each interval in its place, in "
                        "training and in measuring: a lower bound of the saving")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codec, qualities = HyperpriorCodec(), arguments.qualities
    photos = list(opened(arguments.training, arguments.photos))
    tests, training, validation = {}, {}, {}
    for quality in qualities:
        coded = Coded(codec, quality, arguments.side, arguments.dither)
        blocks = [coded.photo(image).entries for image in photos]
        training[quality] = some([b for i, b in enumerate(blocks) if i % VALIDATION_EVERY], arguments.blocks)
        validation[quality] = some(blocks[::VALIDATION_EVERY], arguments.blocks // 10)
        test = tests[quality] = TestSet.of(coded, codec, quality, arguments.test)
        print(f"quality {quality:g}: {sum(test.sizes)} bytes of files, {test.tables_error():+.3f} % against the bits "
              "by tables", flush=True)
    rows = []
    for group in [[q] for q in qualities] + [qualities] * (len(qualities) > 1):
        train, held = (some([part[q] for q in group], arguments.blocks) for part in (training, validation))
        for states in arguments.states:
            budget = Budget(states, passes=arguments.passes if states > 1 else 2)
            circuit = LatentCircuit(coded.intervals, train, budget)
            names = ", ".join(f"{q:g}" for q in group)
            print(f"trained on quality {names}: {states} states, {len(circuit.kept)} variables", flush=True)
            circuit.train(train, held)
            size = len(circuit.kept)
            rows += [f"| {q:g} | {names} | {states} | {size} | {tests[q].savings(circuit)} |" for q in group]
    print("\n| quality | trained on | states | variables | saved (%) | of one photo (%) |", "|---|---|---|---|---|---|",
          *rows, sep="\n")


if __name__ == "__main__":
    main()
