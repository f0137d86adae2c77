"""The weights file: float transforms, integer networks and integer tables in one safetensors file."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fewbits.codecs.audio.block_coder import BlockCoder
from fewbits.codecs.audio.config import AudioConfig
from fewbits.codecs.audio.exact_networks import ExactNetworks
from fewbits.codecs.audio.model import AudioModel
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import WeightsError

FLOAT_PARTS = ("analysis.", "synthesis.", "log_gain.")
TABLES = "tables."


@dataclass(frozen=True)
class Weights:
    """All that encoder and decoder need.

    Attributes:
        model: the float transforms, in evaluation mode; its entropy model is untrained and never run.
        coder: the integer side.
    """

    model: AudioModel
    coder: BlockCoder


def save_weights(path: Path, model: AudioModel, networks: ExactNetworks, tables: SymbolTables,
                 notes: dict[str, str]) -> None:
    """Writes a weights file. Float parts are stored with half precision; `notes` go into the metadata."""
    tensors: dict[str, Tensor] = {name: value.half().contiguous() for name, value in model.state_dict().items()
                                  if name.startswith(FLOAT_PARTS)}
    tensors |= {name: value.contiguous() for name, value in networks.to_tensors().items()}
    tensors |= {TABLES + name: torch.from_numpy(array) for name, array in tables.to_arrays().items()}
    save_file(tensors, path, metadata=model.config.to_metadata() | notes)


def load_weights(path: Path, device: str) -> Weights:
    """Reads a weights file. Raises `WeightsError` if it is not one."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            config = AudioConfig.from_metadata(file.metadata() or {})
        model = AudioModel(config)
        floats = {name: value.float() for name, value in tensors.items() if name.startswith(FLOAT_PARTS)}
        missing, unexpected = model.load_state_dict(floats, strict=False)
        if unexpected or any(name.startswith(FLOAT_PARTS) for name in missing):
            raise ValueError("it holds another model")
        tables = SymbolTables.from_arrays({name.removeprefix(TABLES): value.numpy()
                                           for name, value in tensors.items() if name.startswith(TABLES)})
        coder = BlockCoder(config, ExactNetworks.from_tensors(tensors), tables)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} cannot be used as weights of a codec for sound: {error}.") from None
    return Weights(model.to(device).eval(), coder)
