"""The weights file that a checkpoint becomes: float transforms, the integer hyper-decoder and integer tables."""

from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fewbits.codecs.image.compressai.config import CompressaiConfig
from fewbits.codecs.image.compressai.hyper_decoder import ExactHyperDecoder
from fewbits.codecs.image.compressai.latent_coder import FactorisedLatents, HyperpriorLatents
from fewbits.codecs.image.compressai.transforms import Transforms
from fewbits.codecs.model_weights import arrays_of, tables_of
from fewbits.codecs.randomness import own_randomness
from fewbits.errors import WeightsError

TRANSFORMS, TABLES, SCALE_TABLES = "transforms.", "tables.", "scale_tables."
CONFIG, MEDIANS, THRESHOLDS = "config", "medians", "thresholds"

LatentCoder = FactorisedLatents | HyperpriorLatents


@dataclass(frozen=True)
class Weights:
    """All that encoder and decoder need.

    Attributes:
        transforms: the float networks.
        coder: the integer side.
    """

    config: CompressaiConfig
    transforms: Transforms
    coder: LatentCoder

    def save(self, path: Path) -> None:
        """Writes a weights file."""
        # a tensor, not metadata, of which safetensors writes several in any order: one checkpoint, one identity
        tensors = {CONFIG: torch.tensor(astuple(self.config))}
        tensors |= {TRANSFORMS + name: value for name, value in self.transforms.state_dict().items()}
        if isinstance(self.coder, FactorisedLatents):
            tensors |= {MEDIANS: self.coder.medians, **arrays_of(TABLES, self.coder.tables)}
        else:
            tensors |= {MEDIANS: self.coder.hyper_medians, THRESHOLDS: self.coder.thresholds,
                        **arrays_of(TABLES, self.coder.hyper_tables),
                        **arrays_of(SCALE_TABLES, self.coder.scale_tables), **self.coder.hyper_decoder.to_tensors()}
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, path)


@lru_cache(maxsize=2)
@own_randomness()
def load_weights(path: Path, device: str) -> Weights:
    """Reads a weights file. Raises `WeightsError` if it is not one."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = CompressaiConfig(*tensors[CONFIG].tolist())
        transforms = Transforms(config)
        transforms.load_state_dict({name.removeprefix(TRANSFORMS): value for name, value in tensors.items()
                                    if name.startswith(TRANSFORMS)})
        coder = _coder_in(tensors, config)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise WeightsError(f"{path} cannot be used as weights of `compressai` ({type(error).__name__}): a checkpoint "
                           "of CompressAI becomes such a file with `fewbits train import-compressai`.") from None
    return Weights(config, transforms.to(device), coder)


def _coder_in(tensors: dict[str, Tensor], config: CompressaiConfig) -> LatentCoder:
    """Raises `KeyError` or `ValueError` if the tensors hold none."""
    tables, medians = tables_of(TABLES, tensors), tensors[MEDIANS]
    if not config.has_hyperprior:
        return FactorisedLatents(tables, medians)
    return HyperpriorLatents(config, tables, medians, ExactHyperDecoder.from_tensors(tensors, config),
                             tables_of(SCALE_TABLES, tensors), tensors[THRESHOLDS])
