"""The trainable model: sound in, sound and rate out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.audio.config import AudioConfig
from fewbits.codecs.audio.entropy_model import EntropyModel
from fewbits.codecs.audio.mdct import Mdct
from fewbits.codecs.audio.transforms import Analysis, Synthesis
from fewbits.codecs.levels import level_weights


class AudioModel(nn.Module):
    """Transforms, steps of the quantiser and entropy model under one roof."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.mdct = Mdct(config.hop)
        self.analysis = Analysis(config)
        self.synthesis = Synthesis(config)
        self.log_gain = nn.Linear(config.levels, config.latents)  # of steps in a unit, by level
        self.entropy_model = EntropyModel(config)
        nn.init.zeros_(self.log_gain.weight)
        nn.init.ones_(self.log_gain.bias)

    def gain(self, level_weights: Tensor) -> Tensor:
        """Steps of the quantiser in a unit of each latent: (N, L) to (N, K)."""
        return torch.exp(self.log_gain(level_weights))

    def forward(self, samples: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded samples (N, S), and bits (N,).

        Args:
            samples: (N, S) at the model's rate, S a multiple of the hop, of one block at most.
            quality: (N,) in [0, 100].
        """
        levels = level_weights(quality, self.config.levels)
        gain, hop = self.gain(levels), self.config.hop
        latents = self.analysis(self.mdct(F.pad(samples, (hop, hop))), gain, levels)
        with torch.autocast(samples.device.type, enabled=False):
            decoded, bits = self.entropy_model(latents.float(), levels)
        return self.mdct.inverse(self.synthesis(decoded, gain, levels)), bits
