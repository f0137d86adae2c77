"""Recipe: train a codec for sound.

One run, two stages on one clock. First everything is trained in floating point. Then the networks that choose
probabilities are calibrated and fine-tuned as the integer networks they will become. The learning rate rises for a few
hundred steps and falls along a half cosine over the whole budget. Weights are averaged; the average is what is
validated and exported.

Every sound of a batch has its own random quality. The loss is distortion plus rate times a multiplier. What
multiplier leads to what rate depends on how far the model has learned, so multipliers are steered: each level has one,
which grows while the level's sounds take more bits than they should.
"""

import copy
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from fewbits.apps.train.optimisation import MuonAndAdam, average_into, begin_integer_stage
from fewbits.apps.train.sound_losses import SpectralDistance, intelligibility_distance, loudness_distance
from fewbits.apps.train.sounds import Clips, random_batch
from fewbits.codecs.audio.config import SOUND, SPEECH, AudioConfig
from fewbits.codecs.audio.model import AudioModel
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.levels import level_weights
from fewbits.codecs.sound import Audio
from fewbits.eval.sound_metrics import SOUND_METRICS

SAVE_EVERY = 600  # seconds between checkpoints, each validated
VALIDATION_QUALITIES = (0.0, 25.0, 50.0, 75.0, 100.0)
VALIDATION_SECONDS = 6  # of each clip


@dataclass(frozen=True)
class Recipe:
    """What to train, for what rates, and by what distance.

    Attributes:
        rates: kbit/s at quality 0 and 100; those between lie evenly in octaves.
        multipliers: of the rate in kbit/s, at quality 0 and 100, where training begins.
        multiplier_limits: between which they are steered.
        loudness, intelligibility: weights of `loudness_distance` and `intelligibility_distance`, which are for speech.
        metrics: names of those that validation shows.
    """

    config: AudioConfig
    rates: tuple[float, float]
    multipliers: tuple[float, float]
    multiplier_limits: tuple[float, float]
    spectral: SpectralDistance
    loudness: float
    intelligibility: float
    metrics: tuple[str, ...]


RECIPES = {
    "speech": Recipe(
        SPEECH, rates=(1.5, 9.0), multipliers=(0.3, 0.02), multiplier_limits=(0.005, 3.0),
        spectral=SpectralDistance((256, 512, 1024), phase=2.0, bins=0.5, bands=0.25, floor=1e-3),
        loudness=0.4, intelligibility=4.0, metrics=("pesq_wb", "stoi")),
    "sound": Recipe(
        SOUND, rates=(3.0, 16.0), multipliers=(0.15, 0.01), multiplier_limits=(0.002, 3.0),
        spectral=SpectralDistance((256, 512, 1024, 2048), phase=1.0, bins=0.5, bands=1.0, floor=1e-4),
        loudness=0.0, intelligibility=0.0, metrics=("mel", "visqol_audio")),
}


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    minutes: float
    level_spread: float = 8.0  # dB that sounds are louder or quieter than usual, at most
    integer_share: float = 0.2  # last part of the budget, with the integer networks simulated
    batch: int = 4  # blocks
    adam_rate: float = 1e-3
    muon_rate: float = 2e-2
    warmup: int = 300  # steps
    averaging: float = 0.999
    steering: float = 0.004  # how fast multipliers follow the rates


def optimisers_of(model: AudioModel, schedule: Schedule) -> MuonAndAdam:
    """Muon for the matrices of blocks and context networks, Adam for the rest."""
    def is_matrix(name: str, parameter: nn.Parameter) -> bool:
        return name.endswith(("up.weight", "down.weight")) or ("hidden" in name and parameter.ndim == 4)

    named = list(model.named_parameters())
    rest = [p for name, p in named if not is_matrix(name, p)]
    # three rounds of its iteration instead of five: on a CPU they take a good part of a step
    return MuonAndAdam([p for name, p in named if is_matrix(name, p)], {"lr": schedule.muon_rate, "ns_steps": 3},
                       [{"params": rest, "lr": schedule.adam_rate}], (0.8, 0.99))


class Multipliers:
    """The weight of the rate in the loss, for each level, steered so that rates come out as intended.

    Args:
        steering: how fast they follow.
    """

    def __init__(self, recipe: Recipe, steering: float) -> None:
        self.recipe, self.steering = recipe, steering
        self.logs = torch.linspace(*map(math.log, recipe.multipliers), recipe.config.levels)

    def of(self, weights: Tensor) -> Tensor:
        """(N, levels) to (N,), for a loss with the rate in kbit/s."""
        return (weights @ self.logs).exp()

    def steer(self, weights: Tensor, quality: Tensor, kbps: Tensor) -> None:
        """Learns from the rates (N,) of a batch."""
        low, high = self.recipe.rates
        wanted = low * (high / low) ** (quality / 100)
        miss = (kbps / wanted).log().clamp(-1, 1)
        self.logs += self.steering * (weights * miss[:, None]).sum(0)
        self.logs.clamp_(*map(math.log, self.recipe.multiplier_limits))


@torch.no_grad()
def validate(model: AudioModel, clips: list[np.ndarray], metrics: tuple[str, ...]) -> list[dict[str, float]]:
    """Mean estimated kbit/s and named metrics over the beginnings of clips, at each of `VALIDATION_QUALITIES`."""
    model.eval()
    config, points = model.config, []
    for quality in VALIDATION_QUALITIES:
        rates, values = [], {name: [] for name in metrics}
        for clip in clips:
            source = torch.from_numpy(clip[: VALIDATION_SECONDS * config.rate].astype(np.float32))
            source = source[: len(source) // config.hop * config.hop]
            decoded, bits = model(source[None], torch.tensor([quality]))
            rates.append(float(bits) / len(source) * config.rate / 1000)
            for name in metrics:
                value = SOUND_METRICS[name].compute(*(Audio(x.reshape(1, -1).numpy(), config.rate)
                                                      for x in (source, decoded)))
                if value is not None:
                    values[name].append(value)
        points.append({"kbps": float(np.mean(rates))} | {name: float(np.mean(v)) for name, v in values.items()})
    model.train()
    return points


class Run:
    """A training run that can be interrupted: everything that a checkpoint holds."""

    def __init__(self, recipe: Recipe, schedule: Schedule, device: str, seed: int) -> None:
        torch.manual_seed(seed)
        self.recipe, self.schedule, self.device, self.random = recipe, schedule, device, random.Random(seed)
        self.model = AudioModel(recipe.config).to(device).train()
        self.averaged = copy.deepcopy(self.model)
        self.optimisers = optimisers_of(self.model, schedule)
        self.multipliers = Multipliers(recipe, schedule.steering)
        self.step, self.elapsed = 0, 0.0

    def save(self, path: Path) -> None:
        partial = path.with_suffix(".partial")
        torch.save({
            "model": self.model.state_dict(), "averaged": self.averaged.state_dict(),
            "optimisers": self.optimisers.state_dict(), "multipliers": self.multipliers.logs,
            "random": self.random.getstate(), "torch_random": torch.get_rng_state(), "step": self.step,
            "elapsed": self.elapsed, "simulated": self.model.entropy_model.simulated,
            "config": self.model.config.to_metadata(),
        }, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimisers.load_state_dict(state["optimisers"])
        self.multipliers.logs = state["multipliers"]
        self.random.setstate(state["random"])
        torch.set_rng_state(state["torch_random"].cpu())
        self.step, self.elapsed = state["step"], state["elapsed"]
        for model in (self.model, self.averaged):
            model.entropy_model.simulated = state["simulated"]

    def train_step(self, clips: list[np.ndarray]) -> dict[str, float]:
        """One update; what it measured."""
        recipe, schedule, config = self.recipe, self.schedule, self.model.config
        crop = (config.BLOCK - 1) * config.hop
        source = random_batch(clips, schedule.batch, crop, schedule.level_spread, self.random).to(self.device)
        quality = (torch.rand(schedule.batch) * 110 - 5).clamp(0, 100)
        with torch.autocast(source.device.type, torch.bfloat16):
            decoded, bits = self.model(source, quality.to(self.device))
        decoded = decoded.float()
        kbps = bits / crop * config.rate / 1000
        loss = spectral = recipe.spectral(source, decoded, config.rate)
        if recipe.loudness:
            loss = loss + recipe.loudness * loudness_distance(source, decoded, config.rate)
        if recipe.intelligibility:
            loss = loss + recipe.intelligibility * intelligibility_distance(source, decoded, config.rate)
        weights = level_weights(quality, config.levels)
        loss = (loss + self.multipliers.of(weights).to(self.device) * kbps).mean()
        for parameter in self.model.parameters():
            parameter.grad = None
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        share = self.elapsed / (schedule.minutes * 60)
        self.optimisers.step(min(1.0, (self.step + 1) / schedule.warmup) * 0.5 * (1 + math.cos(math.pi * share)))
        self.step += 1
        if self.step > schedule.warmup:
            self.multipliers.steer(weights, quality, kbps.detach().cpu())
        average_into(self.averaged, self.model, min(schedule.averaging, (1 + self.step) / (10 + self.step)))
        return {"loss": loss.item(), "kbps": kbps.mean().item(), "spectral": spectral.mean().item()}


def train(data: Path, out: Path, recipe: Recipe, schedule: Schedule, device: str = "cpu", seed: int = 0,
          report: Callable[[str], None] = print, progress: Progress = no_progress) -> None:
    """Trains until the budget is used up; an interrupted run goes on from its last checkpoint in `out`.

    The checkpoint and a TensorBoard log land in `out`.

    Raises:
        InputError: if there are too few sounds in `data`, or one cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, clips = out / "checkpoint.pt", Clips.open(data, recipe.config.rate)
    run = Run(recipe, schedule, device, seed)
    if checkpoint.exists():
        run.load(checkpoint)
        report(f"going on from step {run.step}, {run.elapsed / 60:.1f} minutes")
    log = SummaryWriter(out / "log")
    budget, next_save = schedule.minutes * 60, run.elapsed + SAVE_EVERY
    began = time.monotonic() - run.elapsed
    while run.elapsed < budget:
        if run.elapsed > budget * (1 - schedule.integer_share) and not run.model.entropy_model.simulated:
            begin_integer_stage(run.model, run.averaged)
            report(f"step {run.step}: integer networks from here on")
        measured = run.train_step(clips.training)
        run.elapsed = time.monotonic() - began
        if run.step % 50 == 0:
            progress(min(run.elapsed / budget, 1), f"step {run.step}, loss {measured['loss']:.3f}")
            for name, value in measured.items():
                log.add_scalar(f"train/{name}", value, run.step)
        if run.elapsed > next_save or run.elapsed >= budget:
            points = validate(run.averaged, clips.validation, recipe.metrics)
            for quality, point in zip(VALIDATION_QUALITIES, points, strict=True):
                for name, value in point.items():
                    log.add_scalar(f"validation/{name}_at_{quality:g}", value, run.step)
            report(f"step {run.step}, {run.elapsed / 60:.1f} minutes: " + ", ".join(
                " ".join(f"{value:.3f} {name}" for name, value in point.items()) for point in points))
            next_save = run.elapsed + SAVE_EVERY
            run.save(checkpoint)
            began = time.monotonic() - run.elapsed  # validation is not on the clock
    log.close()
