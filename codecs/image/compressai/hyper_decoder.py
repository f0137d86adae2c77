"""The hyper-decoder as an integer network, so that every machine gives a latent the same probability.

All activations are integers in 1/4096 and reach to +-4096, which no trained network comes near to; so the ranges that
guarantee exact sums need no pictures to be measured on. Weights have 14 bits. The carrier is float64, which has room
for such sums, and what runs at 1/64 to 1/16 of the picture's resolution may take its time.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.image.compressai.config import CompressaiConfig
from fewbits.codecs.quantisation import FixedPoint, QuantisableLayer
from fewbits.entropy.exact import ExactLayer

FRACTION = 12
UNIT = 2**FRACTION  # integers in 1
LIMIT = 2**24 - 1
LEAK_FRACTION = 16
LEAK_SLOPE = 655  # of a leaky ReLU below 0, in 2**-16: 0.009995


def leaky_relu(x: Tensor) -> Tensor:
    """`max(x, slope x)` of integers in float64, the latter rounded half up; exact below 2**43."""
    return torch.maximum(x, torch.floor((x * LEAK_SLOPE + 2 ** (LEAK_FRACTION - 1)) / 2**LEAK_FRACTION))


@dataclass(frozen=True, eq=False)
class ExactHyperDecoder:
    """The integer form of `h_s`.

    Attributes:
        layers: the convolutions; where `leaky`, a leaky ReLU follows each but the last.
    """

    layers: list[ExactLayer]
    leaky: bool

    @classmethod
    def from_trained(cls, network: nn.Sequential, config: CompressaiConfig, lows: Tensor,
                     highs: Tensor) -> "ExactHyperDecoder":
        """Rounds a trained `h_s`.

        Args:
            lows, highs: (N',) int64, the range of each channel of the hyper-latents, in 1/4096.

        Raises:
            ValueError: if a layer could be inexact.
        """
        convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        low = -LIMIT if config.has_means else 0  # 0 is a ReLU
        layers, x = [], FixedPoint(torch.full_like(lows, FRACTION), lows, highs)
        for convolution in convolutions:
            layer = QuantisableLayer(_without_output_padding(convolution), low, LIMIT, FRACTION, torch.float64)
            layers.append(layer.to_exact(x))
            x = layer.output_format
        return cls(layers, config.has_means)

    def to_tensors(self) -> dict[str, Tensor]:
        """All layers as named tensors for the weights file."""
        return {f"exact.{i}.{key}": value for i, layer in enumerate(self.layers)
                for key, value in layer.to_arrays().items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], config: CompressaiConfig) -> "ExactHyperDecoder":
        """Inverse of `to_tensors`. Raises `KeyError` or `ValueError` for anything else."""
        arrays: list[dict[str, Tensor]] = [{}, {}, {}]
        for name, value in tensors.items():
            if name.startswith("exact."):
                number, key = name.removeprefix("exact.").split(".")
                arrays[int(number)][key] = value
        return cls([ExactLayer.from_arrays(layer) for layer in arrays], config.has_means)

    def __call__(self, hyper_latents: Tensor) -> Tensor:
        """(1, N', h, w) to (1, M or 2 M, 4 h, 4 w), integers in float64, in 1/4096."""
        x = hyper_latents
        for layer in self.layers[:-1]:
            x = layer(x)
            if self.leaky:
                x = leaky_relu(x)
        return self.layers[-1](x)


def _without_output_padding(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Conv2d | nn.ConvTranspose2d:
    """The same operation, of a transposed convolution as a kernel with one more row and column of zeros: what the
    padding of its output by 1 adds then comes from the kernel."""
    if isinstance(convolution, nn.Conv2d):
        return convolution
    larger = nn.ConvTranspose2d(convolution.in_channels, convolution.out_channels, 6, stride=2, padding=2)
    larger.weight = nn.Parameter(F.pad(convolution.weight.detach(), (0, 1, 0, 1)))
    larger.bias = convolution.bias
    return larger
