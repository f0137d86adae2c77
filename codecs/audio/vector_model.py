"""The trainable model whose latents go through stages of codebooks: sound in, sound and indices out."""

import math

import torch
from torch import Tensor

from fewbits.codecs.audio.config import VectorConfig
from fewbits.codecs.audio.model import TransformModel
from fewbits.codecs.audio.vector_quantiser import Quantised, VectorQuantiser, VectorQuantiserConfig
from fewbits.codecs.levels import level_weights


class VectorModel(TransformModel):
    """Latents are the sum of one entry of each of several codebooks; how many of them is the quality."""

    def __init__(self, config: VectorConfig) -> None:
        super().__init__(config)
        self.config = config
        self.quantiser = VectorQuantiser(VectorQuantiserConfig(
            config.latents, 1, config.stages, config.entries, code_dimension=None))

    def level_weights(self, stages: Tensor) -> Tensor:
        """Weights of the levels (N, L) that go with numbers of stages (N,)."""
        return level_weights((stages - 1) / (self.config.stages - 1) * 100, self.config.levels)

    def reconstruct(self, samples: Tensor, stages: Tensor) -> tuple[Tensor, Quantised]:
        """Decoded samples (N, S) and what quantisation did.

        Args:
            samples: (N, S) at the model's rate, S a multiple of the hop.
            stages: (N,) integers, from 1.
        """
        levels = self.level_weights(stages)
        latents = self.to_latents(samples, levels)
        with torch.autocast(samples.device.type, enabled=False):
            quantised = self.quantiser(latents.float(), stages)
        return self.to_samples(quantised.latents, levels), quantised

    def forward(self, samples: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded samples (N, S), and bits (N,) where every index has its full length.

        Args:
            samples: see `reconstruct`.
            quality: (N,) in [0, 100].
        """
        stages = 1 + torch.round(quality / 100 * (self.config.stages - 1)).long()
        decoded, quantised = self.reconstruct(samples, stages)
        return decoded, stages * quantised.indices.shape[2] * math.log2(self.config.entries)
