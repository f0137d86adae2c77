"""Recipe: train a codec for sound whose latents are rounded one by one.

One run, two stages on one clock. First everything is trained in floating point. Then the networks that choose
probabilities are calibrated and fine-tuned as the integer networks they will become.

The loss is distortion plus rate times a multiplier. What multiplier leads to what rate depends on how far the model has
learned, so multipliers are steered: each level has one, which grows while the level's sounds take more bits than they
should.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.apps.train.audio import SOUND_DISTORTION, SPEECH_DISTORTION, Distortion, Run, Schedule
from fewbits.apps.train.optimisation import begin_integer_stage
from fewbits.apps.train.ranks import summed
from fewbits.codecs.audio.config import SOUND, SPEECH, SPEECH_LIVE, AudioConfig
from fewbits.codecs.audio.model import AudioModel, TransformModel
from fewbits.codecs.audio.transforms import FrameConvolution
from fewbits.codecs.audio.weights import load_weights
from fewbits.codecs.levels import level_weights
from fewbits.codecs.precision import mixed_precision


@dataclass(frozen=True)
class Recipe:
    """What to train, and for what rates.

    Attributes:
        rates: kbit/s at quality 0 and 100; those between lie evenly in octaves.
        multipliers: of the rate in kbit/s, at quality 0 and 100, where training begins.
        multiplier_limits: between which they are steered.
    """

    config: AudioConfig
    distortion: Distortion
    rates: tuple[float, float]
    multipliers: tuple[float, float]
    multiplier_limits: tuple[float, float]


RECIPES = {
    "speech": Recipe(SPEECH, SPEECH_DISTORTION, (1.5, 9.0), (0.3, 0.02), (0.005, 3.0)),
    "speech-live": Recipe(SPEECH_LIVE, SPEECH_DISTORTION, (2.0, 10.0), (0.3, 0.02), (0.005, 3.0)),
    "sound": Recipe(SOUND, SOUND_DISTORTION, (3.0, 16.0), (0.15, 0.01), (0.002, 3.0)),
}


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
        """Learns from the rates (N,) of a batch, on all ranks alike."""
        low, high = self.recipe.rates
        wanted = low * (high / low) ** (quality / 100)
        miss = (kbps / wanted).log().clamp(-1, 1)
        self.logs += self.steering * summed((weights * miss[:, None]).sum(0))
        self.logs.clamp_(*map(math.log, self.recipe.multiplier_limits))


class ScalarRun(Run):
    """A run of a recipe.

    Args:
        start: a weights file whose transforms to begin with; from the MDCT alone where there is none.
    """

    def __init__(self, recipe: Recipe, schedule: Schedule, device: str = "cpu", seed: int = 0,
                 start: Path | None = None) -> None:
        torch.manual_seed(seed)
        model = AudioModel(recipe.config)
        if start is not None:
            begin_with(model, load_weights(start, "cpu").model)
        super().__init__(model, recipe.config, recipe.distortion, schedule, device, seed)
        self.multipliers = Multipliers(recipe, schedule.steering)

    def prepare(self, clips: list[np.ndarray], report: Callable[[str], None]) -> None:
        """Begins the stage with integer networks when its time has come."""
        if self.share > 1 - self.schedule.integer_share and not self.model.entropy_model.simulated:
            begin_integer_stage(self.model, self.averaged)
            report(f"step {self.step}: integer networks from here on")

    def loss(self, source: Tensor) -> tuple[Tensor, dict[str, float]]:
        """See `Run.loss`."""
        config = self.config
        quality = (torch.rand(len(source)) * 110 - 5).clamp(0, 100)
        with mixed_precision(source.device.type):
            decoded, bits = self.model(source, quality.to(self.device))
        kbps = bits / source.shape[1] * config.rate / 1000
        distortion = self.distortion(source, decoded.float(), config.rate)
        weights = level_weights(quality, config.levels)
        multipliers = self.multipliers.of(weights).to(self.device)
        if self.step >= self.schedule.warmup:
            self.multipliers.steer(weights, quality, kbps.detach().cpu())
        return (distortion + multipliers * kbps).mean(), {"kbps": kbps.mean().item(),
                                                          "distortion": distortion.mean().item()}

    def state(self) -> dict[str, Any]:
        """See `Run.state`."""
        return super().state() | {"multipliers": self.multipliers.logs, "simulated": self.model.entropy_model.simulated}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Run.restore`."""
        super().restore(state)
        self.multipliers.logs = state["multipliers"]
        for model in (self.model, self.averaged):
            model.entropy_model.simulated = state["simulated"]


@torch.no_grad()
def begin_with(model: TransformModel, trained: TransformModel) -> None:
    """Takes over the transforms of a trained model; where `model` is causal, convolutions forget what lies ahead."""
    for name, taken in trained.named_modules():
        if not isinstance(taken, FrameConvolution):
            continue
        if ahead := taken.margins[1] - model.get_submodule(name).margins[1]:
            taken.weight.copy_(F.pad(taken.weight[:, :, :-ahead], (ahead, 0)))
    for part in ("analysis", "synthesis", "log_gain"):
        model.get_submodule(part).load_state_dict(trained.get_submodule(part).state_dict())
