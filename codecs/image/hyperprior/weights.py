"""The weights file: float transforms, integer networks and integer tables in one safetensors file."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.exact_networks import ExactNetworks
from fewbits.codecs.image.hyperprior.latent_coder import LatentCoder
from fewbits.codecs.image.hyperprior.model import HyperpriorModel
from fewbits.codecs.image.hyperprior.residuals import Residuals, WholeSteps
from fewbits.codecs.model_weights import load_floats, stored, tables_of
from fewbits.codecs.randomness import own_randomness
from fewbits.codecs.weights import identity_of
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import WeightsError

FLOAT_PARTS = ("quantiser.", "analysis.", "synthesis.", "entropy_model.hyper_encoder.")
LATENT_TABLES = "latent_tables."


@dataclass(frozen=True)
class Weights:
    """All that encoder and decoder need.

    Attributes:
        identity: first 8 bytes of the SHA-256 of the file.
        model: the float transforms, in evaluation mode; its passes are untrained and never run.
        coder: the integer side.
    """

    identity: bytes
    model: HyperpriorModel
    coder: LatentCoder

    def with_circuit(self, path: Path) -> "Weights":
        """The same with a circuit as prior over the latents.

        Raises:
            WeightsError: if the circuit is missing, is not one, or was trained for other weights.
        """
        from fewbits.codecs.image.hyperprior.latent_circuit import CircuitPrior, LatentCircuit  # brings numba

        circuit = LatentCircuit.load(path)
        if circuit.belongs_to != self.identity:
            raise WeightsError(f"The circuit {path} is for weights {circuit.belongs_to.hex()} of hyperprior; "
                               f"installed are {self.identity.hex()}.")
        prior = CircuitPrior(circuit, self.coder.config, self.coder.residuals.latent_tables)
        return replace(self, coder=self.coder.with_prior(prior))

    def trainable(self) -> HyperpriorModel:
        """The whole model with its integer networks turned back into trainable ones, which it simulates."""
        model = deepcopy(self.model)
        self.coder.networks.into_trainable(model.entropy_model)
        return model


def save_weights(path: Path, model: HyperpriorModel, networks: ExactNetworks, tables: dict[str, SymbolTables],
                 notes: dict[str, str], others: dict[str, Tensor] | None = None) -> None:
    """Writes a weights file. Float parts are stored with half precision; `notes` go into the metadata.

    Args:
        tables: `LATENT_TABLES`, and those of others.
        others: what another codec with these networks adds.
    """
    tensors = stored(model, FLOAT_PARTS, networks.to_tensors(), tables)
    save_file(tensors | (others or {}), path, metadata=model.config.to_metadata() | notes)


ResidualsOf = Callable[[SymbolTables, dict[str, Tensor]], Residuals]
"""Makes what residuals are coded by, from the latents' tables and all tensors of a weights file."""


def whole_steps(latent_tables: SymbolTables, tensors: dict[str, Tensor]) -> Residuals:
    """What `hyperprior` itself codes residuals by."""
    return WholeSteps(latent_tables)


@own_randomness()
def load_weights(path: Path, device: str, residuals: ResidualsOf = whole_steps) -> Weights:
    """Reads a weights file. Raises `WeightsError` if it is missing or is not one.

    Args:
        residuals: makes what they are coded by, for a codec that shares these networks.
    """
    identity = identity_of(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            config = HyperpriorConfig.from_metadata(file.metadata() or {})
        model = HyperpriorModel(config)
        load_floats(model, FLOAT_PARTS, tensors)
        coder = LatentCoder(config, ExactNetworks.from_tensors(tensors, config),
                            residuals(tables_of(LATENT_TABLES, tensors), tensors))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} cannot be used as weights of this codec: {error}.") from None
    return Weights(identity, model.to(device, memory_format=torch.channels_last).eval(), coder)
