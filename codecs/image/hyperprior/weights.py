"""The weights file: float transforms, integer networks and integer tables in one safetensors file."""

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
from fewbits.codecs.weights import identity_of
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import WeightsError

FLOAT_PARTS = ("quantiser.", "analysis.", "synthesis.", "entropy_model.hyper_encoder.")


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


def save_weights(path: Path, model: HyperpriorModel, networks: ExactNetworks, latent_tables: SymbolTables,
                 hyper_tables: SymbolTables, notes: dict[str, str]) -> None:
    """Writes a weights file. Float parts are stored with half precision; `notes` go into the metadata."""
    tensors: dict[str, Tensor] = {name: value.half().contiguous() for name, value in model.state_dict().items()
                                  if name.startswith(FLOAT_PARTS)}
    tensors |= {name: value.contiguous() for name, value in networks.to_tensors().items()}
    for prefix, tables in (("latent_tables.", latent_tables), ("hyper_tables.", hyper_tables)):
        tensors |= {prefix + name: torch.from_numpy(array) for name, array in tables.to_arrays().items()}
    save_file(tensors, path, metadata=model.config.to_metadata() | notes)


def load_weights(path: Path, device: str) -> Weights:
    """Reads a weights file. Raises `WeightsError` if it is missing or is not one."""
    identity = identity_of(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            config = HyperpriorConfig.from_metadata(file.metadata() or {})
        model = HyperpriorModel(config)
        floats = {name: value.float() for name, value in tensors.items() if name.startswith(FLOAT_PARTS)}
        missing, unexpected = model.load_state_dict(floats, strict=False)
        if unexpected or any(name.startswith(FLOAT_PARTS) for name in missing):
            raise ValueError("it holds another model")
        latent_tables, hyper_tables = (
            SymbolTables.from_arrays({name.removeprefix(prefix): value.numpy() for name, value in tensors.items()
                                      if name.startswith(prefix)}) for prefix in ("latent_tables.", "hyper_tables."))
        coder = LatentCoder(config, ExactNetworks.from_tensors(tensors), latent_tables, hyper_tables)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} cannot be used as weights of `hyperprior`: {error}.") from None
    return Weights(identity, model.to(device, memory_format=torch.channels_last).eval(), coder)
