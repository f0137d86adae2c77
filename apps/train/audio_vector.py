"""Recipe: give a trained codec for sound codebooks in place of rounding.

The transforms begin as those of a codec that rounds its latents, with the steps of one of its levels, so that latents
come in proportion to what they are worth. Codebooks begin by k-means on them; then all is trained together, every sound
of a batch with a random number of stages.
"""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewbits.apps.train.audio import CROP, SPEECH_DISTORTION, Run, Schedule
from fewbits.apps.train.ranks import alike, rank, summed
from fewbits.apps.train.sounds import random_batch
from fewbits.codecs.audio.config import TransformConfig, VectorConfig
from fewbits.codecs.audio.vector_model import VectorModel
from fewbits.codecs.audio.weights import load_weights
from fewbits.codecs.levels import level_weights
from fewbits.codecs.precision import mixed_precision

START_QUALITY = 40.0  # of the codec that rounds, about 2 kbit/s of speech
COMMITMENT = 0.05  # weight of the distance of latents from their entries
START_BLOCKS = 400  # that codebooks begin with


def schedule(minutes: float) -> Schedule:
    """Slower than from the start: the transforms know most already."""
    return Schedule(minutes, muon_rate=1e-2, adam_rate=5e-4, warmup=100)


class VectorRun(Run):
    """A run of the recipe, for speech.

    Args:
        rounding: the weights file to begin with.
    """

    def __init__(self, rounding: Path, schedule: Schedule, device: str = "cpu", seed: int = 0) -> None:
        torch.manual_seed(seed)
        start = load_weights(rounding, "cpu")
        config = VectorConfig(**{f.name: getattr(start.config, f.name) for f in fields(TransformConfig)})
        model = VectorModel(config)
        with torch.no_grad():
            gain = start.model.gain(level_weights(torch.tensor([START_QUALITY]), config.levels))
            start.model.log_gain.weight.zero_()
            start.model.log_gain.bias.copy_(gain[0].log())
        model.load_state_dict(start.model.state_dict(), strict=False)
        model.quantiser.summed = summed
        super().__init__(model, config, SPEECH_DISTORTION, schedule, device, seed)

    def prepare(self, clips: list[np.ndarray], report: Callable[[str], None]) -> None:
        """Codebooks begin by k-means on the latents of random blocks, which is up to rank 0."""
        if self.step:
            return
        if rank() == 0:
            self._begin_codebooks(clips)
        alike(self.model)
        self.averaged.load_state_dict(self.model.state_dict())
        report("codebooks have begun")

    @torch.no_grad()
    def _begin_codebooks(self, clips: list[np.ndarray]) -> None:
        source = random_batch(clips, START_BLOCKS, CROP * self.config.hop, self.schedule.level_spread, self.random)
        levels = self.model.level_weights(self.model.quantiser.random_stages(START_BLOCKS).cpu()).to(self.device)
        latents = [self.model.to_latents(part[None].to(self.device), level[None])
                   for part, level in zip(source, levels, strict=True)]
        self.model.quantiser.initialise(torch.cat(latents))

    def loss(self, source: Tensor) -> tuple[Tensor, dict[str, float]]:
        """See `Run.loss`."""
        with mixed_precision(source.device.type):
            decoded, quantised = self.model.reconstruct(source, self.model.quantiser.random_stages(len(source)))
        distortion = self.distortion(source, decoded.float(), self.config.rate).mean()
        health = self.model.quantiser.health()
        return distortion + COMMITMENT * quantised.loss, {
            "distortion": distortion.item(), "commitment": quantised.loss.item(),
            "entries_in_use": health.used.mean().item(), "perplexity": health.perplexity.mean().item()}
