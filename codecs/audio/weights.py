"""The weights file: float transforms, integer networks and integer tables in one safetensors file."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fewbits.codecs.audio.block_coder import BlockCoder
from fewbits.codecs.audio.config import AudioConfig, TransformConfig
from fewbits.codecs.audio.exact_networks import ExactNetworks
from fewbits.codecs.audio.model import AudioModel, TransformModel
from fewbits.codecs.audio.scalar_coder import ScalarCoder
from fewbits.codecs.model_weights import load_floats, stored, tables_of
from fewbits.codecs.randomness import own_randomness
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import WeightsError

FLOAT_PARTS = ("analysis.", "synthesis.", "log_gain.")
TABLES = "tables."


@dataclass(frozen=True)
class Weights:
    """All that encoder and decoder need.

    Attributes:
        config: sizes of the transforms.
        model: the float transforms, in evaluation mode; an entropy model of it is untrained and never run.
        coder: the integer side.
    """

    config: TransformConfig
    model: TransformModel
    coder: BlockCoder


def save_weights(path: Path, model: AudioModel, networks: ExactNetworks, tables: SymbolTables,
                 notes: dict[str, str]) -> None:
    """Writes a weights file. Float parts are stored with half precision; `notes` go into the metadata."""
    tensors = stored(model, FLOAT_PARTS, networks.to_tensors(), {TABLES: tables})
    save_file(tensors, path, metadata=model.config.to_metadata() | notes)


@own_randomness()
def load_weights(path: Path, device: str) -> Weights:
    """Reads a weights file. Raises `WeightsError` if it is not one."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            config = AudioConfig.from_metadata(file.metadata() or {})
        model = AudioModel(config)
        load_floats(model, FLOAT_PARTS, tensors)
        coder = ScalarCoder(config, ExactNetworks.from_tensors(tensors), tables_of(TABLES, tensors))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} cannot be used as weights of a codec for sound: {error}.") from None
    return Weights(config, model.to(device).eval(), coder)
