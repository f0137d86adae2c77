"""Recipe: train a circuit of the codec `circuit-tree` on a set of images.

The tree comes from the mutual information of pixels. Parameters begin at random and come from expectation-maximisation
on batches, whose counts are averaged with steps that grow smaller. The last passes count all images before a step. In
the end, small transitions are pruned as far as that costs nothing.
(Tried and worse: to begin with fewer states and split each in two later on; to begin with states that are clusters of
what lies around each pixel.)

One image in `VALIDATION_EVERY` is kept out; the parameters that code these best are kept. A run that was interrupted
goes on from its last pass over the images.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewbits.apps.train.checkpoints import latest, replaced, save_checkpoint
from fewbits.apps.train.ranks import by_first, of_first, rank, summed, world
from fewbits.codecs.circuit.circuit import Circuit
from fewbits.codecs.circuit.codec import circuit_bits
from fewbits.codecs.circuit.em import Expectation, Parameters, log_likelihood
from fewbits.codecs.circuit.tree import Tree, chow_liu_tree
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.image_set import ImageSet
from fewbits.errors import InputError

VALIDATION_EVERY = 20
TREE_IMAGES = 20000  # that pairs of pixels are counted in
PRUNED_BELOW = range(128, 256, 8)  # codes that are tried
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Budget:
    """How much to train.

    Attributes:
        states: of each hidden variable.
        components: that all pixels share.
        passes: over all images, in batches.
        whole_passes: in the end, with one step a pass.
        batch: images of a step, of all ranks together: each takes its share of them, and the result is the same.
        first_step, last_step: share of a batch in the average of counts; falls geometrically with the passes.
        pseudocount: see `Parameters.probabilities`. It rises evenly from 0 with the passes: smoothing makes states
            alike, and early on would keep them so.
    """

    states: int = 64
    components: int = 16
    passes: int = 24
    whole_passes: int = 2
    batch: int = 250
    first_step: float = 1.0
    last_step: float = 0.05
    pseudocount: float = 2.0


@dataclass
class State:
    """Where a run is.

    Attributes:
        counts: averaged counts.
        best: the probabilities that code the validation images best, in `best_bits` bits a sample.
        done: passes so far.
        history: a line a pass: passes, bits a sample of training and of validation images.
    """

    counts: Parameters
    best: Parameters
    best_bits: float
    done: int
    history: list[tuple[int, float, float]]


def train(data: ImageSet, run: Path, weights: Path, budget: Budget = Budget(), device: str = "cpu",
          progress: Progress = no_progress, report: Callable[[str], None] = print) -> None:
    """Trains a circuit and writes the file that is shipped, with a model card beside it.

    Several ranks train together (`apps/train/ranks.py`).

    Args:
        data: the images. run: a folder for checkpoints; a run that is there goes on.

    Raises:
        InputError: if there are too few images.
    """
    run.mkdir(parents=True, exist_ok=True)
    training = Training(data, run, budget, device, by_first(progress), by_first(report))
    training.go_on()
    if rank():
        return
    circuit = pruned(training.circuit(), training.held_out)
    with replaced(weights) as temporary:
        circuit.save(temporary, {"date": f"{date.today()}", "passes": f"{training.state.done}"})
    bits = circuit_bits(training.held_out, circuit.compiled()) / training.held_out.size
    report(f"{weights}: {weights.stat().st_size / 1e6:.2f} MB, {bits:.4f} bits a sample of the validation images")
    with replaced(weights.with_suffix(".md")) as card:
        card.write_text(_card(weights, training, bits, float((circuit.transitions == 0).mean())))


def pruned(circuit: Circuit, images: np.ndarray) -> Circuit:
    """The circuit with its smallest transitions brought to the least weight, as many as cost no bits.

    Args:
        images: (N, H, W, C) that the bits are counted for.

    The weights file shrinks. (M. Dang, A. Liu, G. Van den Broeck, "Sparse Probabilistic Circuits via Pruning and
    Growing", NeurIPS 2022, goes on to grow what is left.)
    """
    allowed, result = circuit_bits(images, circuit.compiled()), circuit
    for below in PRUNED_BELOW:
        transitions = np.where(circuit.transitions < below, np.uint8(0), circuit.transitions)
        candidate = replace(circuit, transitions=transitions)
        if circuit_bits(images, candidate.compiled()) > allowed:
            break
        result = candidate
    return result


class Training:
    """One run.

    Attributes:
        held_out: the validation images (N, H, W, C).
        state: where it is.
    """

    def __init__(self, data: ImageSet, run: Path, budget: Budget, device: str, progress: Progress,
                 report: Callable[[str], None]) -> None:
        kept = np.arange(data.count) % VALIDATION_EVERY != 0
        if kept.sum() < 2:
            raise InputError("Training needs three images at least, and thousands to be of use.")
        self.held_out, self.shape = data.samples[~kept], (data.height, data.width, data.channels)
        self.budget, self.progress, self.report = budget, progress, report
        self._checkpoint, samples = run / CHECKPOINT, data.samples[kept]
        saved = self._saved()
        flat = samples.reshape(len(samples), -1)
        tree = Tree(*saved["tree"]) if saved else of_first(chow_liu_tree(flat[:: -(-len(flat) // TREE_IMAGES)]))
        self.expectation = Expectation(tree, device)
        self.images = self.expectation.arranged(samples)
        self._validation = self.expectation.arranged(self.held_out)
        self.state = _state_from(saved, device) if saved else self._beginning()

    def _beginning(self) -> State:
        random = Parameters.random(self.images, self.budget.states, self.budget.components, seed=0)
        return State(random, random, math.inf, 0, [])

    def _saved(self) -> dict | None:
        """What the last checkpoint says. Raises `InputError` if it is of another run."""
        saved = of_first(latest(self._checkpoint))
        if saved and (saved["budget"] != asdict(self.budget) or saved["shape"] != self.shape):
            raise InputError(f"{self._checkpoint} belongs to another training: give another folder with -o.")
        return saved

    def go_on(self) -> None:
        """Trains what is left to train."""
        for number in range(self.state.done, self.budget.passes + self.budget.whole_passes):
            if number < self.budget.passes:
                self._keep(self._pass(number), self._probabilities((number + 1) / self.budget.passes))
            else:
                self._keep(self._whole_pass(number), self._probabilities(1.0))

    def _pass(self, number: int) -> float:
        """One pass in batches; the log-likelihood of all images on the way."""
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(number))
        images, total, budget = self.images[order.to(self.images.device)], 0.0, self.budget
        for begin in range(0, len(images), budget.batch):
            batch = images[begin : begin + budget.batch]
            share = (number + begin / len(images)) / budget.passes
            counts = Parameters.zeros_like(self.state.counts)
            total += self._expect(self._probabilities(share), batch, counts)
            step = budget.first_step * (budget.last_step / budget.first_step) ** share
            self.state.counts.average_with(counts, len(images) / len(batch), step)
            self._watch(number, (begin + len(batch)) / len(images))
        return total

    def _whole_pass(self, number: int) -> float:
        """One step of plain expectation-maximisation; the log-likelihood of all images before it."""
        counts = Parameters.zeros_like(self.state.counts)
        total = self._expect(self._probabilities(1.0), self.images, counts, lambda share: self._watch(number, share))
        self.state.counts = counts
        return total

    def _expect(self, probabilities: Parameters, images: Tensor, counts: Parameters | None = None,
                report: Callable[[float], None] = lambda share: None) -> float:
        """The log-likelihood of images (N, D), which the ranks divide among them; `counts` are then those of all."""
        own = images[rank() :: world()]
        total = log_likelihood(self.expectation, probabilities, own, self.budget.batch, counts, report)
        for tensor in counts.tensors if counts else ():
            summed(tensor)
        return float(summed(torch.tensor(total, dtype=torch.float64)))

    def _probabilities(self, share: float) -> Parameters:
        """What the present counts say, at a share of the passes in batches."""
        return self.state.counts.probabilities(share * self.budget.pseudocount)

    def _watch(self, number: int, share: float) -> None:
        total = self.budget.passes + self.budget.whole_passes
        self.progress((number + share) / total, f"pass {number + 1} of {total}")

    def _keep(self, likelihood: float, probabilities: Parameters) -> None:
        """Validates and writes a checkpoint after a pass."""
        state = self.state
        held = self._expect(probabilities, self._validation)
        trained, validated = _bits(likelihood, self.images), _bits(held, self._validation)
        if validated < state.best_bits:
            state.best, state.best_bits = probabilities, validated
        state.done += 1
        state.history.append((state.done, trained, validated))
        if rank() == 0:
            self._save()
        self.report(f"pass {state.done}: {trained:.4f} bits a sample in training, {validated:.4f} in validation")

    def _save(self) -> None:
        """Writes a checkpoint."""
        state, tree = self.state, self.expectation.tree
        saved = {"budget": asdict(self.budget), "shape": self.shape, "tree": (tree.pixels, tree.depths),
                 "counts": state.counts.tensors, "best": state.best.tensors, "best_bits": state.best_bits,
                 "done": state.done, "history": state.history}
        save_checkpoint(saved, self._checkpoint)

    def circuit(self) -> Circuit:
        """The best circuit so far."""
        return self.expectation.circuit(self.state.best, self.shape)


def _state_from(saved: dict, device: str) -> State:
    counts, best = (Parameters(*(tensor.to(device) for tensor in saved[name])) for name in ("counts", "best"))
    return State(counts, best, saved["best_bits"], saved["done"], saved["history"])


def _bits(log_likelihood: float, images: Tensor) -> float:
    """Bits a sample from the log-likelihood of all images."""
    return -log_likelihood / math.log(2) / images.numel()


def _card(weights: Path, training: Training, bits: float, pruned_share: float) -> str:
    """The model card in Markdown."""
    height, width, channels = training.shape
    rows = "\n".join(f"| {done} | {trained:.4f} | {validated:.4f} |"
                     for done, trained, validated in training.state.history)
    budget = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in asdict(training.budget).items())
    return f"""# {weights.name}

A circuit of the codec `circuit-tree`, made by `fewbits train circuit-tree`.

- Date: {date.today()}
- Images: {len(training.images)} of {width} x {height} x {channels} samples; {len(training.held_out)} more, which are
  every {VALIDATION_EVERY}th, kept out for validation
- Size: {weights.stat().st_size} bytes
- Validation images: {bits:.4f} bits a sample with the file's integer parameters, {training.state.best_bits:.4f}
  before they were rounded and {pruned_share:.0%} of the transitions pruned
{budget}

Bits a sample, pass by pass (of training images on the way, before the pass has its effect):

| pass | training | validation |
|---|---|---|
{rows}
"""
