"""The weights file: float transforms, integer networks and integer tables in one safetensors file."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.entropy_model import HYPER_SCALE_LOW
from fewbits.codecs.image.hyperprior.exact_networks import ExactNetworks
from fewbits.codecs.image.hyperprior.latent_coder import LatentCoder
from fewbits.codecs.image.hyperprior.model import HyperpriorModel
from fewbits.codecs.model_weights import load_floats, stored, tables_of
from fewbits.codecs.weights import identity_of
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import WeightsError

FLOAT_PARTS = ("quantiser.", "analysis.", "synthesis.", "entropy_model.hyper_encoder.")
LATENT_TABLES, HYPER_TABLES = "latent_tables.", "hyper_tables."


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

        circuit, coder = LatentCircuit.load(path), self.coder
        if circuit.belongs_to != self.identity:
            raise WeightsError(f"The circuit {path} is for weights {circuit.belongs_to.hex()} of hyperprior; "
                               f"installed are {self.identity.hex()}.")
        prior = CircuitPrior(circuit, coder.latent_tables)
        return replace(self, coder=LatentCoder(coder.config, coder.networks, coder.latent_tables, coder.hyper_tables,
                                               prior))

    def trainable(self) -> HyperpriorModel:
        """The whole model with its integer networks turned back into trainable ones, which it simulates."""
        model = deepcopy(self.model)
        self.coder.networks.into_trainable(model.entropy_model)
        levels = model.config.levels
        mean, deviation = (x.reshape(levels, -1) for x in self.coder.hyper_tables.moments())
        with torch.no_grad():
            model.entropy_model.hyper_mean.copy_(torch.from_numpy(mean))
            scale = (torch.from_numpy(deviation) * 3**0.5 / torch.pi - HYPER_SCALE_LOW).clamp(min=HYPER_SCALE_LOW)
            model.entropy_model.hyper_log_scale.copy_(scale.log())
        return model


def save_weights(path: Path, model: HyperpriorModel, networks: ExactNetworks, latent_tables: SymbolTables,
                 hyper_tables: SymbolTables, notes: dict[str, str]) -> None:
    """Writes a weights file. Float parts are stored with half precision; `notes` go into the metadata."""
    tensors = stored(model, FLOAT_PARTS, networks.to_tensors(),
                     {LATENT_TABLES: latent_tables, HYPER_TABLES: hyper_tables})
    save_file(tensors, path, metadata=model.config.to_metadata() | notes)


def load_weights(path: Path, device: str) -> Weights:
    """Reads a weights file. Raises `WeightsError` if it is missing or is not one."""
    identity = identity_of(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            config = HyperpriorConfig.from_metadata(file.metadata() or {})
        model = HyperpriorModel(config)
        load_floats(model, FLOAT_PARTS, tensors)
        coder = LatentCoder(config, ExactNetworks.from_tensors(tensors), tables_of(LATENT_TABLES, tensors),
                            tables_of(HYPER_TABLES, tensors))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} cannot be used as weights of `hyperprior`: {error}.") from None
    return Weights(identity, model.to(device, memory_format=torch.channels_last).eval(), coder)
