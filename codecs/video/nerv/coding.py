"""The numbers of a decoder to bytes and back. What decides a probability is an integer that was sent."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.video.nerv.layout import Layout
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.laplace import laplace_tables
from fewbits.errors import TruncatedError
from fewbits.kernels import grid_prediction

SCALES = 64
SCALES_AN_OCTAVE = 4
SCALE_LOW = 0.04  # in steps; the largest is 2200
SCALE_CHANGE = 24  # the table for differences of one scale's index to the next: 2.6 on average
FIRST_SCALE = 20
STEPS_AN_OCTAVE, STEP_ZERO = 8, 160  # code c of a step means 2**((c - 160) / 8)

COEFFICIENT = 28  # the table for coefficients of contexts

TABLES = laplace_tables(str(SCALE_LOW), SCALES_AN_OCTAVE, SCALES)


@dataclass(frozen=True)
class Numbers:
    """The numbers of a decoder as they are sent.

    Attributes:
        steps: (tensors,) uint8, the code of each tensor's step.
        context: (channels of grids, 3) int8, coefficients of `fewbits.kernels.grid_prediction`.
        integers: (size,) int32, the numbers in steps.
    """

    steps: np.ndarray
    context: np.ndarray
    integers: np.ndarray

    @classmethod
    def rounded(cls, row: Tensor, steps: np.ndarray, context: np.ndarray, layout: Layout) -> "Numbers":
        """The nearest to a row (size,), with steps of these codes."""
        integers = np.round(row.double().numpy() / _sizes_of(steps)[layout.part_of_number])
        return cls(steps, context, integers.clip(-grid_prediction.LIMIT, grid_prediction.LIMIT).astype(np.int32))

    def row(self, layout: Layout) -> Tensor:
        """(size,) float32."""
        return torch.from_numpy((self.integers * _sizes_of(self.steps)[layout.part_of_number]).astype(np.float32))


def _sizes_of(codes: np.ndarray) -> np.ndarray:
    return 2.0 ** ((codes.astype(np.float64) - STEP_ZERO) / STEPS_AN_OCTAVE)


def step_codes(steps: np.ndarray) -> np.ndarray:
    """Codes (n,) uint8 of the nearest steps that can be sent."""
    return np.clip(np.round(np.log2(steps) * STEPS_AN_OCTAVE) + STEP_ZERO, 0, 255).astype(np.uint8)


def encode(numbers: Numbers, layout: Layout) -> tuple[bytes, float]:
    """The bytes of a section, and the ideal code length of what it holds in bits."""
    symbols = _residuals(numbers, layout)
    scales = best_scales(symbols, layout)
    encoder, bits = Encoder(), 8.0 * len(numbers.steps)
    changes = np.diff(scales, prepend=FIRST_SCALE)
    for group, table in ((numbers.context.reshape(-1), COEFFICIENT), (changes, SCALE_CHANGE),
                         (symbols, scales[layout.scale_of_number])):
        index = np.broadcast_to(np.asarray(table, np.uint16), group.shape)
        encoder.add(group, TABLES, index)
        bits += TABLES.bits(group, index)
    return numbers.steps.tobytes() + encoder.finish(), bits


def decode(section: bytes, layout: Layout) -> Numbers:
    """Inverse of `encode`. Raises `StreamError` for a section that is wrong."""
    count = len(layout.parts)
    if len(section) <= count:
        raise TruncatedError(f"A group of frames ends at byte {len(section)}, within the steps of its numbers.")
    decoder = Decoder(section[count:])

    def group(size: int, table: int) -> np.ndarray:
        return decoder.decode(TABLES, np.full(size, table, np.uint16))

    context = group(layout.grid_channels * grid_prediction.NEIGHBOURS, COEFFICIENT)
    scales = np.clip(FIRST_SCALE + np.cumsum(group(layout.scales, SCALE_CHANGE), dtype=np.int64), 0, SCALES - 1)
    symbols = decoder.decode(TABLES, scales[layout.scale_of_number].astype(np.uint16))
    decoder.finish()
    context = context.clip(-128, 127).astype(np.int8).reshape(-1, grid_prediction.NEIGHBOURS)
    for grid, coefficients in _grids(symbols, context, layout):
        grid_prediction.restore(grid, coefficients)
    return Numbers(np.frombuffer(section, np.uint8, count), context, symbols)


def _residuals(numbers: Numbers, layout: Layout) -> np.ndarray:
    """(size,) int32: integers, those of grids without what their neighbours tell."""
    symbols = numbers.integers.copy()
    for grid, coefficients in _grids(symbols, numbers.context, layout):
        grid[:] = grid_prediction.residuals(grid.astype(np.int64), coefficients)
    return symbols


def _grids(row: np.ndarray, context: np.ndarray, layout: Layout) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The grids in a row, as views of it, each with the coefficients (channels, 3) int64 of its contexts."""
    first = 0
    for place, part in layout.grids():
        stop = first + part.scales
        yield row[place].reshape(part.shape), context[first:stop].astype(np.int64)
        first = stop


def best_scales(symbols: np.ndarray, layout: Layout) -> np.ndarray:
    """For each scale of the layout, the index (scales,) of the table in which its symbols take the fewest bits."""
    counts = np.bincount(layout.scale_of_number, minlength=layout.scales)
    mean = np.bincount(layout.scale_of_number, np.abs(symbols), layout.scales) / np.maximum(counts, 1)
    near = np.round(np.log2(np.maximum(mean, SCALE_LOW) / SCALE_LOW) * SCALES_AN_OCTAVE)
    candidates = np.clip(near[None] + np.arange(-3, 4)[:, None], 0, SCALES - 1).astype(np.int64)
    bits = np.stack([np.bincount(layout.scale_of_number, _bits(symbols, index[layout.scale_of_number]), layout.scales)
                     for index in candidates])
    return candidates[bits.argmin(0), np.arange(layout.scales)]


def _bits(symbols: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Bits of each symbol in its table, about as many where it is escaped."""
    escape = TABLES.sizes[index] - 1
    entry = np.clip(symbols.astype(np.int64) - TABLES.lows[index], -1, escape)
    escaped = (entry < 0) | (entry == escape)
    return TABLES.code_lengths()[TABLES.offsets[index] + np.where(escaped, escape, entry)] + 16.0 * escaped
