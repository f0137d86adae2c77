"""What the order of passes is worth to `hyperprior`: entropy models trained anew for several orders, with all else as
shipped. An ablation of `hyperprior.md`.

    python docs/codecs/hyperprior_contexts.py PHOTOS --minutes 6 # for each order

Transforms, quantiser, hyper-encoder and hyper-decoder are those of the shipped weights, so that each order codes the
same latents. Validation photos and what is printed are the model's own estimate of the rate, in floating point.
"""

import argparse
import copy
import math
import random
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from fewbits.apps.train.hyperprior import Schedule, cut, load_photos, optimisers_of, random_batch
from fewbits.apps.train.optimisation import average_into
from fewbits.codecs.image.hyperprior.codec import WEIGHTS
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.entropy_model import EntropyModel, PassNetwork
from fewbits.codecs.image.hyperprior.model import EVERY_SIDE, HyperpriorModel, lambda_of
from fewbits.codecs.image.hyperprior.passes import (
    DIAGONAL,
    FIRST,
    HYPER_PASSES,
    LOW,
    OTHERS,
    Pass,
    Phases,
    passes_of,
)
from fewbits.codecs.image.hyperprior.weights import load_weights
from fewbits.codecs.levels import level_weights

QUALITIES = (0.0, 15.0, 30.0, 50.0, 75.0, 100.0)
HYPER_AT_ONCE = (Pass(slice(None), None, FIRST + DIAGONAL + OTHERS),)


def low(phases: Phases) -> Pass:
    """A pass over all low frequencies together."""
    return Pass(slice(0, LOW), LOW, phases)


TWO_LATTICES = passes_of(HyperpriorConfig(low_by_bands=False))
ONE_LATTICE = (low(FIRST), low(DIAGONAL), low(OTHERS), *(step for step in TWO_LATTICES if not step.low))
ORDERS = {
    "one lattice, hyper-latents at once": (HYPER_AT_ONCE, ONE_LATTICE),
    "hyper-latents in three passes": (HYPER_PASSES, ONE_LATTICE),
    "two lattices": (HYPER_PASSES, TWO_LATTICES),
    "bands at each phase": (HYPER_PASSES, passes_of(HyperpriorConfig())),
}


class Latents:
    """What the shipped transforms make of pictures."""

    def __init__(self, model: HyperpriorModel) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self, images: Tensor, quality: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, their input scale, and the level weights, of images (N, 3, H, W) at qualities (N,)."""
        weights = level_weights(quality, self.model.config.levels)
        step, _ = self.model.quantiser.steps(weights)
        scale = self.model.quantiser.input_scale(step)
        coefficients = self.model.analysis.coefficients(images, EVERY_SIDE)
        return self.model.analysis(coefficients, step, scale, weights).float(), scale, weights


def trained(model: EntropyModel, latents: Latents, photos: list[Tensor], minutes: float) -> EntropyModel:
    """The average of a model that is trained on crops for so long."""
    plan, random_state = Schedule(minutes), random.Random(0)
    averaged, optimisers, step, began = copy.deepcopy(model), optimisers_of(model, plan), 0, time.monotonic()
    while (share := (time.monotonic() - began) / 60 / minutes) < 1:
        images = random_batch(photos, plan, random_state)
        quality = (torch.rand(plan.batch) * 110 - 5).clamp(0, 100)
        _, bits = model(*latents(images, quality))
        loss = (bits / plan.crop**2 * lambda_of(quality, model.config) ** -0.45 / 10).mean()
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimisers.step(min(1.0, (step + 1) / plan.warmup) * 0.5 * (1 + math.cos(math.pi * share)))
        average_into(averaged, model, min(0.995, (1 + step) / (10 + step)))
        step += 1
    return averaged.eval()


@torch.no_grad()
def rates(model: EntropyModel, latents: Latents, photos: list[Tensor]) -> list[float]:
    """Mean bits per pixel of photos at each of `QUALITIES`."""
    result = []
    for quality in QUALITIES:
        images = [cut(photo)[None].float() / 255 for photo in photos]
        bits = [float(model(*latents(image, torch.tensor([quality])))[1]) for image in images]
        result.append(sum(b / image[0, 0].numel() for b, image in zip(bits, images, strict=True)) / len(photos))
    return result


def main() -> None:
    """Prints a line of a table for each order."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("--minutes", type=float, default=6)
    given = parser.parse_args()
    photos, validation = load_photos(given.photos)
    photos = [photo for photo in photos if min(photo.shape[1:]) >= Schedule(0).crop]
    shipped = load_weights(WEIGHTS, "cpu").trainable().eval().requires_grad_(False)
    print("| order |", " | ".join(f"quality {quality:g}" for quality in QUALITIES), "|")
    print("|---" * (1 + len(QUALITIES)) + "|", flush=True)
    first: list[float] = []
    for name, (hyper_passes, passes) in ORDERS.items():
        torch.manual_seed(0)
        model = copy.deepcopy(shipped.entropy_model)
        model.simulated = False
        model.hyper_passes = nn.ModuleList(PassNetwork(model.config, step) for step in hyper_passes)
        model.passes = nn.ModuleList(PassNetwork(model.config, step) for step in passes)
        found = rates(trained(model.train(), Latents(shipped), photos, given.minutes), Latents(shipped), validation)
        first = first or found
        changes = [100 * (rate / before - 1) for rate, before in zip(found, first, strict=True)]
        cells = [f"{rate:.4f} ({change:+.1f} %)" for rate, change in zip(found, changes, strict=True)]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
