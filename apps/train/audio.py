"""What recipes for codecs for sound have in common: the loop, its losses, validation and checkpoints.

The learning rate rises for a few hundred steps and falls along a half cosine over the whole budget. Weights are
averaged; the average is what is validated and exported. Every sound of a batch has its own random quality.
"""

import copy
import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from fewbits.apps.train.checkpoints import latest, save_checkpoint
from fewbits.apps.train.optimisation import Muon, MuonAndAdam, average_into
from fewbits.apps.train.ranks import agree, alike, by_first, diverge, of_first, rank
from fewbits.apps.train.sound_losses import SpectralDistance, intelligibility_distance, loudness_distance
from fewbits.apps.train.sounds import Clips, random_batch
from fewbits.codecs.audio.config import TransformConfig
from fewbits.codecs.audio.model import TransformModel
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.sound import Audio
from fewbits.eval.sound_metrics import SOUND_METRICS

SAVE_EVERY = 600  # seconds between checkpoints, each validated
VALIDATION_QUALITIES = (0.0, 25.0, 50.0, 75.0, 100.0)
VALIDATION_SECONDS = 6  # of each clip
CROP = 95  # hops of a sound that is trained with


@dataclass(frozen=True)
class Distortion:
    """How far a decoded sound is from its source, and what of it validation shows.

    Attributes:
        loudness, intelligibility: weights of `loudness_distance` and `intelligibility_distance`, which are for speech.
        metrics: names of those that validation shows.
    """

    spectral: SpectralDistance
    loudness: float
    intelligibility: float
    metrics: tuple[str, ...]

    def __call__(self, source: Tensor, decoded: Tensor, rate: int) -> Tensor:
        """(N, S) each to (N,)."""
        total = self.spectral(source, decoded, rate)
        if self.loudness:
            total = total + self.loudness * loudness_distance(source, decoded, rate)
        if self.intelligibility:
            total = total + self.intelligibility * intelligibility_distance(source, decoded, rate)
        return total


SPEECH_DISTORTION = Distortion(
    SpectralDistance((256, 512, 1024), phase=2.0, bins=0.5, bands=0.25, floor=1e-3),
    loudness=0.4, intelligibility=4.0, metrics=("pesq_wb", "stoi"))
SOUND_DISTORTION = Distortion(
    SpectralDistance((256, 512, 1024, 2048), phase=1.0, bins=0.5, bands=1.0, floor=1e-4),
    loudness=0.0, intelligibility=0.0, metrics=("mel", "visqol_audio"))


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    minutes: float
    level_spread: float = 8.0  # dB that sounds are louder or quieter than usual, at most
    integer_share: float = 0.2  # last part of the budget, with integer networks simulated where there are any
    batch: int = 4  # blocks, of each rank
    adam_rate: float = 1e-3
    muon_rate: float = 2e-2
    warmup: int = 300  # steps
    averaging: float = 0.999
    steering: float = 0.004  # how fast multipliers follow the rates, where there are any


def optimisers_of(model: TransformModel, schedule: Schedule) -> MuonAndAdam:
    """Muon for the matrices of blocks and context networks, Adam for the rest."""
    def is_matrix(name: str, parameter: nn.Parameter) -> bool:
        return name.endswith(("up.weight", "down.weight")) or ("hidden" in name and parameter.ndim == 4)

    named = list(model.named_parameters())
    rest = [p for name, p in named if not is_matrix(name, p)]
    # three rounds of its iteration instead of five: on a CPU they take a good part of a step
    muon = Muon([p for name, p in named if is_matrix(name, p)], schedule.muon_rate, iterations=3, like_adam=False)
    return MuonAndAdam(muon, torch.optim.Adam(rest, schedule.adam_rate, betas=(0.8, 0.99)))


@torch.no_grad()
def validate(model: TransformModel, config: TransformConfig, clips: list[np.ndarray],
             metrics: tuple[str, ...]) -> list[dict[str, float]]:
    """Mean estimated kbit/s and named metrics over the beginnings of clips, at each of `VALIDATION_QUALITIES`."""
    model.eval()
    points, device = [], next(model.parameters()).device
    for quality in VALIDATION_QUALITIES:
        rates, values = [], {name: [] for name in metrics}
        for clip in clips:
            source = torch.from_numpy(clip[: VALIDATION_SECONDS * config.rate].astype(np.float32))
            source = source[: len(source) // config.hop * config.hop]
            decoded, bits = model(source[None].to(device), torch.tensor([quality], device=device))
            rates.append(float(bits) / len(source) * config.rate / 1000)
            for name in metrics:
                value = SOUND_METRICS[name].compute(*(Audio(x.reshape(1, -1).numpy(), config.rate)
                                                      for x in (source, decoded.cpu())))
                if value is not None:
                    values[name].append(value)
        points.append({"kbps": float(np.mean(rates))} | {name: float(np.mean(v)) for name, v in values.items()})
    model.train()
    return points


class Run(ABC):
    """A training run that can be interrupted: everything that a checkpoint holds.

    Args:
        model: called with samples and qualities, gives decoded samples and bits.
    """

    def __init__(self, model: TransformModel, config: TransformConfig, distortion: Distortion, schedule: Schedule,
                 device: str, seed: int) -> None:
        self.config, self.distortion, self.schedule = config, distortion, schedule
        self.device, self.random = device, random.Random(seed)
        self.model = model.to(device).train()
        alike(self.model)
        self.averaged = copy.deepcopy(self.model)
        self.optimisers = optimisers_of(self.model, schedule)
        self.step, self.elapsed = 0, 0.0
        diverge(self.random)

    @abstractmethod
    def loss(self, source: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The loss for samples (N, S), and what was measured on the way."""

    @abstractmethod
    def prepare(self, clips: list[np.ndarray], report: Callable[[str], None]) -> None:
        """Called before every step, for what has to be done once at some step."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"model": self.model.state_dict(), "averaged": self.averaged.state_dict(),
                "optimisers": self.optimisers.state_dict(), "random": self.random.getstate(),
                "torch_random": torch.get_rng_state(), "step": self.step, "elapsed": self.elapsed,
                "config": self.config.to_metadata()}

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimisers.load_state_dict(state["optimisers"])
        self.random.setstate(state["random"])
        torch.set_rng_state(state["torch_random"])
        self.step, self.elapsed = state["step"], state["elapsed"]
        diverge(self.random)

    @property
    def share(self) -> float:
        """Of the budget, what is used up."""
        return self.elapsed / (self.schedule.minutes * 60)

    def save(self, path: Path) -> None:
        """Writes a checkpoint."""
        save_checkpoint(self.state(), path)

    def train_step(self, clips: list[np.ndarray]) -> dict[str, float]:
        """One update; what it measured."""
        schedule = self.schedule
        crop = CROP * self.config.hop
        source = random_batch(clips, schedule.batch, crop, schedule.level_spread, self.random).to(self.device)
        loss, measured = self.loss(source)
        for parameter in self.model.parameters():
            parameter.grad = None
        loss.backward()
        agree(self.model)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        warm = min(1.0, (self.step + 1) / schedule.warmup)
        self.optimisers.step(warm * 0.5 * (1 + math.cos(math.pi * self.share)))
        self.step += 1
        average_into(self.averaged, self.model, min(schedule.averaging, (1 + self.step) / (10 + self.step)))
        return {"loss": loss.item()} | measured


def train(run: Run, clips: Clips, out: Path, report: Callable[[str], None] = print,
          progress: Progress = no_progress) -> None:
    """Trains until the budget is used up; an interrupted run goes on from its last checkpoint in `out`.

    The checkpoint and a TensorBoard log land in `out`. Several ranks train together (`apps/train/ranks.py`); the log's
    losses are those of rank 0's share.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    report, progress = by_first(report), by_first(progress)
    if state := of_first(latest(checkpoint)):
        run.restore(state)
        report(f"going on from step {run.step}, {run.elapsed / 60:.1f} minutes")
    # what was logged after the checkpoint comes again
    log = SummaryWriter(out / "log", purge_step=run.step + 1) if rank() == 0 else None
    next_save = run.elapsed + SAVE_EVERY
    began = time.monotonic() - run.elapsed
    while run.share < 1:
        run.prepare(clips.training, report)
        measured = run.train_step(clips.training)
        run.elapsed = of_first(time.monotonic() - began)
        if log and run.step % 50 == 0:
            progress(min(run.share, 1), f"step {run.step}, loss {measured['loss']:.3f}")
            for name, value in measured.items():
                log.add_scalar(f"train/{name}", value, run.step)
        if run.elapsed > next_save or run.share >= 1:
            if log:
                points = log_validation(log, run, clips.validation)
                report(f"step {run.step}, {run.elapsed / 60:.1f} minutes: " + ", ".join(
                    " ".join(f"{value:.3f} {name}" for name, value in point.items()) for point in points))
                run.save(checkpoint)
            next_save = run.elapsed + SAVE_EVERY
            began = time.monotonic() - run.elapsed  # validation is not on the clock
    if log:
        log.close()


def log_validation(log: SummaryWriter, run: Run, clips: list[np.ndarray]) -> list[dict[str, float]]:
    """Validates and logs what came out."""
    points = validate(run.averaged, run.config, clips, run.distortion.metrics)
    for quality, point in zip(VALIDATION_QUALITIES, points, strict=True):
        for name, value in point.items():
            log.add_scalar(f"validation/{name}_at_{quality:g}", value, run.step)
    return points
