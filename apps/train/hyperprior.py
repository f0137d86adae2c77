"""Recipe: train the `hyperprior` image codec.

One run, two stages on one clock. First everything is trained in floating point. Then the networks that choose
probabilities are calibrated and fine-tuned as the integer networks they will become. A run that goes on from a weights
file has the second stage alone. The learning rate rises for a few hundred steps and falls along a half cosine over the
whole budget. Weights are averaged (decay 0.9995 a step); the average is what is validated and exported.

Matrices are trained with Muon (K. Jordan et al., 2024), everything else with Adam: in a trial of five minutes that gave
6 % fewer bits and 0.2 dB more than Adam alone.

Every photo of a batch has its own random quality. Its loss `lambda * MSE + bits per pixel` is weighted with
`lambda**-0.45`, about the inverse of the rate that the lambda leads to, so that each rate counts alike. In tuning for
MS-SSIM, `1 - MS-SSIM` counts as the squared error that falls as fast along the codec's own curve, so that rates stay
about the same.
"""

import copy
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytorch_msssim
import torch
from PIL import Image as PillowImage
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from fewbits.apps.train.checkpoints import latest, save_checkpoint
from fewbits.apps.train.optimisation import Muon, MuonAndAdam, average_into, begin_integer_stage
from fewbits.apps.train.ranks import agree, alike, by_first, diverge, of_first, rank
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.model import HyperpriorModel, lambda_of
from fewbits.codecs.image.hyperprior.weights import load_weights
from fewbits.codecs.media import Image
from fewbits.codecs.precision import mixed_precision
from fewbits.errors import InputError
from fewbits.eval.metrics import METRICS

VALIDATION_EVERY = 90  # every 90th photo of the folder is kept out of training
SIZES = (1.0, 0.7, 0.5)  # of each photo
MADE_SHARE = 0.02  # of the crops
SAVE_EVERY = 600  # seconds between checkpoints, each validated and kept as a snapshot
VALIDATION_QUALITIES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 100.0)
MS_SSIM_WORTH = (2300.0, 1350.0)  # MSE that an MS-SSIM of 0 counts as, at quality 0 and 100


METRIC_OF = {"psnr": "psnr", "msssim": "ms_ssim"}  # what shows how well a model is tuned

Points = list[tuple[float, float]]
"""Bits per pixel and value of a metric at each of `VALIDATION_QUALITIES`."""

Begin = Callable[[list[Tensor], Path | None], tuple[HyperpriorModel, str | None]]
"""From the photos and the weights to go on from to the model that is trained, and what it comes from."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train, and what for: "psnr" or "msssim"."""

    minutes: float
    tune: str = "psnr"
    integer_share: float = 0.25  # last part of the budget, with the integer networks simulated
    batch: int = 4  # of each rank
    crop: int = 192  # pixels, a multiple of 64
    adam_rate: float = 1e-3
    muon_rate: float = 1e-2
    warmup: int = 200  # steps
    averaging: float = 0.9995


def schedule(minutes: float, tune: str, start: Path | None) -> Schedule:
    """The usual one. What has been trained before is trained more gently."""
    usual = Schedule(minutes, tune)
    return usual if start is None else replace(usual, adam_rate=6e-4, muon_rate=6e-3)


def load_photos(folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Photos of a folder as uint8 (3, H, W) at all `SIZES`: those for training, and those for validation.

    The smaller copies have full colour resolution, which photos that come from 4:2:0 files lack.

    Raises:
        InputError: if a file cannot be read as a picture, or there are too few.
    """
    training, validation = [], []
    for number, path in enumerate(sorted(p for p in folder.iterdir() if p.is_file())):
        photo = PillowImage.fromarray(Image.open(path).rgb())
        for share in SIZES:
            size = round(photo.width * share), round(photo.height * share)
            reduced = photo if share == 1 else photo.resize(size, PillowImage.Resampling.LANCZOS)
            samples = torch.from_numpy(np.asarray(reduced).copy()).permute(2, 0, 1)
            (training if number % VALIDATION_EVERY else validation).append(samples)
    if not training:
        raise InputError(f"{folder} needs two photos at least, one for training and one for validation.")
    return training, validation


def random_batch(photos: list[Tensor], schedule: Schedule, random_state: random.Random) -> Tensor:
    """(batch, 3, crop, crop) float32 in [0, 1]: crops of random photos, half of them mirrored, and a few made ones."""
    crops, size = [], schedule.crop
    for _ in range(schedule.batch):
        if random_state.random() < MADE_SHARE:
            crops.append(made_crop(size, random_state))
            continue
        photo = random_state.choice(photos)
        height, width = photo.shape[1:]
        top, left = random_state.randint(0, height - size), random_state.randint(0, width - size)
        crop = photo[:, top : top + size, left : left + size].float() / 255
        crops.append(crop.flip(-1) if random_state.random() < 0.5 else crop)
    return torch.stack(crops).contiguous(memory_format=torch.channels_last)


def made_crop(size: int, random_state: random.Random) -> Tensor:
    """(3, size, size) in [0, 1]: what photos lack, so that the codec does not fail on it: flat patches, noise, both."""
    cells = 2 ** random_state.randint(0, 6)
    patches = torch.rand(1, 3, cells, cells)
    noise = torch.rand(3, size, size) - 0.5
    return (F.interpolate(patches, size=size)[0] + random_state.random() ** 2 * noise).clamp(0, 1)


def loss_of(model: HyperpriorModel, images: Tensor, quality: Tensor, tune: str) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted loss (scalar), bits per pixel (N,), MSE on the 0..255 scale (N,), or what counts as such."""
    with mixed_precision(images.device.type):
        decoded, bits = model(images, quality)
    distortion = DISTORTIONS[tune](decoded.float(), images, quality)
    bpp = bits / (images.shape[2] * images.shape[3])
    trade_off = lambda_of(quality, model.config)
    return ((trade_off * distortion + bpp) * trade_off**-0.45 / 10).mean(), bpp, distortion


def squared_error(decoded: Tensor, images: Tensor, quality: Tensor) -> Tensor:
    """Mean over the samples of each image, on the 0..255 scale. (N, 3, H, W) in [0, 1] -> (N,)."""
    return F.mse_loss(decoded, images, reduction="none").mean([1, 2, 3]) * 255**2


def structural_error(decoded: Tensor, images: Tensor, quality: Tensor) -> Tensor:
    """1 - MS-SSIM of each image, as the squared error that it is worth. (N, 3, H, W) in [0, 1] -> (N,)."""
    similarity = pytorch_msssim.ms_ssim(decoded, images, data_range=1.0, size_average=False)
    low, high = map(math.log, MS_SSIM_WORTH)
    return (1 - similarity) * torch.exp(low + quality / 100 * (high - low))


DISTORTIONS = {"psnr": squared_error, "msssim": structural_error}


@torch.no_grad()
def validate(model: HyperpriorModel, photos: list[Tensor], metric: str = "psnr") -> Points:
    """Mean estimated bits per pixel and mean of a metric over the validation photos, at each of
    `VALIDATION_QUALITIES`.

    Photos are cut to multiples of 64 pixels; those too small for the metric are left out.
    """
    model.eval()
    points, device = [], next(model.parameters()).device
    for quality in VALIDATION_QUALITIES:
        rates, values = [], []
        for photo in map(cut, photos):
            image = (photo[None].float() / 255).to(device, memory_format=torch.channels_last)
            decoded, bits = model(image, torch.tensor([quality], device=device))
            pixels = (decoded.clamp(0, 1) * 255).round().byte().cpu()
            value = METRICS[metric].compute(*(x.permute(1, 2, 0).numpy() for x in (photo, pixels[0])))
            if value is not None:
                rates.append(float(bits) / (photo.shape[1] * photo.shape[2]))
                values.append(value)
        points.append((float(np.mean(rates)), float(np.mean(values))))
    model.train()
    return points


def cut(photo: Tensor) -> Tensor:
    """(3, H, W) to multiples of 64 pixels."""
    height, width = (s // 64 * 64 for s in photo.shape[1:])
    return photo[:, :height, :width]


def optimisers_of(model: HyperpriorModel, schedule: Schedule) -> MuonAndAdam:
    """Muon for matrices and 1x1 convolutions, Adam with three rates for the rest."""
    matrices: list[nn.Parameter] = []
    groups: dict[str, list[nn.Parameter]] = {"gains": [], "kernels": [], "rest": []}
    for name, parameter in model.named_parameters():
        pointwise = parameter.ndim == 4 and parameter.shape[2:] == (1, 1) and "hyper_encoder" not in name
        if pointwise or name.endswith(("expand.weight", "project.weight")):
            matrices.append(parameter)
        elif "log_step" in name:
            groups["gains"].append(parameter)
        else:
            groups["kernels" if name.endswith("kernel") else "rest"].append(parameter)
    rates = {"gains": 3.0, "kernels": 0.2, "rest": 1.0}
    rest = [{"params": p, "lr": schedule.adam_rate * rates[k]} for k, p in groups.items()]
    return MuonAndAdam(Muon(matrices, schedule.muon_rate), torch.optim.Adam(rest, betas=(0.9, 0.98)))


def new_model(photos: list[Tensor]) -> HyperpriorModel:
    """A model to begin with, which is little more than the lapped transform."""
    model = HyperpriorModel(HyperpriorConfig())
    model.measure_deviation([
        p[None, :, : p.shape[1] // 8 * 8, : p.shape[2] // 8 * 8].float() / 255 for p in photos[::24]
    ])
    return model


def begin(photos: list[Tensor], start: Path | None) -> tuple[HyperpriorModel, str | None]:
    """The model to begin with, and what it comes from, if anything.

    Raises:
        WeightsError: if `start` is no weights file.
    """
    if start is None:
        return new_model(photos), None
    earlier = load_weights(start, "cpu")
    return earlier.trainable(), f"{start.name} with the identity {earlier.identity.hex()}"


def train(data: Path, out: Path, schedule: Schedule, device: str = "cpu", seed: int = 0, start: Path | None = None,
          report: Callable[[str], None] = print, progress: Progress = no_progress, begin: Begin = begin) -> None:
    """Trains until the budget is used up; an interrupted run goes on from its last checkpoint in `out`.

    Checkpoints, snapshots of the averaged weights and a TensorBoard log land in `out`. Several ranks train together
    (`apps/train/ranks.py`); the log's losses are those of rank 0's share.

    Args:
        start: a weights file to go on from, with its integer networks simulated from the first step; None to begin
            with the lapped transform alone.
        begin: makes the model to begin with.

    Raises:
        InputError: if the photos are too few or too small.
        WeightsError: if `start` is no weights file.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    report, progress = by_first(report), by_first(progress)
    torch.manual_seed(seed)
    random_state = random.Random(seed)
    training, validation = load_photos(data)
    training = [photo for photo in training if min(photo.shape[1:]) >= schedule.crop]
    if not training:
        raise InputError(f"No photo in {data} has {schedule.crop} x {schedule.crop} pixels or more.")
    model, begun_with = begin(training, start)
    model = model.to(device, memory_format=torch.channels_last).train()
    alike(model)
    averaged = copy.deepcopy(model)
    optimisers = optimisers_of(model, schedule)
    step, elapsed = 0, 0.0
    if state := of_first(latest(checkpoint)):
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimisers.load_state_dict(state["optimisers"])
        random_state.setstate(state["random"])
        torch.set_rng_state(state["torch_random"])
        step, elapsed = state["step"], state["elapsed"]
        for m in (model, averaged):
            m.entropy_model.simulated = state["simulated"]
        report(f"going on from step {step}, {elapsed / 60:.1f} minutes")
    diverge(random_state)
    # what was logged after the checkpoint comes again
    log = SummaryWriter(out / "log", purge_step=step + 1) if rank() == 0 else None

    def save() -> None:
        save_checkpoint({
            "model": model.state_dict(), "averaged": averaged.state_dict(), "optimisers": optimisers.state_dict(),
            "random": random_state.getstate(), "torch_random": torch.get_rng_state(), "step": step,
            "elapsed": elapsed, "simulated": model.entropy_model.simulated, "config": model.config.to_metadata(),
            "tune": schedule.tune, "start": begun_with,
        }, checkpoint)
        save_checkpoint(averaged.state_dict(), out / f"averaged-{step}.pt")

    budget, next_save, began = schedule.minutes * 60, elapsed + SAVE_EVERY, time.monotonic() - elapsed
    while elapsed < budget:
        if elapsed > budget * (1 - schedule.integer_share) and not model.entropy_model.simulated:
            begin_integer_stage(model, averaged)
            report(f"step {step}: integer networks from here on")
        images = random_batch(training, schedule, random_state).to(device)
        quality = (torch.rand(schedule.batch, device=device) * 110 - 5).clamp(0, 100)
        loss, bpp, distortion = loss_of(model, images, quality, schedule.tune)
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()
        agree(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimisers.step(min(1.0, (step + 1) / schedule.warmup) * 0.5 * (1 + math.cos(math.pi * elapsed / budget)))
        step += 1
        average_into(averaged, model, min(schedule.averaging, (1 + step) / (10 + step)))
        elapsed = of_first(time.monotonic() - began)
        if log and step % 50 == 0:
            progress(min(elapsed / budget, 1), f"step {step}, loss {loss.item():.3f}")
            log.add_scalar("train/loss", loss.item(), step)
            log.add_scalar("train/bpp", bpp.mean().item(), step)
            log.add_scalar("train/distortion", (10 * torch.log10(255**2 / distortion)).mean().item(), step)
        if elapsed > next_save or elapsed >= budget:
            if log:
                points = log_validation(log, step, averaged, validation, METRIC_OF[schedule.tune])
                report(f"step {step}, {elapsed / 60:.1f} minutes: "
                       + ", ".join(f"{rate:.3f} bpp {value:.4g}" for rate, value in points))
                save()
            next_save = elapsed + SAVE_EVERY
            began = time.monotonic() - elapsed  # validation is not on the clock
    if log:
        log.close()


def log_validation(log: SummaryWriter, step: int, model: HyperpriorModel, photos: list[Tensor], metric: str) -> Points:
    """Validates and logs what came out."""
    points = validate(model, photos, metric)
    for quality, (bpp, value) in zip(VALIDATION_QUALITIES, points, strict=True):
        log.add_scalar(f"validation/bpp_at_{quality:g}", bpp, step)
        log.add_scalar(f"validation/{metric}_at_{quality:g}", value, step)
    return points
