"""What the networks leave of latents, as symbols for the entropy coder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fewbits.codecs.latents import SYMBOL_LIMIT, UNIT
from fewbits.entropy.tables import SymbolTables


@dataclass(frozen=True)
class Group:
    """Symbols that are coded together, each with the index of its table."""

    symbols: np.ndarray  # (n,) int32
    index: np.ndarray  # (n,) uint16
    tables: SymbolTables


Read = Callable[[SymbolTables, np.ndarray], np.ndarray]
"""Gives the symbols (n,) int32 of the next group, from their tables (n,) uint16."""


class Residuals(Protocol):
    """How the residuals of a pass are quantised and coded.

    Attributes:
        latent_tables: one table per scale, for residuals as whole steps.
    """

    latent_tables: SymbolTables

    def quantise(self, residuals: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, list[Group]]:
        """What is decoded in place of residuals, and the groups that say so.

        Args:
            residuals: (n,) float32, in steps.
            scales: (n,) uint16, indices of their predicted scales.

        Returns:
            (n,) float32, integers in 1/16 step, and groups in decoding order.
        """

    def decode(self, read: Read, scales: np.ndarray) -> np.ndarray:
        """What `quantise` returned, from its groups one after another. Raises `StreamError` for wrong data."""


class WholeSteps:
    """Residuals rounded to whole steps, each with the table of its scale."""

    def __init__(self, latent_tables: SymbolTables) -> None:
        self.latent_tables = latent_tables

    def quantise(self, residuals: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, list[Group]]:
        whole = np.rint(residuals).clip(-SYMBOL_LIMIT, SYMBOL_LIMIT)
        return whole * UNIT, [Group(whole.astype(np.int32), scales, self.latent_tables)]

    def decode(self, read: Read, scales: np.ndarray) -> np.ndarray:
        return read(self.latent_tables, scales).astype(np.float32) * UNIT
