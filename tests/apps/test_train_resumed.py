"""Training that was killed goes on as if nothing had been: from the last checkpoint, step for step, the same losses.

How fast a recipe learns at a step depends on the clock, so here the clock counts steps.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from fewbits.codecs.audio.codec import SpeechCodec
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.vqextreme.config import VqExtremeConfig
from fewbits.codecs.sound import Audio
from fewbits.eval.classifier import ClassifierConfig

pytest.importorskip("tensorboard", reason="training needs fewbits[train]")

from fewbits.apps.train import (
    audio,
    audio_scalar,
    audio_vector,
    classifier,
    hyperprior,
    mcq,
    vqextreme,
    vqextreme_start,
)
from fewbits.apps.train.sounds import Clips

MINUTES = 12 / 60  # of a clock whose seconds are steps
SAVED_EVERY = 4  # checkpoints come after steps 5 and 10
KILLED_AT = 8
SMALL = HyperpriorConfig(transform_hidden=8, analysis_blocks=1, synthesis_blocks=1, hyper_channels=8, hyper_latents=4,
                         low_hidden=8, low_multiplier=1, high_hidden=8, high_multiplier=1)
NARROW = HyperpriorConfig(transform_hidden=128, low_hidden=64, high_hidden=64, high_multiplier=1)
TINY = VqExtremeConfig(channels=72, hidden=16, outer_hidden=16, outer_blocks=1, fine_blocks=1, coarse_blocks=1,
                       dimensions=16)


@dataclass(frozen=True)
class Recipe:
    """What is trained.

    Attributes:
        clock: the module that looks at the clock.
        step, loss: where a step is made and its name, and the loss in what it gives.
        train: trains in a folder.
    """

    clock: ModuleType
    step: tuple[Any, str]
    loss: Callable[[Any], float]
    train: Callable[[Path], None]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of two classes."""
    generator = np.random.default_rng(0)
    for name in ("leaf", "sky"):
        folder = tmp_path / "photos" / "train" / name
        folder.mkdir(parents=True)
        for number in range(7):
            rough = generator.integers(0, 256, (13, 13, 3), dtype=np.uint8)
            PillowImage.fromarray(rough).resize((192, 192)).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    """Noise of three speakers."""
    generator = np.random.default_rng(0)
    for number in range(3):
        noise = 0.05 * generator.normal(size=(1, 24000)).astype(np.float32)
        Audio(noise, 16000).save(tmp_path / f"someone_{number}-1.wav")
    return Clips.open(tmp_path, 16000)


@pytest.fixture
def recipe(request: pytest.FixtureRequest, photos: Path, clips: Clips, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The recipe of a name, with a small model that is hardly validated."""
    name, leaves = request.param, photos / "train" / "leaf"
    monkeypatch.setattr(hyperprior, "VALIDATION_QUALITIES", (50.0,))
    monkeypatch.setattr(audio, "VALIDATION_QUALITIES", ())
    monkeypatch.setattr(audio, "validate", lambda *_: [])
    monkeypatch.setattr(audio_vector, "START_BLOCKS", 20)
    monkeypatch.setattr(vqextreme_start, "LLOYD_ITERATIONS", 1)
    monkeypatch.setattr(hyperprior, "HyperpriorConfig", lambda: SMALL)
    monkeypatch.setattr(mcq, "MCQ", NARROW)
    monkeypatch.setattr(mcq, "MEASURED", 4)
    if name == "classifier":
        return Recipe(classifier, (classifier, "loss_of"), torch.Tensor.item, lambda out: classifier.train(
            photos, out, classifier.Schedule(MINUTES, batch=4, crop=32), ClassifierConfig(8, 1)))
    if name == "vqextreme":
        schedule = vqextreme.Schedule(MINUTES, batch=1, crop=192, adversary_from=0.3)
        return Recipe(vqextreme, (vqextreme.Run, "update"), float, lambda out: vqextreme.train(
            leaves, out, schedule, TINY))
    if name in ("hyperprior", "mcq"):
        begin = mcq.begin if name == "mcq" else hyperprior.begin
        return Recipe(hyperprior, (hyperprior, "loss_of"), lambda result: result[0].item(),
                      lambda out: hyperprior.train(leaves, out, hyperprior.Schedule(MINUTES, batch=1, crop=64),
                                                   begin=begin))

    def run() -> audio.Run:
        if name == "speech":
            return audio_scalar.ScalarRun(audio_scalar.RECIPES[name], audio.Schedule(MINUTES, batch=1), "cpu")
        return audio_vector.VectorRun(SpeechCodec.weights_path, audio_vector.schedule(MINUTES), "cpu")

    return Recipe(audio, (audio.Run, "train_step"), lambda measured: measured["loss"],
                  lambda out: audio.train(run(), clips, out))


class KilledError(Exception):
    """In the place of a kill."""


def losses_of(recipe: Recipe, out: Path, killed_at: int | None = None) -> list[float]:
    """Trains; what each step gives, until it is over or killed."""
    losses: list[float] = []
    owner, name = recipe.step
    act, ticks = getattr(owner, name), itertools.count()

    def listen(*arguments: Any, **options: Any) -> Any:
        if len(losses) == killed_at:
            raise KilledError
        result = act(*arguments, **options)
        losses.append(recipe.loss(result))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, listen)
        patch.setattr(recipe.clock, "SAVE_EVERY", SAVED_EVERY)
        patch.setattr(recipe.clock, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
        if killed_at is None:
            recipe.train(out)
        else:
            with pytest.raises(KilledError):
                recipe.train(out)
    return losses


SLOW = ("hyperprior", "mcq", "vqextreme", "speech", "speech-vq")


@pytest.mark.parametrize("recipe", ["classifier", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)],
                         indirect=True)
def test_losses_and_weights_are_those_of_a_run_that_was_not_killed(recipe: Recipe, tmp_path: Path) -> None:
    whole = losses_of(recipe, tmp_path / "whole")
    assert len(whole) == 12
    assert losses_of(recipe, tmp_path / "killed", KILLED_AT) == whole[:KILLED_AT]
    assert losses_of(recipe, tmp_path / "killed") == whole[5:]
    one, other = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=False) for run in ("whole", "killed"))
    assert one["step"] == other["step"] == 12
    torch.testing.assert_close(other["averaged"], one["averaged"], rtol=0, atol=0)
