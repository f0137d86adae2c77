"""What the latents of a block probably are, trainable form.

The frames of a block are coded in five passes: every 16th frame, then those in the middle between them, and so on. A
frame sees the two nearest known frames on either side, so that 15 of 16 frames are interpolated rather than predicted,
and a pass codes all its frames at once. In each pass the first half of the latents comes before the second, which sees
it. Small networks give the mean and the scale of each latent. (Checkerboard contexts, D. He et al., CVPR 2021, carried
over to time.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.audio.config import AudioConfig
from fewbits.codecs.latents import MEAN_FRACTION, SCALES, context_format, round_through, scale_of
from fewbits.codecs.levels import level_format
from fewbits.codecs.quantisation import QuantisableLayer

MEAN_LIMIT = 2**13 - 1
CONTEXT_LIMIT = 2**11 - 1  # of decoded latents as the networks see them
ACTIVATION_LIMIT = 4095


@dataclass(frozen=True)
class Pass:
    """One step of decoding: frames `start`, `start + step`, ... and, for each, known frames at `offsets` from it."""

    start: int
    step: int
    offsets: tuple[int, ...]


PASSES = (Pass(0, 16, ()), *(Pass(n, 2 * n, (-3 * n, -n, n, 3 * n)) for n in (8, 4, 2, 1)))


def neighbours(latents: Tensor, step: Pass) -> Tensor:
    """What the frames of a pass see of a block.

    Args:
        latents: (N, K, T), 0 where unknown.

    Returns:
        (N, offsets * K, 1, frames); frames outside the block count as 0.
    """
    frames, margin = latents.shape[2], 3 * max(step.start, 1)
    padded = F.pad(latents, (margin, margin))
    seen = [padded[:, :, margin + step.start + o : margin + frames + o : step.step] for o in step.offsets]
    return torch.cat(seen, 1)[:, :, None]


def level_rows(level_weights: Tensor, frames: int) -> Tensor:
    """(N, L) to (N, L, 1, frames)."""
    return level_weights[:, :, None, None].expand(-1, -1, 1, frames)


class HalfNetwork(nn.Module):
    """Mean and scale of one half of the latents in the frames of a pass.

    Args:
        seen: latents among the inputs; the level comes after them.
        coded: latents whose distributions come out.
    """

    def __init__(self, config: AudioConfig, seen: int, coded: int) -> None:
        super().__init__()
        hidden = config.context_hidden
        self.input_format = level_format(config.levels)
        if seen:
            self.input_format = context_format(seen, CONTEXT_LIMIT).joined(self.input_format)
        inputs = seen + config.levels
        self.hidden = nn.ModuleList([
            QuantisableLayer(nn.Conv2d(inputs, hidden, 1), 0, ACTIVATION_LIMIT, carrier=torch.float64),
            QuantisableLayer(nn.Conv2d(hidden, hidden, 1), 0, ACTIVATION_LIMIT, carrier=torch.float64),
        ])
        # the heads see the inputs too: a mean is mostly a sum of neighbours
        self.mean = QuantisableLayer(
            nn.Conv2d(hidden + inputs, coded, 1), -MEAN_LIMIT, MEAN_LIMIT, MEAN_FRACTION, torch.float64)
        self.scale = QuantisableLayer(nn.Conv2d(hidden + inputs, coded, 1), 0, SCALES - 1, 0, torch.float64)
        for head, deviation in ((self.mean, 1e-3), (self.scale, 1e-2)):
            nn.init.normal_(head.operation.weight, std=deviation)
            nn.init.zeros_(head.operation.bias)
        nn.init.constant_(self.scale.operation.bias, 24.0)

    def forward(self, inputs: Tensor, simulated: bool) -> tuple[Tensor, Tensor]:
        """Inputs (N, seen + L, 1, frames) to means (steps) and scale indices, each (N, coded, 1, frames).

        Args:
            simulated: whether to compute as the integer network will.
        """
        x, formats = inputs, self.input_format if simulated else None
        for layer in self.hidden:
            x, formats = layer(x, formats), layer.output_format if simulated else None
        if formats is not None:
            formats = formats.joined(self.input_format)
        x = torch.cat([x, inputs], 1)
        return self.mean(x, formats), self.scale(x, formats)


class EntropyModel(nn.Module):
    """Rate of the latents of blocks; trainable twin of `exact_networks`."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        first, second = config.first_latents, config.latents - config.first_latents
        around = [len(step.offsets) * config.latents for step in PASSES]
        self.first = nn.ModuleList(HalfNetwork(config, seen, first) for seen in around)
        self.second = nn.ModuleList(HalfNetwork(config, seen + first, second) for seen in around)
        self.simulated = False  # True: simulate the integer networks (second stage of training)

    def forward(self, latents: Tensor, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Quantises latents as the codec does and measures their rate, in training with the slopes of uniform noise.

        Args:
            latents: (N, K, T) in steps; T at most `AudioConfig.block`.

        Returns:
            Quantised latents (N, K, T) and bits (N,).
        """
        decoded, bits = torch.zeros_like(latents), latents.new_zeros(len(latents))
        half = self.config.first_latents
        for step, first, second in zip(PASSES, self.first, self.second, strict=True):
            wanted = latents[:, :, None, step.start :: step.step]
            if not wanted.shape[3]:
                continue
            inputs = level_rows(level_weights, wanted.shape[3])
            if step.offsets:
                inputs = torch.cat([self._as_context(neighbours(decoded, step)), inputs], 1)
            a, bits_a = self._half(first, wanted[:, :half], inputs)
            b, bits_b = self._half(second, wanted[:, half:], torch.cat([self._as_context(a), inputs], 1))
            decoded = decoded.clone()
            decoded[:, :, step.start :: step.step] = torch.cat([a, b], 1)[:, :, 0]
            bits = bits + bits_a + bits_b
        return decoded, bits

    def _half(self, network: HalfNetwork, wanted: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised latents of a half and their bits (N,)."""
        mean, scale_index = network(inputs, self.simulated)
        residual = wanted - mean
        scale = scale_of(scale_index)
        bits = laplace_bits(torch.round(residual), scale)
        if self.training:
            # rounding has no slopes, so noise lends its own; in the end scales settle on what is really coded
            noise = torch.rand_like(residual) - 0.5
            noisy = laplace_bits(residual + noise, scale.detach() if self.simulated else scale)
            bits = (bits if self.simulated else bits.detach()) + noisy - noisy.detach()
        return round_through(residual) + mean, bits.sum([1, 2, 3])

    def _as_context(self, decoded: Tensor) -> Tensor:
        """Decoded latents as the networks see them."""
        if not self.simulated:
            return decoded
        return context_format(decoded.shape[1], CONTEXT_LIMIT).rounded(decoded)


def laplace_bits(residual: Tensor, scale: Tensor) -> Tensor:
    """-log2 of the mass that a zero-mean Laplacian with this mean distance puts on `residual` +- 1/2."""
    distance = residual.abs()
    inner, outer = torch.exp(-(distance - 0.5).abs() / scale), torch.exp(-(distance + 0.5) / scale)
    mass = torch.where(distance > 0.5, 0.5 * (inner - outer), 1 - 0.5 * (inner + outer))
    # where the mass underflows, the slope of the tail still leads back
    return torch.where(mass > 1e-7, -torch.log2(mass.clamp(min=1e-7)), (distance - 0.5) / scale * 1.4427)
