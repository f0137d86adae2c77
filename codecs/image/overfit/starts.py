"""The shipped starts: networks that files are coded against, and the tables of all context networks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fewbits.codecs.image.overfit.analysis import SHAPE
from fewbits.codecs.image.overfit.architecture import SIZES, DecoderSize
from fewbits.codecs.image.overfit.networks import Networks, check_ranges
from fewbits.codecs.weights import identity_of
from fewbits.entropy.tables import SymbolTables, shifted_laplace_tables
from fewbits.errors import WeightsError
from fewbits.kernels.context import CENTRE_LEVEL, LEVELS, SCALE_BITS, SHIFTS

WEIGHTS = Path(__file__).parent.parent / "weights" / "overfit.safetensors"
MAX_STARTS = 64  # of a size

_TABLES = "tables."


@dataclass(frozen=True, eq=False)
class Start:
    """Where a fit begins.

    Attributes:
        networks: what files are coded against.
        filters: for `analysis.propose`, float32; only encoders use them.
        trade: the lambda that it was trained for.
    """

    networks: Networks
    filters: np.ndarray
    trade: float


@dataclass(frozen=True, eq=False)
class Starts:
    """What encoder and decoder share.

    Attributes:
        tables: table `32 * level + shift` for each level of scale and shift of the mean.
        by_size: for each of `SIZES`, its starts.
    """

    tables: SymbolTables
    by_size: tuple[tuple[Start, ...], ...]

    def count(self, size: int) -> int:
        """How many starts there are for a decoder, by its index in `SIZES`."""
        return len(self.by_size[size])

    def networks(self, size: int, start: int) -> Networks:
        """The networks of a start."""
        return self.by_size[size][start].networks

    def nearest(self, size: int, trade: float) -> list[int]:
        """The starts of a decoder that were trained for the nearest lambda, each for another kind of picture."""
        nearest = min((start.trade for start in self.by_size[size]), key=lambda known: abs(math.log(known / trade)))
        return [number for number, start in enumerate(self.by_size[size]) if start.trade == nearest]


def context_tables() -> SymbolTables:
    """The tables that are shipped with the starts, made with floats."""
    levels, shifts = np.arange(LEVELS), np.arange(SHIFTS)
    return shifted_laplace_tables(2.0 ** ((levels - CENTRE_LEVEL) / 2**SCALE_BITS), shifts / SHIFTS)


def save_starts(path: Path, by_size: Sequence[Sequence[Start]], tables: SymbolTables, notes: dict[str, str]) -> None:
    """Writes a file of starts.

    Args:
        by_size: for each of `SIZES`, its starts.
        notes: go into the metadata.

    Raises:
        ValueError: if networks are out of range, or there are none or too many of a size.
    """
    tensors = {_TABLES + name: array for name, array in tables.to_arrays().items()}
    for size, starts in zip(SIZES, by_size, strict=True):
        if not 1 <= len(starts) <= MAX_STARTS:
            raise ValueError(f"{len(starts)} starts of {size.name}; there can be 1 to {MAX_STARTS}")
        for start in starts:
            check_ranges(start.networks, size)
        tensors[f"{size.name}.trades"] = np.array([start.trade for start in starts])
        tensors[f"{size.name}.filters"] = np.stack([start.filters for start in starts]).astype(np.float16)
        tensors |= {f"{size.name}.{name}": np.stack([start.networks[name] for start in starts]).astype(np.int16)
                    for name in size.shapes()}
    save_file(tensors, path, metadata=notes)


def load_starts(path: Path = WEIGHTS) -> Starts:
    """Reads a file of starts. Raises `WeightsError` if it is missing or is not one."""
    identity_of(path)  # for its words about a missing file
    try:
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tables = SymbolTables.from_arrays({name.removeprefix(_TABLES): array for name, array in tensors.items()
                                           if name.startswith(_TABLES)})
        if len(tables) != LEVELS * SHIFTS:
            raise ValueError(f"it has {len(tables)} tables, not {LEVELS * SHIFTS}")
        by_size = tuple(tuple(_start(tensors, size, number) for number in range(len(tensors[f"{size.name}.trades"])))
                        for size in SIZES)
    except (SafetensorError, KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"{path} cannot be used as starts of `overfit`: {error}.") from None
    return Starts(tables, by_size)


def _start(tensors: dict[str, np.ndarray], size: DecoderSize, number: int) -> Start:
    """One start; every tensor of a size has a row for each."""
    networks = {name: tensors[f"{size.name}.{name}"][number].astype(np.int32) for name in size.shapes()}
    check_ranges(networks, size)
    filters = tensors[f"{size.name}.filters"][number].astype(np.float32)
    trade = float(tensors[f"{size.name}.trades"][number])
    if filters.shape != SHAPE or not trade > 0:
        raise ValueError(f"start {number} of {size.name} has filters of shape {filters.shape} and lambda {trade}")
    return Start(networks, filters, trade)
