"""Recipe: train the network that guesses lost cells of `vqextreme`, for weights that are finished.

Photos are coded once, each at two of the rates. A batch is of windows of such grids of cells at one rate, from which
chunks are lost as they are in a file, one or two of five. The loss is the code length of the lost indices.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.apps.train.checkpoints import replaced
from fewbits.apps.train.hyperprior import load_photos
from fewbits.apps.train.vqextreme_export import coded
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.image.vqextreme.cells import CHUNKS
from fewbits.codecs.image.vqextreme.config import CELL, RATES
from fewbits.codecs.image.vqextreme.index_coder import CellIndices
from fewbits.codecs.image.vqextreme.model import VqExtremeModel
from fewbits.codecs.image.vqextreme.restoration import RestorationConfig, RestorationNetwork, known_entries, scores
from fewbits.codecs.image.vqextreme.weights import load_weights, save_restoration
from fewbits.codecs.precision import mixed_precision
from fewbits.errors import InputError

CODED_EVERY = 2  # every second photo, of all sizes together, is coded at each rate


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    minutes: float
    batch: int = 24
    window: int = 8  # cells on a side
    rate: float = 1e-3
    warmup: int = 100  # steps


def train(data: Path, weights: Path, out: Path, schedule: Schedule, seed: int = 0,
          report: Callable[[str], None] = print, progress: Progress = no_progress) -> None:
    """Trains for the weights file `weights` and writes the network to the file `out`, with a model card beside it.

    Raises:
        InputError: if no photo is large enough.
        WeightsError: if the weights cannot be read.
    """
    torch.manual_seed(seed)
    random_state = random.Random(seed)
    finished = load_weights(weights, "cpu")
    training, validation = load_photos(data)
    least = CELL * schedule.window
    large, held = ([p for p in photos if min(p.shape[1:]) >= least] for photos in (training, validation))
    if not large or not held:
        raise InputError(f"Too few photos in {data} have {least} x {least} pixels or more.")
    grids = [list(coded(finished.model, large[n % CODED_EVERY :: CODED_EVERY], n)) for n in range(len(RATES))]
    tested = [list(coded(finished.model, held, n)) for n in range(len(RATES))]
    report(f"{sum(map(len, grids))} photos coded")
    network = RestorationNetwork(RestorationConfig(dimensions=finished.model.config.dimensions))
    optimiser = torch.optim.AdamW(network.parameters(), schedule.rate, betas=(0.9, 0.98), weight_decay=0.01)
    step, budget, began = 0, schedule.minutes * 60, time.monotonic()
    while (elapsed := time.monotonic() - began) < budget:
        number = random_state.randrange(len(RATES))
        windows = [_window(random_state.choice(grids[number]), schedule.window, random_state)
                   for _ in range(schedule.batch)]
        factor = min((step + 1) / schedule.warmup, 1.0, 4 * (1 - elapsed / budget))
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate * factor
        with mixed_precision("cpu"):
            coarse, fine, _ = code_lengths(network, finished.model, windows, number, random_state)
        optimiser.zero_grad()
        (coarse + 4 * fine).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 25 == 0:
            progress(elapsed / budget, f"step {step}, {float(coarse.detach()):.2f} and {float(fine.detach()):.2f} bits")
    points = [_tested(network.eval(), finished.model, tested[n], n) for n in range(len(RATES))]
    with replaced(out) as temporary:
        save_restoration(temporary, network, finished.identity, {"date": f"{date.today()}", "steps": str(step)})
    report(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {step} steps")
    with replaced(out.with_suffix(".md")) as card:
        card.write_text(_card(out.stem, finished.identity, step, schedule.minutes, points))


def code_lengths(network: RestorationNetwork, model: VqExtremeModel, windows: list[CellIndices], number: int,
                 random_state: random.Random) -> tuple[Tensor, Tensor, float]:
    """What lost indices cost by the network's guess, in bits: of the coarse and the fine stage, means over the lost
    cells of windows of one size; and the share of coarse indices that are guessed right."""
    rate = RATES[number]
    rows, columns = windows[0].coarse.shape
    lost = np.stack([_random_loss(rows, columns, random_state) for _ in windows])
    entries = torch.cat([known_entries(model, w, gone, rate) for w, gone in zip(windows, lost, strict=True)])
    there = torch.from_numpy(lost)
    queries = network(entries, there.float())[there].float()
    coarse = torch.from_numpy(np.stack([w.coarse for w in windows])).long()[there]
    fine = torch.from_numpy(np.stack([w.fine for w in windows])).long()[there]
    guessed = scores(queries[:, 0], model.stage("coarse"), rate.coarse)
    places = scores(queries[:, 1:], model.stage("fine"), rate.fine)
    right = float((guessed.argmax(1) == coarse).float().mean())
    bits = 1 / np.log(2)
    return (F.cross_entropy(guessed, coarse) * bits, F.cross_entropy(places.flatten(0, 1), fine.flatten()) * bits,
            right)


def _random_loss(rows: int, columns: int, random_state: random.Random) -> np.ndarray:
    """One or two of the chunks, wherever in a picture the window lies."""
    chunk = (np.arange(columns) + 2 * np.arange(rows)[:, None]) % CHUNKS
    return np.isin(chunk, random_state.sample(range(CHUNKS), random_state.choice((1, 1, 2))))


def _window(grid: CellIndices, side: int, random_state: random.Random) -> CellIndices:
    rows, columns = grid.coarse.shape
    top, left = random_state.randint(0, rows - side), random_state.randint(0, columns - side)
    return CellIndices(*(x[top : top + side, left : left + side] for x in (grid.coarse, grid.fine, grid.detail)))


@torch.inference_mode()
def _tested(network: RestorationNetwork, model: VqExtremeModel, grids: list[CellIndices],
            number: int) -> tuple[float, float, float]:
    """Means of `code_lengths` over whole pictures."""
    rows = [code_lengths(network, model, [grid], number, random.Random(place)) for place, grid in enumerate(grids)]
    coarse, fine, right = (float(np.mean([float(row[column]) for row in rows])) for column in range(3))
    return coarse, fine, right


def _card(name: str, identity: bytes, steps: int, minutes: float, points: list[tuple[float, float, float]]) -> str:
    rows = "\n".join(f"| {number} | {coarse:.2f} of {np.log2(RATES[number].coarse):.0f} | "
                     f"{fine:.2f} of {np.log2(RATES[number].fine):.0f} | {100 * right:.1f} |"
                     for number, (coarse, fine, right) in enumerate(points))
    return f"""# {name}.safetensors

The network that guesses lost cells of `vqextreme`, made by `fewbits train vqextreme-restoration`.

- Date: {date.today()}
- For the weights {identity.hex()}
- Steps: {steps}, in {minutes:.0f} minutes

What lost indices cost by its guesses on the validation photos, one or two chunks of five being lost:

| rate | bits of a coarse index | of a fine index | coarse indices guessed right (%) |
|---|---|---|---|
{rows}
"""
