"""Residuals of one pass to indices of codebooks and back: what encoder and decoder run in place of the trainable twin.

Residuals are sorted by the index of their predicted scale, which both sides know, keeping their order within a scale.
Each scale with a codebook has its residuals divided into vectors, the last one filled up with zeros; others are coded
as whole steps. What is decoded are integers in 1/16 step.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fewbits.codecs.image.hyperprior.residuals import Group, Read
from fewbits.codecs.latents import SYMBOL_LIMIT, UNIT
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import DamagedError

if TYPE_CHECKING:
    from fewbits.kernels.vector_choice import PricedCodebook

SLOPE = 0.05  # squared steps that a bit is worth in the choice of an entry


@dataclass(frozen=True)
class Run:
    """The residuals of one scale in the sorted order.

    Attributes:
        scale: its index.
        start, stop: places of the residuals.
    """

    scale: int
    start: int
    stop: int


class VectorResiduals:
    """Codes residuals by a codebook for each of the smaller scales; see `hyperprior.residuals.Residuals`.

    Args:
        entries: of each codebook, (K, D) int16 in 1/16 step.
        index_tables: a table for each codebook, over its entries and, as symbol K, vectors that are spelled out.
        latent_tables: one table per scale, for residuals as whole steps.

    Raises:
        ValueError: if they do not fit each other.
    """

    def __init__(self, entries: list[np.ndarray], index_tables: SymbolTables, latent_tables: SymbolTables) -> None:
        if len(entries) != len(index_tables) or len(entries) > len(latent_tables):
            raise ValueError(f"{len(entries)} codebooks with {len(index_tables)} tables")
        if any(book.ndim != 2 or book.dtype != np.int16 or 0 in book.shape for book in entries):
            raise ValueError("codebooks must be matrices of int16")
        if (index_tables.lows != 0).any() or (index_tables.highs != [len(book) for book in entries]).any():
            raise ValueError("the tables are not those of the codebooks")
        self.entries, self.index_tables, self.latent_tables = entries, index_tables, latent_tables
        self.dimensions = np.array([book.shape[1] for book in entries])

    def quantise(self, residuals: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, list[Group]]:
        """See `Residuals.quantise`. The choice of an entry weighs distance against rate."""
        order = np.argsort(scales, kind="stable")
        wanted, sorted_scales = residuals[order], scales[order]
        whole = np.rint(wanted).clip(-SYMBOL_LIMIT, SYMBOL_LIMIT)
        decoded, spelled = whole * UNIT, np.ones(len(order), bool)
        symbols, runs = [], self._runs(sorted_scales)
        for run in runs:
            place = slice(run.start, run.stop)
            symbols.append(self._codebooks[run.scale].choose(_rows(wanted[place], int(self.dimensions[run.scale]))))
            values, spelled[place] = self._values(run, symbols[-1])
            decoded[place] = np.where(spelled[place], decoded[place], values)
        indices = np.concatenate(symbols).astype(np.int32) if symbols else np.empty(0, np.int32)
        groups = [Group(indices, self._tables_of(runs), self.index_tables),
                  Group(whole[spelled].astype(np.int32), sorted_scales[spelled], self.latent_tables)]
        return _unsorted(decoded, order), groups

    def decode(self, read: Read, scales: np.ndarray) -> np.ndarray:
        """See `Residuals.decode`."""
        order = np.argsort(scales, kind="stable")
        sorted_scales = scales[order]
        runs = self._runs(sorted_scales)
        symbols = read(self.index_tables, self._tables_of(runs))
        decoded, spelled = np.empty(len(order), np.float32), np.ones(len(order), bool)
        begin = 0
        for run in runs:
            place, own = slice(run.start, run.stop), symbols[begin : begin + self._vectors(run)]
            begin += len(own)
            if own.min() < 0 or own.max() > len(self.entries[run.scale]):
                raise DamagedError("The section is damaged: an index lies outside its codebook.")
            decoded[place], spelled[place] = self._values(run, own)
        decoded[spelled] = read(self.latent_tables, sorted_scales[spelled]).astype(np.float32) * UNIT
        return _unsorted(decoded, order)

    @cached_property
    def _codebooks(self) -> "list[PricedCodebook]":
        """By scale, for the choice of entries."""
        from fewbits.kernels.vector_choice import PricedCodebook  # brings numba, which those who decode do without

        index_prices, step_prices = _prices(self.index_tables), _prices(self.latent_tables)
        return [PricedCodebook(book.astype(np.float32) / UNIT, prices[:-2], prices[-2], steps, int(low))
                for book, prices, steps, low in zip(self.entries, index_prices, step_prices, self.latent_tables.lows,
                                                    strict=False)]

    def _runs(self, sorted_scales: np.ndarray) -> list[Run]:
        """The scales with codebooks that occur."""
        ends = np.searchsorted(sorted_scales, np.arange(len(self.entries) + 1)).tolist()
        return [Run(scale, *span) for scale, span in enumerate(pairwise(ends)) if span[1] > span[0]]

    def _vectors(self, run: Run) -> int:
        return -(-(run.stop - run.start) // int(self.dimensions[run.scale]))

    def _values(self, run: Run, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What vectors say of each of their residuals, and which of these are spelled out instead: (n,) each."""
        book, count = self.entries[run.scale], run.stop - run.start
        spelled = np.repeat(symbols == len(book), book.shape[1])[:count]
        return book[np.minimum(symbols, len(book) - 1)].ravel()[:count], spelled

    def _tables_of(self, runs: list[Run]) -> np.ndarray:
        """The table of each vector."""
        return np.repeat(np.array([run.scale for run in runs], np.uint16), [self._vectors(run) for run in runs])


def _prices(tables: SymbolTables) -> list[np.ndarray]:
    """What the choice of each entry of each table weighs, the escape last, float32."""
    bits = tables.code_lengths()
    bits[tables.offsets[1:] - 1] += 8  # of an escaped value, which is hardly ever longer
    return np.split((SLOPE * bits).astype(np.float32), tables.offsets[1:-1])


def _rows(values: np.ndarray, dimension: int) -> np.ndarray:
    """(n,) to (ceil(n / dimension), dimension), filled up with zeros."""
    rows = np.zeros((-(-len(values) // dimension), dimension), values.dtype)
    rows.ravel()[: len(values)] = values
    return rows


def _unsorted(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    result = np.empty_like(values)
    result[order] = values
    return result
