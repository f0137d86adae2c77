"""The trainable models: sound in, sound and rate out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.audio.config import AudioConfig, TransformConfig
from fewbits.codecs.audio.entropy_model import EntropyModel
from fewbits.codecs.audio.mdct import Mdct
from fewbits.codecs.audio.transforms import Analysis, Synthesis
from fewbits.codecs.levels import level_weights


class TransformModel(nn.Module):
    """What models have in common: samples to latents, counted in steps of a quantiser, and back."""

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        self.mdct = Mdct(config.hop)
        self.analysis = Analysis(config)
        self.synthesis = Synthesis(config)
        self.log_gain = nn.Linear(config.levels, config.latents)  # of steps in a unit, by level
        nn.init.zeros_(self.log_gain.weight)
        nn.init.ones_(self.log_gain.bias)

    def gain(self, level_weights: Tensor) -> Tensor:
        """Steps of the quantiser in a unit of each latent: (N, L) to (N, K)."""
        return torch.exp(self.log_gain(level_weights))

    def to_latents(self, samples: Tensor, levels: Tensor) -> Tensor:
        """(N, S) samples, S a multiple of the hop, with silence around them, to latents (N, K, S / hop + 1)."""
        hop = self.mdct.hop
        return self.analysis(self.mdct(F.pad(samples, (hop, hop))), self.gain(levels), levels)

    def to_samples(self, latents: Tensor, levels: Tensor) -> Tensor:
        """Inverse of `to_latents`."""
        return self.mdct.inverse(self.synthesis(latents, self.gain(levels), levels))


class AudioModel(TransformModel):
    """Latents are rounded one by one; an entropy model knows their rate."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__(config)
        self.config = config
        self.entropy_model = EntropyModel(config)

    def forward(self, samples: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded samples (N, S), and bits (N,).

        Args:
            samples: (N, S) at the model's rate, S a multiple of the hop.
            quality: (N,) in [0, 100].
        """
        levels = level_weights(quality, self.config.levels)
        latents = self.to_latents(samples, levels)
        with torch.autocast(samples.device.type, enabled=False):
            decoded, bits = self._coded(latents.float(), levels)
        return self.to_samples(decoded, levels), bits

    def _coded(self, latents: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """What `EntropyModel` gives, of latents (N, K, T) of as many blocks as need be."""
        count, whole = len(latents), latents.shape[2] // self.config.block
        blocks = latents[:, :, : whole * self.config.block].unflatten(2, (whole, self.config.block)).transpose(1, 2)
        decoded, bits = self.entropy_model(blocks.flatten(0, 1), levels.repeat_interleave(whole, 0))
        decoded = decoded.unflatten(0, (count, whole)).transpose(1, 2).flatten(2)
        last, last_bits = self.entropy_model(latents[:, :, whole * self.config.block :], levels)
        return torch.cat([decoded, last], 2), bits.unflatten(0, (count, whole)).sum(1) + last_bits
