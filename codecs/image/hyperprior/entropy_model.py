"""What the latents probably are: hyperprior and spatial-frequency context, trainable form.

Hyper-latents at 1/32 are decoded first, then latents, both in the order of `passes.py`. From what is known already, a
small network predicts mean and scale of all that a pass codes at once.
J. Balle et al., "Variational image compression with a scale hyperprior" (ICLR 2018).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.passes import HYPER_LIMIT, HYPER_PASSES, Pass, passes_of
from fewbits.codecs.latents import MEAN_FRACTION, SCALES, context_format, round_through, scale_of
from fewbits.codecs.levels import level_format
from fewbits.codecs.quantisation import FixedPoint, QuantisableLayer

MEAN_LIMIT = 2**15 - 1
FEATURE_LIMIT = 255  # of the hyper-decoder's activations
ACTIVATION_LIMIT = 4095  # of the passes' activations, but for high frequencies
FLOAT32_LIMIT = 511  # of activations that leave weights enough bits in sums of float32


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
            QuantisableLayer(nn.Conv2d(config.hyper_latents + config.levels, width, 3, padding=1), 0, FEATURE_LIMIT),
            QuantisableLayer(nn.ConvTranspose2d(width, width, 4, stride=2, padding=1), 0, FEATURE_LIMIT),
            QuantisableLayer(nn.ConvTranspose2d(width, width, 4, stride=2, padding=1), 0, FEATURE_LIMIT),
        ])
        self.input_format = context_format(config.hyper_latents, HYPER_LIMIT).joined(level_format(config.levels))

    @property
    def output_format(self) -> FixedPoint:
        """Of the features."""
        return self.layers[-1].output_format


class PassNetwork(nn.Module):
    """Mean and scale of what one pass codes, from what is known of the same tensor, hyper-features and level."""

    def __init__(self, config: HyperpriorConfig, step: Pass) -> None:
        super().__init__()
        self.step = step
        self.known = config.hyper_latents if step.known is None else step.known
        coded = len(range(self.known)[step.channels])
        hidden, multiplier = ((config.hyper_hidden, config.low_multiplier) if step.hyper
                              else (config.low_hidden, config.low_multiplier) if step.low
                              else (config.high_hidden, config.high_multiplier))
        spatial = self.known * multiplier
        context = spatial + config.hyper_channels * (not step.hyper) + config.levels
        limit = ACTIVATION_LIMIT if step.hyper or step.low else config.high_limit
        carrier = torch.float32 if limit <= FLOAT32_LIMIT else torch.float64
        self.spatial = QuantisableLayer(
            nn.Conv2d(self.known, spatial, 3, stride=2, groups=self.known), -limit, limit)
        self.hidden = nn.ModuleList([
            QuantisableLayer(nn.Conv2d(context, hidden, 1), 0, limit, carrier=carrier),
            QuantisableLayer(nn.Conv2d(hidden, hidden, 1), 0, limit, carrier=carrier),
        ])
        # low frequencies have large means, which do not fit through clamped activations: the context skips them
        self.skip = step.hyper or step.low
        joined = hidden + context if self.skip else hidden
        self.mean = QuantisableLayer(
            nn.Conv2d(joined, coded, 1), -MEAN_LIMIT, MEAN_LIMIT, MEAN_FRACTION, carrier)
        self.scale = QuantisableLayer(nn.Conv2d(joined, coded, 1), 0, SCALES - 1, 0, carrier)
        self.known_format = context_format(self.known, step.known_limit)
        self.level_format = level_format(config.levels)
        nn.init.normal_(self.mean.operation.weight, std=1e-3)
        nn.init.normal_(self.scale.operation.weight, std=1e-2)
        nn.init.zeros_(self.mean.operation.bias)
        nn.init.constant_(self.scale.operation.bias, 20.0)

    def context_format(self, features: FixedPoint) -> FixedPoint:
        """Of what the hidden layers see; `features`: of the hyper-features."""
        parts = [] if self.step.hyper else [features]
        return self.spatial.output_format.joined(*parts, self.level_format)

    def forward(self, known: Tensor, features: Tensor | None, level_weights: Tensor,
                feature_format: FixedPoint | None = None) -> tuple[Tensor, Tensor]:
        """Means (steps) and scale indices, each (N * phases, coded, h, w).

        Args:
            known: (N, known, H, W), zero where unknown.
            features: (N, 96, H, W); None for hyper-latents.
            feature_format: format of the features; given, the integer network is simulated.
        """
        spatial = self.spatial(self.step.neighbourhoods(known), None if feature_format is None else self.known_format)
        context = joined_context(self.step, spatial, features, level_weights)
        context_format = None if feature_format is None else self.context_format(feature_format)
        x, formats = context, context_format
        for layer in self.hidden:
            x, formats = layer(x, formats), None if formats is None else layer.output_format
        if self.skip:
            x = torch.cat([x, context], 1)
            formats = None if formats is None or context_format is None else formats.joined(context_format)
        return self.mean(x, formats), self.scale(x, formats)


def joined_context(step: Pass, spatial: Tensor, features: Tensor | None, level_weights: Tensor) -> Tensor:
    """What the hidden layers of a pass see: neighbourhoods, hyper-features where there are any, level."""
    parts = [spatial] if features is None else [spatial, step.take(features)]
    return torch.cat([*parts, level_planes(level_weights, spatial)], 1)


def logistic_bits(residual: Tensor, scale: Tensor) -> Tensor:
    """-log2 of the mass that a zero-mean logistic puts on `residual` +- 1/2."""
    distance = residual.abs()
    mass = torch.sigmoid((0.5 - distance) / scale) - torch.sigmoid((-0.5 - distance) / scale)
    # where the mass underflows, the slope of the tail still leads back
    tail = (distance - 0.5) / scale * 1.4427
    return torch.where(mass > 1e-7, -torch.log2(mass.clamp(min=1e-7)), tail)


class EntropyModel(nn.Module):
    """Rate of latents under hyperprior and context; trainable twin of the integer networks in `exact_networks.py`."""

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hyper_channels
        self.hyper_encoder = nn.Sequential(
            nn.Conv2d(config.LATENTS + config.levels, width, 3, stride=2, padding=1), nn.GELU(approximate="tanh"),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.GELU(approximate="tanh"),
            nn.Conv2d(width, config.hyper_latents, 1),
        )
        self.hyper_passes = nn.ModuleList(PassNetwork(config, step) for step in HYPER_PASSES)
        self.hyper_decoder = HyperDecoder(config)
        self.passes = nn.ModuleList(PassNetwork(config, step) for step in passes_of(config))
        self.simulated = False  # True: simulate the integer networks (second stage of training)

    def hyper_latents(self, latents: Tensor, input_scale: Tensor, level_weights: Tensor) -> Tensor:
        """Latents (N, 192, h, w), h and w multiples of 4 -> unrounded hyper-latents (N, 64, h / 4, w / 4)."""
        seen = latents * input_scale
        return self.hyper_encoder(torch.cat([seen, level_planes(level_weights, seen)], 1))

    def hyper_features(self, hyper_latents: Tensor, level_weights: Tensor) -> Tensor:
        """Features for the passes (N, 96, h, w) from decoded hyper-latents (N, 64, h / 4, w / 4)."""
        hyper_latents = self._seen(hyper_latents, HYPER_LIMIT)
        x = torch.cat([hyper_latents, level_planes(level_weights, hyper_latents)], 1)
        formats = self.hyper_decoder.input_format if self.simulated else None
        for layer in self.hyper_decoder.layers:
            x, formats = layer(x, formats), layer.output_format if self.simulated else None
        return x

    def forward(self, latents: Tensor, input_scale: Tensor, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Quantises latents as the codec does and measures their rate with uniform noise in place of rounding.

        Args:
            latents: (N, 192, h, w), h and w multiples of 8.

        Returns:
            Quantised latents (N, 192, h, w) and bits (N,).
        """
        hyper_latents = self.hyper_latents(latents, input_scale, level_weights).float()
        decoded, hyper_bits = self._through(self.hyper_passes, hyper_latents, None, level_weights)
        features = self.hyper_features(decoded, level_weights)
        decoded, bits = self._through(self.passes, latents, features, level_weights)
        return decoded, hyper_bits + bits

    def _through(self, networks: Sequence[PassNetwork] | nn.ModuleList, target: Tensor, features: Tensor | None,
                 level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """What passes make of a tensor (N, C, H, W), and their bits (N,)."""
        decoded, bits = torch.zeros_like(target), torch.zeros((), device=target.device)
        feature_format = self.hyper_decoder.output_format if self.simulated else None
        for network in networks:
            step = network.step
            known = self._seen(decoded[:, : network.known], step.known_limit)
            mean, scale_index = network(known, features, level_weights, feature_format)
            mean = mean.float()
            residual = step.take(target[:, step.channels]) - mean
            quantised = self.rounded if step.hyper else self.quantised
            residual, pass_bits = quantised(residual, scale_index)
            bits = bits + pass_bits.view(len(step.phases), -1).sum(0)
            decoded = decoded.clone()
            step.put(decoded, residual + mean)
        return decoded, bits

    def rounded(self, residual: Tensor, scale_index: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals (N, C, H, W) as whole steps, and their bits (N,), by the predicted scales of these indices."""
        bits = logistic_bits(self._noisy(residual), scale_of(scale_index)).sum([1, 2, 3])
        return round_through(residual), bits

    def quantised(self, residual: Tensor, scale_index: Tensor) -> tuple[Tensor, Tensor]:
        """What residuals of latents become; arguments and values as of `rounded`."""
        return self.rounded(residual, scale_index)

    def _noisy(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x) - 0.5 if self.training else torch.round(x)

    def _seen(self, decoded: Tensor, limit: int) -> Tensor:
        """Decoded latents or hyper-latents as the networks see them."""
        return context_format(decoded.shape[1], limit).rounded(decoded) if self.simulated else decoded
