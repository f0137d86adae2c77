"""All numbers of a decoder in one row: where each tensor lies, and which numbers share a step and a scale."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.video.nerv.config import MAX_FEATURES, MAX_NUMBERS, NervConfig
from fewbits.codecs.video.nerv.decoder import Decoder

LONG_ROW = 64  # numbers
EMBEDDING = "embedding.numbers"


@dataclass(frozen=True)
class Part:
    """A tensor of the decoder in the row.

    Attributes:
        kind: "rows" (outputs, inputs, h, w) have a scale for each output, a "grid" (steps in time, channels, h, w) has
            one for each channel, a "whole" one alone.
    """

    name: str
    shape: tuple[int, ...]
    kind: Literal["rows", "grid", "whole"]

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def scales(self) -> int:
        """How many scales its numbers have."""
        return {"rows": self.shape[0], "grid": self.shape[1 % len(self.shape)], "whole": 1}[self.kind]

    def scale_of_number(self) -> np.ndarray:
        """(size,): which of its scales each number has."""
        axis = {"rows": 0, "grid": 1, "whole": None}[self.kind]
        if axis is None:
            return np.zeros(self.size, np.int64)
        along = [1] * len(self.shape)
        along[axis] = -1
        return np.broadcast_to(np.arange(self.scales).reshape(along), self.shape).reshape(-1)


class Layout:
    """The tensors of a decoder, one after the other, in the order in which it names them."""

    def __init__(self, config: NervConfig) -> None:
        with torch.device("meta"):
            named = [(name, tuple(tensor.shape)) for name, tensor in Decoder(config).named_parameters()]
        self.parts = [Part(name, shape, _kind(name, shape)) for name, shape in named]
        self.sizes = [part.size for part in self.parts]
        self.size, self.scales = sum(self.sizes), sum(part.scales for part in self.parts)

    @cached_property
    def part_of_number(self) -> np.ndarray:
        """(size,): the tensor of each number."""
        return np.repeat(np.arange(len(self.parts)), self.sizes)

    @cached_property
    def scale_of_number(self) -> np.ndarray:
        """(size,): the scale of each number, counted through all tensors."""
        firsts = np.cumsum([0] + [part.scales for part in self.parts[:-1]])
        return np.concatenate([first + part.scale_of_number() for first, part in zip(firsts, self.parts, strict=True)])

    def grids(self) -> Iterator[tuple[slice, Part]]:
        """The grids, each with its place in the row."""
        stop = 0
        for part in self.parts:
            start, stop = stop, stop + part.size
            if part.kind == "grid":
                yield slice(start, stop), part

    @property
    def grid_channels(self) -> int:
        """Channels of all grids."""
        return sum(part.scales for _, part in self.grids())

    def tensors(self, row: Tensor) -> dict[str, Tensor]:
        """The tensors, by name, that a row (size,) is made of."""
        return {part.name: numbers.view(part.shape)
                for part, numbers in zip(self.parts, row.split(self.sizes), strict=True)}

    def row(self, tensors: dict[str, Tensor]) -> Tensor:
        """Inverse of `tensors`."""
        return torch.cat([tensors[part.name].reshape(-1) for part in self.parts])


@lru_cache(maxsize=4)
def layout_of(config: NervConfig) -> Layout:
    """The layout of a decoder; kept, since groups of a film are alike, and making one takes as long as some frames."""
    return Layout(config)


def is_too_large(config: NervConfig) -> bool:
    """Whether a decoder would take too much memory; takes none itself."""
    return config.largest > MAX_FEATURES or Layout(config).size > MAX_NUMBERS


def _kind(name: str, shape: tuple[int, ...]) -> Literal["rows", "grid", "whole"]:
    if name == EMBEDDING or name.endswith("places"):
        return "grid"
    # a shorter row would save less than its scale costs
    return "rows" if len(shape) == 4 and prod(shape[1:]) >= LONG_ROW else "whole"
