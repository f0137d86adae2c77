"""The weights files of `vqextreme`: networks and codebooks in half precision, tables as integers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, from_numpy

from fewbits.codecs.image.vqextreme.config import FINE, RATES, VqExtremeConfig
from fewbits.codecs.image.vqextreme.index_coder import CellIndices, RateTables, StageTables
from fewbits.codecs.image.vqextreme.model import VqExtremeModel, rate_weights
from fewbits.codecs.image.vqextreme.restoration import Guess, Restoration, RestorationConfig, RestorationNetwork
from fewbits.codecs.model_weights import arrays_of, load_floats, stored, tables_of
from fewbits.codecs.randomness import own_randomness
from fewbits.codecs.weights import identity_of
from fewbits.errors import WeightsError

FLOAT_PARTS = ("analysis.", "prediction.", "synthesis.", "stages.", "slopes")


@dataclass(frozen=True)
class Weights:
    """All that encoder and decoder need.

    Attributes:
        identity: first 8 bytes of the SHA-256 of the file.
        model: the float networks and the codebooks, in evaluation mode.
        tables: by which indices are coded, for each of the `RATES`.
    """

    identity: bytes
    model: VqExtremeModel
    tables: list[RateTables]

    def indices(self, fine: Tensor, coarse: Tensor, number: int) -> CellIndices:
        """Quantises features (1, D, 2 rows, 2 columns) and (1, D, rows, columns) at one of the rates."""
        rate, model = RATES[number], self.model
        chosen = model.stage("coarse").indices(coarse, rate.coarse, model.slope(number))
        found = CellIndices.blank(*chosen.shape[1:])
        found.coarse[:] = chosen[0].numpy()
        left = fine - self._predicted(chosen, number)
        for name, size, target in (("fine", rate.fine, found.fine), ("detail", rate.detail, found.detail)):
            if size > 1:
                stage = model.stage(name)
                chosen = stage.indices(left, size, model.slope(number))
                target[:] = _by_cell(chosen[0].numpy())
                left = left - stage.values(chosen, size)
        return found

    def features(self, indices: CellIndices, number: int, lost: np.ndarray, guess: Guess | None = None) -> Tensor:
        """Features (1, D, 2 rows, 2 columns) of indices at one of the rates; in cells (rows, columns) that are lost
        those of a guess, or 0."""
        rate, model = RATES[number], self.model
        gone = from_numpy(lost)[None, None]
        gone_places = gone.repeat_interleave(FINE, 2).repeat_interleave(FINE, 3)
        coarse = model.stage("coarse").values(from_numpy(indices.coarse).long()[None], rate.coarse)
        finer = torch.zeros(())
        for name, size, own in (("fine", rate.fine, indices.fine), ("detail", rate.detail, indices.detail)):
            if size > 1:
                finer = finer + model.stage(name).values(from_numpy(by_place(own)).long()[None], size)
        if guess is None:
            return (self._expanded(coarse * ~gone, number) + finer) * ~gone_places
        coarse, finer = torch.where(gone, guess.coarse, coarse), torch.where(gone_places, guess.finer, finer)
        return self._expanded(coarse, number) + finer

    def _predicted(self, coarse: Tensor, number: int) -> Tensor:
        return self._expanded(self.model.stage("coarse").values(coarse, RATES[number].coarse), number)

    def _expanded(self, coarse: Tensor, number: int) -> Tensor:
        coarse = coarse.contiguous(memory_format=torch.channels_last)
        return self.model.prediction(coarse, rate_weights(number, coarse))


def by_place(cells: np.ndarray) -> np.ndarray:
    """The four places of every cell where they lie: (rows, columns, 4) -> (2 rows, 2 columns)."""
    rows, columns = cells.shape[:2]
    return cells.reshape(rows, columns, FINE, FINE).swapaxes(1, 2).reshape(FINE * rows, FINE * columns)


def _by_cell(places: np.ndarray) -> np.ndarray:
    """Inverse of `by_place`."""
    rows, columns = (side // FINE for side in places.shape)
    return places.reshape(rows, FINE, columns, FINE).swapaxes(1, 2).reshape(rows, columns, FINE * FINE)


def save_weights(path: Path, model: VqExtremeModel, tables: list[RateTables], notes: dict[str, str]) -> None:
    """Writes a weights file; `notes` go into the metadata."""
    tensors = stored(model, FLOAT_PARTS, {}, {})
    for number, rate in enumerate(tables):
        tensors[f"tables.{number}.groups"] = from_numpy(rate.groups)
        for name in ("coarse", "fine", "detail"):
            stage = getattr(rate, name)
            if stage is not None:
                tensors |= arrays_of(f"tables.{number}.{name}.", stage.tables)
                tensors[f"chosen.{number}.{name}"] = from_numpy(stage.chosen)
    save_file(tensors, path, metadata=model.config.to_metadata() | notes)


@own_randomness()
def load_weights(path: Path, device: str) -> Weights:
    """Reads a weights file. Raises `WeightsError` if it is missing or is not one."""
    identity = identity_of(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            model = VqExtremeModel(VqExtremeConfig.from_metadata(file.metadata() or {}))
        load_floats(model, FLOAT_PARTS, tensors)
        tables = [_rate_tables(tensors, number) for number in range(len(RATES))]
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} holds no weights of vqextreme: {error}.") from None
    model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    for part in (model.analysis, model.synthesis):
        part.to(device)
    return Weights(identity, model, tables)


def _rate_tables(tensors: dict[str, Tensor], number: int) -> RateTables:
    """Tables of a rate. Raises `KeyError` or `ValueError` where they are not for its codebooks."""
    rate = RATES[number]
    groups = tensors[f"tables.{number}.groups"].numpy()
    if groups.shape != (rate.coarse,) or groups.min() < 1:
        raise ValueError("groups are not those of the coarse codebook")
    several = int(groups.max()) + 1
    stages = (_stage_tables(tensors, number, "coarse", (several, several), rate.coarse),
              _stage_tables(tensors, number, "fine", (rate.coarse,), rate.fine),
              _stage_tables(tensors, number, "detail", (rate.fine,), rate.detail) if rate.detail > 1 else None)
    return RateTables(groups, *stages)


def _stage_tables(tensors: dict[str, Tensor], number: int, name: str, contexts: tuple[int, ...],
                  entries: int) -> StageTables:
    tables, chosen = tables_of(f"tables.{number}.{name}.", tensors), tensors[f"chosen.{number}.{name}"].numpy()
    if (tables.lows != 0).any() or (tables.highs != entries - 1).any():
        raise ValueError(f"tables of the {name} stage are not over the entries of its codebook")
    if chosen.shape != contexts or chosen.min() < 0 or chosen.max() >= len(tables):
        raise ValueError(f"contexts of the {name} stage have no tables")
    return StageTables(tables, chosen)


def save_restoration(path: Path, network: RestorationNetwork, belongs_to: bytes, notes: dict[str, str]) -> None:
    """Writes a restoration network for the weights of an identity; `notes` go into the metadata."""
    metadata = network.config.to_metadata() | {"belongs_to": belongs_to.hex()} | notes
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, path, metadata)


@own_randomness()
def load_restoration(path: Path, weights: Weights) -> Restoration:
    """Raises `WeightsError` if the file is missing, holds something else, or was trained for other weights."""
    identity_of(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            network = RestorationNetwork(RestorationConfig.from_metadata(metadata))
            network.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
            belongs_to = metadata["belongs_to"]
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} holds no restoration network of vqextreme: {error}.") from None
    if belongs_to != weights.identity.hex():
        raise WeightsError(f"{path} is for weights {belongs_to} of vqextreme; installed are {weights.identity.hex()}.")
    return Restoration(network.eval().requires_grad_(False), weights.model)
