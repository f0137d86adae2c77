"""What the latents probably are: hyperprior and spatial-frequency context, trainable form.

Hyper-latents at 1/32 are decoded first; from them and from the latents that are already known, five small networks
predict mean and scale of the next group of latents. The groups (`PASSES`) go from low to high frequencies and, within
a frequency band, over the four phases of a 2x2 lattice, so that each pass codes thousands of latents at once and a
whole picture needs five passes. J. Balle et al., "Variational image compression with a scale hyperprior" (ICLR
2018); D. He et al., "Checkerboard context model" (CVPR 2021); "ELIC" (CVPR 2022) for groups of channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.latents import MEAN_FRACTION, SCALES, context_format, round_through, scale_of
from fewbits.codecs.levels import level_format
from fewbits.codecs.quantisation import FixedPoint, QuantisableLayer

MEAN_LIMIT = 2**15 - 1
CONTEXT_LIMIT = 2**12 - 1  # of decoded latents as the context networks see them
HYPER_LIMIT = 255  # of hyper-latents and of the hyper-decoder's activations
ACTIVATION_LIMIT = 4095  # of the passes' activations
HYPER_SCALE_LOW = 0.05  # least scale of a hyper-latent's distribution


@dataclass(frozen=True)
class Pass:
    """One step of decoding: which channels, at which phases (row, column) of the 2x2 lattice."""

    low: bool
    phases: tuple[tuple[int, int], ...]


PASSES = (
    Pass(True, ((0, 0),)),
    Pass(True, ((1, 1),)),
    Pass(True, ((0, 1), (1, 0))),
    Pass(False, ((0, 0), (1, 1))),
    Pass(False, ((0, 1), (1, 0))),
)


def take_phases(x: Tensor, phases: tuple[tuple[int, int], ...]) -> Tensor:
    """(N, C, H, W) -> (N * phases, C, H / 2, W / 2), phase after phase."""
    return torch.cat([x[..., i::2, j::2] for i, j in phases]).contiguous(memory_format=torch.channels_last)


def neighbourhoods(x: Tensor, phases: tuple[tuple[int, int], ...]) -> Tensor:
    """Like `take_phases` with a margin: a 3x3 convolution of stride 2 over it is centred on the phase's samples."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    windows = torch.cat([padded[..., i : i + height + 1, j : j + width + 1] for i, j in phases])
    return windows.contiguous(memory_format=torch.channels_last)


def level_planes(level_weights: Tensor, like: Tensor) -> Tensor:
    """(N, levels) as constant planes of the size of `like` (N * k, C, H, W)."""
    weights = level_weights.repeat(like.shape[0] // level_weights.shape[0], 1)
    return weights[:, :, None, None].expand(-1, -1, *like.shape[-2:])


class HyperDecoder(nn.Module):
    """Hyper-latents (N, 64, h / 4, w / 4) to features (N, 96, h, w) that every pass sees."""

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__()
        width = config.hyper_channels
        self.layers = nn.ModuleList([
            QuantisableLayer(nn.Conv2d(config.hyper_latents + config.levels, width, 3, padding=1), 0, HYPER_LIMIT),
            QuantisableLayer(nn.ConvTranspose2d(width, width, 4, stride=2, padding=1), 0, HYPER_LIMIT),
            QuantisableLayer(nn.ConvTranspose2d(width, width, 4, stride=2, padding=1), 0, HYPER_LIMIT),
        ])
        hyper_latents = FixedPoint.uniform(config.hyper_latents, 0, -HYPER_LIMIT, HYPER_LIMIT)
        self.input_format = hyper_latents.joined(level_format(config.levels))


class PassNetwork(nn.Module):
    """Mean and scale of one pass's latents from known latents, hyper-features and level."""

    def __init__(self, config: HyperpriorConfig, step: Pass) -> None:
        super().__init__()
        self.known = config.low_channels if step.low else config.LATENTS
        self.coded = config.low_channels if step.low else config.LATENTS - config.low_channels
        hidden = config.low_hidden if step.low else config.high_hidden
        multiplier = config.low_multiplier if step.low else config.high_multiplier
        spatial = self.known * multiplier
        context = spatial + config.hyper_channels + config.levels
        self.spatial = QuantisableLayer(
            nn.Conv2d(self.known, spatial, 3, stride=2, groups=self.known), -ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        self.hidden = nn.ModuleList([
            QuantisableLayer(nn.Conv2d(context, hidden, 1), 0, ACTIVATION_LIMIT, carrier=torch.float64),
            QuantisableLayer(nn.Conv2d(hidden, hidden, 1), 0, ACTIVATION_LIMIT, carrier=torch.float64),
        ])
        # low frequencies have large means, which do not fit through clamped activations: the context skips them
        self.skip = step.low
        joined = hidden + context if self.skip else hidden
        self.mean = QuantisableLayer(
            nn.Conv2d(joined, self.coded, 1), -MEAN_LIMIT, MEAN_LIMIT, MEAN_FRACTION, torch.float64)
        self.scale = QuantisableLayer(nn.Conv2d(joined, self.coded, 1), 0, SCALES - 1, 0, torch.float64)
        self.latent_format = context_format(self.known, CONTEXT_LIMIT)
        self.level_format = level_format(config.levels)
        nn.init.normal_(self.mean.operation.weight, std=1e-3)
        nn.init.normal_(self.scale.operation.weight, std=1e-2)
        nn.init.zeros_(self.mean.operation.bias)
        nn.init.constant_(self.scale.operation.bias, 20.0)

    def forward(self, known: Tensor, features: Tensor, level_weights: Tensor, phases: tuple[tuple[int, int], ...],
                feature_format: FixedPoint | None = None) -> tuple[Tensor, Tensor]:
        """Means (steps) and scale indices, each (N * phases, coded, H / 2, W / 2).

        Args:
            known: (N, known, H, W), zero where unknown.
            features: (N, 96, H, W).
            feature_format: format of the features; given, the integer network is simulated.
        """
        simulated = feature_format is not None
        spatial = self.spatial(neighbourhoods(known, phases), self.latent_format if simulated else None)
        features = take_phases(features, phases)
        context = torch.cat([spatial, features, level_planes(level_weights, features)], 1)
        context_format = (self.spatial.output_format.joined(feature_format, self.level_format)
                          if feature_format is not None else None)
        x, formats = context, context_format
        for layer in self.hidden:
            x, formats = layer(x, formats), layer.output_format if simulated else None
        if self.skip:
            x, formats = torch.cat([x, context], 1), formats.joined(context_format) if simulated else None
        return self.mean(x, formats), self.scale(x, formats)


def logistic_bits(residual: Tensor, scale: Tensor) -> Tensor:
    """-log2 of the mass that a zero-mean logistic puts on `residual` +- 1/2."""
    distance = residual.abs()
    mass = torch.sigmoid((0.5 - distance) / scale) - torch.sigmoid((-0.5 - distance) / scale)
    # where the mass underflows, the slope of the tail still leads back
    tail = (distance - 0.5) / scale * 1.4427
    return torch.where(mass > 1e-7, -torch.log2(mass.clamp(min=1e-7)), tail)


class EntropyModel(nn.Module):
    """Rate of latents under hyperprior and context; trainable twin of the integer networks in `coder.py`."""

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hyper_channels
        self.hyper_encoder = nn.Sequential(
            nn.Conv2d(config.LATENTS + config.levels, width, 3, stride=2, padding=1), nn.GELU(approximate="tanh"),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.GELU(approximate="tanh"),
            nn.Conv2d(width, config.hyper_latents, 1),
        )
        self.hyper_decoder = HyperDecoder(config)
        self.passes = nn.ModuleList(PassNetwork(config, step) for step in PASSES)
        self.hyper_log_scale = nn.Parameter(torch.zeros(config.levels, config.hyper_latents))
        self.hyper_mean = nn.Parameter(torch.zeros(config.levels, config.hyper_latents))
        self.simulated = False  # True: simulate the integer networks (second stage of training)

    def hyper_latents(self, latents: Tensor, input_scale: Tensor, level_weights: Tensor) -> Tensor:
        """Latents (N, 192, h, w), h and w multiples of 4 -> unrounded hyper-latents (N, 64, h / 4, w / 4)."""
        seen = latents * input_scale
        return self.hyper_encoder(torch.cat([seen, level_planes(level_weights, seen)], 1))

    def hyper_features(self, hyper_latents: Tensor, level_weights: Tensor) -> tuple[Tensor, FixedPoint | None]:
        """Features for the passes from rounded hyper-latents, and their format where integers are simulated."""
        x = torch.cat([hyper_latents, level_planes(level_weights, hyper_latents)], 1)
        formats = self.hyper_decoder.input_format if self.simulated else None
        for layer in self.hyper_decoder.layers:
            x, formats = layer(x, formats), layer.output_format if self.simulated else None
        return x, formats

    def forward(self, latents: Tensor, input_scale: Tensor, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Quantises latents as the codec does and measures their rate with uniform noise in place of rounding.

        Returns:
            Quantised latents (N, 192, h, w) and bits (N,).
        """
        config = self.config
        z = self.hyper_latents(latents, input_scale, level_weights).float()
        z_mean = (level_weights @ self.hyper_mean)[:, :, None, None]
        z_scale = (level_weights @ self.hyper_log_scale).exp()[:, :, None, None]
        bits = logistic_bits(self._noisy(z) - z_mean, z_scale + HYPER_SCALE_LOW).sum([1, 2, 3])
        features, feature_format = self.hyper_features(round_through(z), level_weights)

        decoded = torch.zeros_like(latents)
        for step, network in zip(PASSES, self.passes, strict=True):
            known = self._as_context(decoded[:, : network.known])
            mean, scale_index = network(known, features, level_weights, step.phases, feature_format)
            channels = slice(0, config.low_channels) if step.low else slice(config.low_channels, None)
            target = take_phases(latents[:, channels], step.phases)
            mean = mean.float()
            residual, pass_bits = self.quantised(target - mean, scale_index)
            bits = bits + pass_bits.view(len(step.phases), -1).sum(0)
            decoded = decoded.clone()
            for (i, j), phase in zip(step.phases, (residual + mean).chunk(len(step.phases)), strict=True):
                decoded[:, channels, i::2, j::2] = phase
        return decoded, bits

    def quantised(self, residual: Tensor, scale_index: Tensor) -> tuple[Tensor, Tensor]:
        """What residuals (N, C, H, W) become, and their bits (N,), by the predicted scales of these indices."""
        bits = logistic_bits(self._noisy(residual), scale_of(scale_index)).sum([1, 2, 3])
        return round_through(residual), bits

    def _noisy(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x) - 0.5 if self.training else torch.round(x)

    def _as_context(self, decoded: Tensor) -> Tensor:
        if not self.simulated:
            return decoded
        return context_format(decoded.shape[1], CONTEXT_LIMIT).rounded(decoded)
