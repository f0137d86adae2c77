"""The integer networks that choose probabilities: what encoder and decoder run in place of the trainable twin."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewbits.codecs.audio.entropy_model import (
    PASSES,
    EntropyModel,
    HalfNetwork,
)
from fewbits.entropy.exact import ExactLayer


@dataclass(frozen=True)
class ExactHalf:
    """Integer form of a `HalfNetwork`."""

    hidden: list[ExactLayer]
    mean: ExactLayer
    scale: ExactLayer

    @classmethod
    def from_trained(cls, network: HalfNetwork) -> "ExactHalf":
        """Quantises a trained network."""
        hidden, x = [], network.input_format
        for layer in network.hidden:
            hidden.append(layer.to_exact(x))
            x = layer.output_format
        x = x.joined(network.input_format)
        return cls(hidden, network.mean.to_exact(x), network.scale.to_exact(x))

    def layers(self) -> dict[str, ExactLayer]:
        """Every layer under the name it is stored with."""
        return {"mean": self.mean, "scale": self.scale} | {f"hidden.{i}": x for i, x in enumerate(self.hidden)}

    def __call__(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means in 1/16 step and indices of scales; all integers in a float type."""
        x = inputs
        for layer in self.hidden:
            x = layer(x)
        x = torch.cat([x, inputs.to(x.dtype)], 1)
        return self.mean(x).float(), self.scale(x).float()


@dataclass(frozen=True)
class ExactNetworks:
    """Integer form of all networks of an `EntropyModel`, those of each pass: first half, second half."""

    passes: list[tuple[ExactHalf, ExactHalf]]

    @classmethod
    def from_trained(cls, model: EntropyModel) -> "ExactNetworks":
        """Quantises a trained entropy model. Raises `ValueError` where a layer could be inexact."""
        return cls([(ExactHalf.from_trained(a), ExactHalf.from_trained(b))
                    for a, b in zip(model.first, model.second, strict=True)])

    def to_tensors(self) -> dict[str, Tensor]:
        """All layers as named tensors for the weights file."""
        return {f"exact.{number}.{half}.{name}.{key}": value
                for number, halves in enumerate(self.passes) for half, network in enumerate(halves)
                for name, layer in network.layers().items() for key, value in layer.to_arrays().items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "ExactNetworks":
        """Inverse of `to_tensors`. Raises `KeyError` or `ValueError` for anything else."""
        def layer(prefix: str) -> ExactLayer:
            return ExactLayer.from_arrays({name.removeprefix(prefix): value for name, value in tensors.items()
                                           if name.startswith(prefix)})

        def half(prefix: str) -> ExactHalf:
            count = sum(name.startswith(f"{prefix}hidden.") and name.endswith(".bias") for name in tensors)
            return ExactHalf([layer(f"{prefix}hidden.{i}.") for i in range(count)], layer(f"{prefix}mean."),
                             layer(f"{prefix}scale."))

        return cls([(half(f"exact.{number}.0."), half(f"exact.{number}.1.")) for number in range(len(PASSES))])
