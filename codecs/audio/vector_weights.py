"""The weights file of a codec with codebooks: float transforms, codebooks and the prior of the indices."""

import copy
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, from_numpy

from fewbits.codecs.audio.config import VectorConfig
from fewbits.codecs.audio.vector_coder import VectorCoder
from fewbits.codecs.audio.vector_model import VectorModel
from fewbits.codecs.audio.weights import FLOAT_PARTS, Weights
from fewbits.codecs.model_weights import load_floats, stored
from fewbits.codecs.randomness import own_randomness
from fewbits.errors import WeightsError
from fewbits.kernels.index_mixing import IndexPrior

PARTS = (*FLOAT_PARTS, "quantiser.entries")
COUNTERS, MIXING, ERRORS = "prior.counters", "prior.weights", "usual_errors"


def save_vector_weights(path: Path, model: VectorModel, prior: IndexPrior, usual_errors: Tensor,
                        notes: dict[str, str]) -> None:
    """Writes a weights file. Float parts are stored with half precision; `notes` go into the metadata."""
    integers = {COUNTERS: from_numpy(prior.counters), MIXING: from_numpy(prior.weights), ERRORS: usual_errors}
    save_file(stored(model, PARTS, integers, {}), path, metadata=model.config.to_metadata() | notes)


@own_randomness()
def load_vector_weights(path: Path, device: str) -> Weights:
    """Reads a weights file. Raises `WeightsError` if it is not one."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            config = VectorConfig.from_metadata(file.metadata() or {})
        model = VectorModel(config).eval()
        load_floats(model, PARTS, tensors)
        prior = IndexPrior(tensors[COUNTERS].numpy(), tensors[MIXING].numpy())
        prior.check(config.stages, config.entries)
        coder = VectorCoder(model, prior, tensors[ERRORS])
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} cannot be used as weights of a codec for sound: {error}.") from None
    # codebooks stay on the CPU
    return Weights(config, model if device == "cpu" else copy.deepcopy(model).to(device), coder)
