"""Recipe: train the `vqextreme` image codec.

Training begins with principal components and clusters of them (`vqextreme_start.py`). Every step has one random rate.
The loss is of samples, of structure (1 - MS-SSIM), and of what a classifier sees (R. Zhang et al., "The Unreasonable
Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018; the classifier is one that `fewbits train
classifier` made); later a discriminator of patches joins in (P. Isola et al., "Image-to-Image
Translation with Conditional Adversarial Networks", CVPR 2017), with the hinge loss and a small weight, since it gives
texture at the cost of all three.

Weights are averaged; the average is what is validated and exported.

The synthesis of finished weights can be trained further, alone: all that files are made with stays as it is, and with
it their size and the network that guesses lost cells.
"""

import copy
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytorch_msssim
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.apps.train.checkpoints import latest, save_checkpoint
from fewbits.apps.train.hyperprior import Schedule as Crops
from fewbits.apps.train.hyperprior import cut, load_photos, random_batch
from fewbits.apps.train.optimisation import Muon, MuonAndAdam, average_into
from fewbits.apps.train.ranks import agree, alike, by_first, diverge, of_first, rank
from fewbits.apps.train.vqextreme_start import begin, images_of
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.image.vqextreme.config import RATES, VqExtremeConfig
from fewbits.codecs.image.vqextreme.model import VqExtremeModel
from fewbits.codecs.image.vqextreme.weights import load_weights
from fewbits.codecs.precision import mixed_precision
from fewbits.errors import InputError
from fewbits.eval.metrics import METRICS

USUAL = VqExtremeConfig()
SAVE_EVERY = 600  # seconds between checkpoints, each validated and kept as a snapshot
SAMPLES, FEATURES, MEETING = 30.0, 1.0, 0.001  # what each part of the loss weighs; of structure, see `Schedule`
ADVERSARY = 0.02
STEERING = 0.05  # of the logarithm of a rate's excess, that what a bit is worth follows at each step
PART = 128  # pixels on a side of what classifier and discriminator see of each crop

FeatureDistance = Callable[[Tensor, Tensor], Tensor]
"""What a classifier sees between two batches (N, 3, H, W) in [0, 1]: (N,)."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    minutes: float
    batch: int = 6
    crop: int = 192  # pixels, a multiple of 32
    adam_rate: float = 6e-4
    muon_rate: float = 6e-3
    warmup: int = 100  # steps
    averaging: float = 0.999
    structure: float = 4.0  # what 1 - MS-SSIM weighs in the loss
    adversary_from: float = 0.6  # of the time


def schedule(minutes: float, synthesis_alone: bool = False) -> Schedule:
    """For a new model, or for the synthesis of a finished one: at half the rates, towards structure, which the
    adversary is not for."""
    if synthesis_alone:
        return Schedule(minutes, adam_rate=3e-4, muon_rate=3e-3, averaging=0.998, structure=30.0, adversary_from=1.0)
    return Schedule(minutes)


class PatchDiscriminator(nn.Sequential):
    """Tells decoded patches of about 50 x 50 pixels from photos: (N, 3, H, W) -> (N, 1, H / 16, W / 16)."""

    def __init__(self) -> None:
        widths = (3, 24, 48, 96, 128)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.utils.parametrizations.spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 3, 1, 1))


def distortion(decoded: Tensor, images: Tensor, part: tuple[slice, ...], features: FeatureDistance | None,
               structure: float) -> Tensor:
    """What a decoded batch costs, without the adversary: scalar.

    Args:
        part: what the classifier sees of it.
        structure: what 1 - MS-SSIM weighs.
    """
    similarity = pytorch_msssim.ms_ssim(decoded, images, data_range=1.0, size_average=True)
    samples = F.mse_loss(decoded, images)
    seen = features(images[part], decoded[part]).mean() if features else 0.0
    return structure * (1 - similarity) + SAMPLES * samples + FEATURES * seen


def optimisers_of(model: VqExtremeModel, schedule: Schedule) -> MuonAndAdam:
    """Muon for the matrices of residual blocks, Adam for the rest: slowly for what begins as a transform."""
    matrices: list[nn.Parameter] = []
    groups: dict[str, list[nn.Parameter]] = {"transforms": [], "entries": [], "rest": []}
    for name, parameter in model.named_parameters():
        if name.endswith(("expand.weight", "project.weight")):
            matrices.append(parameter)
        elif name.startswith("stages"):
            groups["entries"].append(parameter)
        else:
            begun = name.endswith(("kernel", "linear.weight", "widen.weight"))
            groups["transforms" if begun else "rest"].append(parameter)
    rates = {"transforms": 0.3, "entries": 3.0, "rest": 1.0}
    rest = [{"params": p, "lr": schedule.adam_rate * rates[k]} for k, p in groups.items()]
    return MuonAndAdam(Muon(matrices, schedule.muon_rate), torch.optim.Adam(rest, betas=(0.9, 0.98)))


@torch.no_grad()
def validate(model: VqExtremeModel, photos: list[Tensor], metrics: tuple[str, ...]) -> list[list[float]]:
    """Means over photos, which are cut to whole cells, at each of the rates: bits per pixel, without contexts, and
    metrics."""
    model.eval()
    results = []
    for number in range(len(RATES)):
        rows = []
        for photo, image in zip(photos, images_of(photos), strict=True):
            decoded, _, rate = model(image, number)
            pixels = (decoded[0].clamp(0, 1) * 255).round().byte()
            pair = [x.permute(1, 2, 0).numpy() for x in (cut(photo), pixels)]
            rows.append([rate, *(METRICS[m].compute(*pair) for m in metrics)])
        results.append([float(np.mean([v for v in column if v is not None])) for column in zip(*rows, strict=True)])
    model.train()
    return results


def begun(config: VqExtremeConfig, photos: list[Tensor]) -> VqExtremeModel:
    """A new model, with what photos tell before any training."""
    model = VqExtremeModel(config).to(memory_format=torch.channels_last)
    begin(model, photos[::4])
    return model


def with_free_synthesis(weights: Path) -> VqExtremeModel:
    """A finished model, in evaluation mode, in which what entries cost is fixed; only its synthesis has gradients."""
    model = load_weights(weights, "cpu").model
    model.synthesis.requires_grad_(True)
    return model


class Run:
    """A training under way: model, discriminator, their optimisers and averages, all of which a checkpoint keeps."""

    def __init__(self, model: VqExtremeModel, schedule: Schedule, seed: int) -> None:
        self.schedule, self.random, self.model = schedule, random.Random(seed), model
        alike(self.model)
        self.averaged = copy.deepcopy(self.model)
        self.optimisers = optimisers_of(self.model, schedule)
        self.discriminator = PatchDiscriminator().to(memory_format=torch.channels_last)
        alike(self.discriminator)
        self.against = torch.optim.Adam(self.discriminator.parameters(), 2e-4, betas=(0.5, 0.9))
        self.step, self.elapsed = 0, 0.0

    def state(self) -> dict:
        """All that `restore` needs."""
        return {"model": self.model.state_dict(), "averaged": self.averaged.state_dict(),
                "optimisers": self.optimisers.state_dict(), "discriminator": self.discriminator.state_dict(),
                "against": self.against.state_dict(), "random": self.random.getstate(),
                "torch_random": torch.get_rng_state(), "step": self.step, "elapsed": self.elapsed,
                "config": self.model.config.to_metadata()}

    def restore(self, state: dict) -> None:
        """Goes on from what `state` gave."""
        for name in ("model", "averaged", "optimisers", "discriminator", "against"):
            getattr(self, name).load_state_dict(state[name])
        self.random.setstate(state["random"])
        torch.set_rng_state(state["torch_random"])
        self.step, self.elapsed = state["step"], state["elapsed"]

    def update(self, images: Tensor, number: int, factor: float, adversary: bool,
               features: FeatureDistance | None) -> float:
        """One step on a batch at one of the rates, with all learning rates scaled; gives the distortion."""
        with mixed_precision("cpu"):
            decoded, meeting, bits_per_pixel = self.model(images, number)
        if self.model.training:
            self._steer(number, bits_per_pixel)
        decoded = decoded.float()
        places = [slice(o, o + PART) for o in self.random.choices(range(images.shape[2] - PART + 1), k=2)]
        part = (slice(None), slice(None), *places)
        cost = distortion(decoded, images, part, features, self.schedule.structure)
        loss = cost + MEETING * meeting.mean()
        if adversary:
            with mixed_precision("cpu"):
                loss = loss - ADVERSARY * self.discriminator(decoded[part]).float().mean()
        for parameter in self.model.parameters():
            parameter.grad = None
        loss.backward()
        agree(self.model)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimisers.step(factor)
        if adversary:
            self._teach_discriminator(images[part], decoded[part].detach())
        self.step += 1
        average_into(self.averaged, self.model, min(self.schedule.averaging, (1 + self.step) / (10 + self.step)))
        return float(cost.detach())

    @torch.no_grad()
    def _steer(self, number: int, bits_per_pixel: float) -> None:
        """Makes bits dearer or cheaper at a rate, so that it comes to what it should be."""
        excess = math.log(max(bits_per_pixel, 1e-3) / RATES[number].bits_per_pixel)
        self.model.slopes[number] *= math.exp(STEERING * max(min(excess, 1.0), -1.0))

    def _teach_discriminator(self, images: Tensor, decoded: Tensor) -> None:
        with mixed_precision("cpu"):
            real, made = self.discriminator(torch.cat([images, decoded])).float().chunk(2)
        self.against.zero_grad()
        (F.relu(1 - real).mean() + F.relu(1 + made).mean()).backward()
        agree(self.discriminator)
        self.against.step()


VALIDATED = ("psnr", "ms_ssim", "gmsd")


def train(data: Path, out: Path, schedule: Schedule, config: VqExtremeConfig = USUAL, seed: int = 0,
          features: FeatureDistance | None = None, synthesis_of: Path | None = None,
          report: Callable[[str], None] = print, progress: Progress = no_progress) -> None:
    """Trains until the budget is used up; an interrupted run goes on from its last checkpoint in `out`.

    Args:
        features: how far apart two batches look, the first of photos; None to do without.
        synthesis_of: finished weights of which the synthesis alone is trained on, whatever `config`.

    Raises:
        InputError: if the photos are too few or too small.
        WeightsError: if the finished weights cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    report, progress = by_first(report), by_first(progress)
    training, validation = load_photos(data)
    training = [photo for photo in training if min(photo.shape[1:]) >= schedule.crop]
    validation = [photo for photo in validation if min(photo.shape[1:]) >= schedule.crop]
    if not training or not validation:
        raise InputError(f"Too few photos in {data} have {schedule.crop} x {schedule.crop} pixels or more.")
    torch.manual_seed(seed)
    model = with_free_synthesis(synthesis_of) if synthesis_of else begun(config, training)
    run = Run(model, schedule, seed)
    if state := of_first(latest(checkpoint)):
        run.restore(state)
        report(f"going on from step {run.step}, {run.elapsed / 60:.1f} minutes")
    diverge(run.random)
    crops = Crops(schedule.minutes, batch=schedule.batch, crop=schedule.crop)
    budget, next_save, began = schedule.minutes * 60, run.elapsed + SAVE_EVERY, time.monotonic() - run.elapsed
    while run.elapsed < budget:
        images, number = random_batch(training, crops, run.random), run.random.randrange(len(RATES))
        factor = min(1.0, (run.step + 1) / schedule.warmup) * 0.5 * (1 + math.cos(math.pi * run.elapsed / budget))
        cost = run.update(images, number, factor, run.elapsed > budget * schedule.adversary_from, features)
        run.elapsed = of_first(time.monotonic() - began)
        if run.step % 50 == 0:
            progress(min(run.elapsed / budget, 1), f"step {run.step}, distortion {cost:.3f}")
        if run.elapsed > next_save or run.elapsed >= budget:
            next_save = run.elapsed + SAVE_EVERY
            if rank() == 0:
                points = validate(run.averaged, validation, VALIDATED)
                report(f"step {run.step}, {run.elapsed / 60:.1f} minutes: {_in_words(points)}")
                save_checkpoint(run.state(), checkpoint)
                save_checkpoint(run.averaged.state_dict(), out / f"averaged-{run.step}.pt")
            began = time.monotonic() - run.elapsed  # validation is not on the clock


def _in_words(points: list[list[float]]) -> str:
    return "; ".join(", ".join(f"{value:.4g}" for value in point) for point in points)
