"""The integer networks that choose probabilities: what encoder and decoder run in place of the trainable twin."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.entropy_model import EntropyModel, PassNetwork, joined_context, level_planes
from fewbits.codecs.image.hyperprior.passes import HYPER_PASSES, Pass, passes_of
from fewbits.codecs.quantisation import FixedPoint
from fewbits.entropy.exact import ExactLayer


@dataclass(frozen=True)
class ExactPass:
    """Integer form of a `PassNetwork`."""

    step: Pass
    spatial: ExactLayer
    hidden: list[ExactLayer]
    mean: ExactLayer
    scale: ExactLayer

    @classmethod
    def from_trained(cls, network: PassNetwork, features: FixedPoint) -> "ExactPass":
        """Quantises a trained network; `features` is the format of the hyper-decoder's output."""
        context = network.context_format(features)
        hidden, x = [], context
        for layer in network.hidden:
            hidden.append(layer.to_exact(x))
            x = layer.output_format
        if network.skip:
            x = x.joined(context)
        return cls(network.step, network.spatial.to_exact(network.known_format), hidden,
                   network.mean.to_exact(x), network.scale.to_exact(x))

    def into_trainable(self, network: PassNetwork, features: FixedPoint) -> None:
        """Inverse of `from_trained`. Raises `ValueError` if the network has another shape."""
        network.spatial.take_exact(self.spatial, network.known_format)
        context = network.context_format(features)
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

    def __call__(self, known: Tensor, features: Tensor | None, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Means in 1/16 step and indices of scales, integers in float32; arguments as `PassNetwork.forward`."""
        context = joined_context(self.step, self.spatial(self.step.neighbourhoods(known)), features, levels)
        context = context.to(self.hidden[0].carrier)  # once for all layers that see it
        x = context
        for layer in self.hidden:
            x = layer(x)
        if self.mean.input_low.numel() > x.shape[1]:
            x = torch.cat([x, context], 1)
        return self.mean(x).float(), self.scale(x).float()


@dataclass(frozen=True)
class ExactNetworks:
    """Integer form of the hyper-decoder and of all passes."""

    hyper_passes: list[ExactPass]
    hyper_decoder: list[ExactLayer]
    passes: list[ExactPass]

    @classmethod
    def from_trained(cls, model: EntropyModel) -> "ExactNetworks":
        """Quantises a trained entropy model. Raises `ValueError` where a layer could be inexact."""
        layers, x = [], model.hyper_decoder.input_format
        for layer in model.hyper_decoder.layers:
            layers.append(layer.to_exact(x))
            x = layer.output_format
        hyper_passes, passes = ([ExactPass.from_trained(network, x) for network in networks]
                                for networks in (model.hyper_passes, model.passes))
        return cls(hyper_passes, layers, passes)

    def into_trainable(self, model: EntropyModel) -> None:
        """Gives an entropy model parameters whose integer form this is, and has it simulate that.

        Raises:
            ValueError: if the model has another shape.
        """
        x = model.hyper_decoder.input_format
        for trainable, layer in zip(model.hyper_decoder.layers, self.hyper_decoder, strict=True):
            trainable.take_exact(layer, x)
            x = trainable.output_format
        for networks, steps in ((model.hyper_passes, self.hyper_passes), (model.passes, self.passes)):
            for network, step in zip(networks, steps, strict=True):
                step.into_trainable(network, x)
        model.simulated = True

    def to_tensors(self) -> dict[str, Tensor]:
        """All layers as named tensors for the weights file."""
        named = {f"hyper_decoder.{i}": layer for i, layer in enumerate(self.hyper_decoder)}
        for prefix, steps in (("hyper_pass", self.hyper_passes), ("pass", self.passes)):
            for number, step in enumerate(steps):
                named |= {f"{prefix}.{number}.{name}": layer for name, layer in step.layers().items()}
        return {f"exact.{name}.{key}": value for name, layer in named.items()
                for key, value in layer.to_arrays().items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], config: HyperpriorConfig) -> "ExactNetworks":
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

        def passes(prefix: str, steps: tuple[Pass, ...]) -> list[ExactPass]:
            return [ExactPass(step, built[f"{prefix}.{i}.spatial"], numbered(f"{prefix}.{i}.hidden"),
                              built[f"{prefix}.{i}.mean"], built[f"{prefix}.{i}.scale"])
                    for i, step in enumerate(steps)]

        return cls(passes("hyper_pass", HYPER_PASSES), numbered("hyper_decoder"), passes("pass", passes_of(config)))

    def features(self, hyper_latents: Tensor, levels: Tensor) -> Tensor:
        """Hyper-latents (1, 64, h, w) in 1/8 step and levels (1, L), integers in float32 -> features
        (1, 96, 4 h, 4 w)."""
        x = torch.cat([hyper_latents, level_planes(levels, hyper_latents)], 1)
        for layer in self.hyper_decoder:
            x = layer(x)
        return x
