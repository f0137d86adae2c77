"""The integer networks that choose probabilities: what encoder and decoder run in place of the trainable twin."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewbits.codecs.image.hyperprior.entropy_model import (
    PASSES,
    EntropyModel,
    PassNetwork,
    level_planes,
    neighbourhoods,
    take_phases,
)
from fewbits.codecs.quantisation import FixedPoint
from fewbits.entropy.exact import ExactLayer


@dataclass(frozen=True)
class ExactPass:
    """Integer form of a `PassNetwork`."""

    spatial: ExactLayer
    hidden: list[ExactLayer]
    mean: ExactLayer
    scale: ExactLayer

    @classmethod
    def from_trained(cls, network: PassNetwork, features: FixedPoint) -> "ExactPass":
        """Quantises a trained network; `features` is the format of the hyper-decoder's output."""
        context = network.spatial.output_format.joined(features, network.level_format)
        hidden, x = [], context
        for layer in network.hidden:
            hidden.append(layer.to_exact(x))
            x = layer.output_format
        if network.skip:
            x = x.joined(context)
        return cls(network.spatial.to_exact(network.latent_format), hidden,
                   network.mean.to_exact(x), network.scale.to_exact(x))

    def into_trainable(self, network: PassNetwork, features: FixedPoint) -> None:
        """Inverse of `from_trained`. Raises `ValueError` if the network has another shape."""
        network.spatial.take_exact(self.spatial, network.latent_format)
        context = network.spatial.output_format.joined(features, network.level_format)
        x = context
        for trainable, layer in zip(network.hidden, self.hidden, strict=True):
            trainable.take_exact(layer, x)
            x = trainable.output_format
        if network.skip:
            x = x.joined(context)
        network.mean.take_exact(self.mean, x)
        network.scale.take_exact(self.scale, x)

    def layers(self) -> dict[str, ExactLayer]:
        """Every layer under the name it is stored with."""
        hidden = {f"hidden.{i}": layer for i, layer in enumerate(self.hidden)}
        return {"spatial": self.spatial, "mean": self.mean, "scale": self.scale} | hidden

    def __call__(self, known: Tensor, features: Tensor, levels: Tensor,
                 phases: tuple[tuple[int, int], ...]) -> tuple[Tensor, Tensor]:
        """Means in 1/16 step and indices of scales, integers in float32; arguments as `PassNetwork.forward`."""
        spatial = self.spatial(neighbourhoods(known, phases))
        features = take_phases(features, phases)
        context = torch.cat([spatial, features, level_planes(levels, features)], 1)
        x = context
        for layer in self.hidden:
            x = layer(x)
        if self.mean.input_low.numel() > x.shape[1]:
            x = torch.cat([x, context], 1)
        return self.mean(x).float(), self.scale(x).float()


@dataclass(frozen=True)
class ExactNetworks:
    """Integer form of the hyper-decoder and of all passes."""

    hyper_decoder: list[ExactLayer]
    passes: list[ExactPass]

    @classmethod
    def from_trained(cls, model: EntropyModel) -> "ExactNetworks":
        """Quantises a trained entropy model. Raises `ValueError` where a layer could be inexact."""
        layers, x = [], model.hyper_decoder.input_format
        for layer in model.hyper_decoder.layers:
            layers.append(layer.to_exact(x))
            x = layer.output_format
        return cls(layers, [ExactPass.from_trained(network, x) for network in model.passes])

    def into_trainable(self, model: EntropyModel) -> None:
        """Gives an entropy model parameters whose integer form this is, and has it simulate that.

        Raises:
            ValueError: if the model has another shape.
        """
        x = model.hyper_decoder.input_format
        for trainable, layer in zip(model.hyper_decoder.layers, self.hyper_decoder, strict=True):
            trainable.take_exact(layer, x)
            x = trainable.output_format
        for network, step in zip(model.passes, self.passes, strict=True):
            step.into_trainable(network, x)
        model.simulated = True

    def to_tensors(self) -> dict[str, Tensor]:
        """All layers as named tensors for the weights file."""
        named = {f"hyper_decoder.{i}": layer for i, layer in enumerate(self.hyper_decoder)}
        for number, step in enumerate(self.passes):
            named |= {f"pass.{number}.{name}": layer for name, layer in step.layers().items()}
        return {f"exact.{name}.{key}": value for name, layer in named.items()
                for key, value in layer.to_arrays().items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "ExactNetworks":
        """Inverse of `to_tensors`."""
        grouped: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("exact."):
                layer, key = name.removeprefix("exact.").rsplit(".", 1)
                grouped.setdefault(layer, {})[key] = value
        built = {name: ExactLayer.from_arrays(arrays) for name, arrays in grouped.items()}

        def numbered(prefix: str) -> list[ExactLayer]:
            count = sum(name.startswith(prefix + ".") for name in built)
            return [built[f"{prefix}.{i}"] for i in range(count)]

        passes = [ExactPass(built[f"pass.{i}.spatial"], numbered(f"pass.{i}.hidden"),
                            built[f"pass.{i}.mean"], built[f"pass.{i}.scale"]) for i in range(len(PASSES))]
        return cls(numbered("hyper_decoder"), passes)

    def features(self, hyper_latents: Tensor, levels: Tensor) -> Tensor:
        """Hyper-latents (1, 64, h, w) and levels (1, L), integers in float32 -> features (1, 96, 4 h, 4 w)."""
        x = torch.cat([hyper_latents, level_planes(levels, hyper_latents)], 1)
        for layer in self.hyper_decoder:
            x = layer(x)
        return x
