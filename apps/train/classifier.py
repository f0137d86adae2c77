"""Recipe: train the classifier whose features are a metric of `eval`, on a thousand labelled photos.

So few photos call for a network whose first layer is fixed (`eval/classifier.py`) and for photos that never come twice
the same: random crops of all sizes, mirrored, with other colours, a part erased, and mixed in pairs (H. Zhang et al.,
"mixup", ICLR 2018). Convolutions are trained with Muon, everything else with Adam; the learning rate rises for some
steps and falls along a half cosine over the whole budget; weights are averaged, and the average is what is exported.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.apps.train.augmentation import augmented
from fewbits.apps.train.checkpoints import latest, replaced, save_checkpoint
from fewbits.apps.train.optimisation import Muon, MuonAndAdam, average_into
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.media import Image
from fewbits.codecs.precision import mixed_precision
from fewbits.errors import InputError
from fewbits.eval.classifier import SIDE, Classifier, ClassifierConfig, load, middle_square, save

SPLIT_EVERY = 7  # every 7th photo of a class is kept out of training
SAVE_EVERY = 60  # seconds between checkpoints, each validated
SMOOTHING = 0.1  # of labels
EVALUATED = 50  # photos at once


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    minutes: float
    batch: int = 64
    crop: int = 96  # pixels: less than in use, where objects are larger than in random crops
    adam_rate: float = 4e-3
    muon_rate: float = 1e-2
    warmup: int = 50  # steps
    averaging: float = 0.998


@dataclass(frozen=True)
class Photos:
    """Labelled photos: samples (N, 3, 128, 128) uint8, labels (N,) as places in `classes`."""

    samples: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path) -> "Photos":
        """Photos in a folder for each class, the middle square of each.

        Raises:
            InputError: if there are fewer than two such folders, one is empty, or a file cannot be read as a picture.
        """
        classes = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        samples, labels = [], []
        for label, own in enumerate(classes):
            for path in sorted(p for p in own.iterdir() if p.is_file()):
                samples.append(middle_square(Image.open(path).rgb()))
                labels.append(label)
        if len(set(labels)) < max(2, len(classes)):
            raise InputError(f"{folder} needs a folder of photos for each class, two at least, none of them empty.")
        return cls(torch.cat(samples), torch.tensor(labels), tuple(p.name for p in classes))

    def split(self) -> tuple["Photos", "Photos"]:
        """Those for training, and those by which to choose. Raises `InputError` if a class has too few."""
        if int(self.labels.bincount().min()) < SPLIT_EVERY:
            raise InputError(f"Each class needs {SPLIT_EVERY} photos at least, one of them to be kept out of training.")
        place = torch.cat([torch.arange(int(count)) for count in self.labels.bincount()])
        kept = place % SPLIT_EVERY == SPLIT_EVERY - 1
        return (Photos(self.samples[~kept], self.labels[~kept], self.classes),
                Photos(self.samples[kept], self.labels[kept], self.classes))


def loss_of(model: Classifier, photos: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of photos (N, 3, H, W) that are mixed in pairs, with the labels of both."""
    share = float(torch.distributions.Beta(0.4, 0.4).sample())
    others = torch.randperm(len(photos))
    mixed = torch.lerp(photos[others], photos, share).contiguous(memory_format=torch.channels_last)
    with mixed_precision(photos.device.type):
        scores = model(mixed)
    own, other = (F.cross_entropy(scores.float(), target, label_smoothing=SMOOTHING)
                  for target in (labels, labels[others]))
    return share * own + (1 - share) * other


@torch.inference_mode()
def accuracy(model: Classifier, photos: Photos) -> float:
    """Top-1: the share of photos whose class gets the highest score."""
    training = model.training
    model.eval()
    batches = zip(photos.samples.split(EVALUATED), photos.labels.split(EVALUATED), strict=True)
    right = sum(int((model(samples.float() / 255).argmax(1) == labels).sum()) for samples, labels in batches)
    model.train(training)
    return right / len(photos.labels)


def optimisers_of(model: Classifier, schedule: Schedule) -> MuonAndAdam:
    """Muon for convolutions, Adam for the rest."""
    kernels = [p for p in model.parameters() if p.ndim == 4]
    others = [p for p in model.parameters() if p.ndim < 4]
    return MuonAndAdam(Muon(kernels, schedule.muon_rate),
                       torch.optim.Adam(others, schedule.adam_rate, betas=(0.9, 0.98)))


def train(data: Path, out: Path, schedule: Schedule, config: ClassifierConfig, seed: int = 0,
          report: Callable[[str], None] = print, progress: Progress = no_progress) -> None:
    """Trains until the budget is used up; an interrupted run goes on from its last checkpoint in `out`.

    Args:
        data: a folder with `train/`, in which each class has a folder of photos.

    Raises:
        InputError: for a folder that is not so, and for one `out` that has another run.
    """
    training, validation = Photos.open(data / "train").split()
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    torch.manual_seed(seed)
    model = Classifier(config, training.classes).train()
    averaged = copy.deepcopy(model)
    optimisers = optimisers_of(model, schedule)
    step, elapsed = 0, 0.0
    if state := latest(checkpoint):
        if (state["config"], state["seed"]) != (config.to_metadata(), seed):
            raise InputError(f"{out} has a run of another width or seed: take another folder, or remove it.")
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimisers.load_state_dict(state["optimisers"])
        torch.set_rng_state(state["random"])
        step, elapsed = state["step"], state["elapsed"]
        report(f"going on from step {step}, {elapsed / 60:.1f} minutes")

    def keep() -> None:
        save_checkpoint({
            "model": model.state_dict(), "averaged": averaged.state_dict(), "optimisers": optimisers.state_dict(),
            "random": torch.get_rng_state(), "step": step, "elapsed": elapsed, "config": config.to_metadata(),
            "seed": seed,
        }, checkpoint)

    budget, next_save, began = schedule.minutes * 60, elapsed + SAVE_EVERY, time.monotonic() - elapsed
    while elapsed < budget:
        chosen = torch.randint(0, len(training.labels), (schedule.batch,))
        loss = loss_of(model, augmented(training.samples[chosen], schedule.crop), training.labels[chosen])
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()
        optimisers.step(min(1.0, (step + 1) / schedule.warmup) * 0.5 * (1 + math.cos(math.pi * elapsed / budget)))
        step += 1
        average_into(averaged, model, min(schedule.averaging, (1 + step) / (10 + step)))
        elapsed = time.monotonic() - began
        if step % 20 == 0:
            progress(min(elapsed / budget, 1), f"step {step}, loss {loss.item():.3f}")
        if elapsed > next_save or elapsed >= budget:
            report(f"step {step}, {elapsed / 60:.1f} minutes: loss {loss.item():.3f}, "
                   f"top-1 {accuracy(averaged, validation):.3f}")
            next_save = elapsed + SAVE_EVERY
            keep()
            began = time.monotonic() - elapsed  # validation is not on the clock


def export(run: Path, data: Path, weights: Path, report: Callable[[str], None] = print) -> None:
    """Turns a run's checkpoint into a weights file, and writes a model card beside it.

    Args:
        data: the folder that it was trained on. Photos in its `val/`, if there is one, are classified here alone.
    """
    state = torch.load(run / "checkpoint.pt", weights_only=False)
    training, validation = Photos.open(data / "train").split()
    averaged = Classifier(ClassifierConfig.from_metadata(state["config"]), training.classes)
    averaged.load_state_dict(state["averaged"])
    with replaced(weights) as temporary:
        save(averaged, temporary, {"date": f"{date.today()}", "steps": str(state["step"])})
    report(f"{weights}: {weights.stat().st_size / 1e6:.1f} MB")
    model = load(weights)
    held = {"photos kept out of training": validation}
    if (data / "val").is_dir():
        held["other photos, of `val/`"] = Photos.open(data / "val")
    top1 = [f"- Top-1: {100 * accuracy(model, photos):.1f} % of {len(photos.labels)} {name}"
            for name, photos in held.items()]
    text = "\n".join([
        f"# {weights.name}\n",
        "Weights of the classifier whose features are a metric of `eval`, made by `fewbits train classifier`.\n",
        f"- Date: {date.today()}",
        f"- Data: {len(training.labels)} photos of {SIDE} x {SIDE} pixels; every {SPLIT_EVERY}th of a class kept out",
        f"- Classes: {', '.join(training.classes)}",
        f"- Width: {model.config.width}, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} million weights",
        f"- Steps: {state['step']}, in {state['elapsed'] / 60:.0f} minutes; seed {state['seed']}",
        *top1, ""])
    with replaced(weights.with_suffix(".md")) as card:
        card.write_text(text)
