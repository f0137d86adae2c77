"""Probability models as integer frequency tables.

Tables are built once, with floats, when weights are exported, and are shipped as integers: the decoder computes no
probability, so that every machine has the same ones.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import constriction
import numpy as np

from fewbits.kernels.ans import PRECISION, TOTAL

MAX_TABLES = 1 << 16
MAX_ENTRIES = 1 << 16  # of one table
MAX_REACH = 2047  # how far tables built here reach from their centre
TAIL = 2.0**-20  # what may lie beyond that, for the escape
PRIOR_WEIGHT = 32.0  # how many observations the smoothing of histograms is worth

_INT32 = np.iinfo(np.int32)
Categorical: TypeAlias = constriction.stream.model.Categorical


@dataclass(frozen=True, eq=False)
class SymbolTables:
    """Frequency tables for symbols. Table t covers the symbols `lows[t]` to `highs[t]` and has one entry more, the
    escape, for all others.

    Attributes:
        frequencies: (entries,) int32, table after table, the escape last in each; at least 1, each table's sum 2**24.
        offsets: (tables + 1,) int32, where each table begins in `frequencies`, and where the last one ends.
        lows: (tables,) int32, the first symbol of each table.

    Raises:
        ValueError: if they are not such tables.
    """

    frequencies: np.ndarray
    offsets: np.ndarray
    lows: np.ndarray
    _models: dict[int, Categorical] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("frequencies", "offsets", "lows"):
            array = getattr(self, name)
            if array.dtype != np.int32 or array.ndim != 1:
                raise ValueError(f"{name} of tables must be one row of int32, not {array.dtype} {array.shape}")
            object.__setattr__(self, name, np.ascontiguousarray(array))
        if not 1 <= len(self.lows) <= MAX_TABLES or len(self.offsets) != len(self.lows) + 1:
            raise ValueError(f"{len(self.lows)} tables with {len(self.offsets)} offsets")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.frequencies):
            raise ValueError("the offsets of the tables do not cover the frequencies")
        if self.sizes.min() < 2 or self.sizes.max() > MAX_ENTRIES:
            raise ValueError(f"tables have {self.sizes.min()} to {self.sizes.max()} entries, not 2 to {MAX_ENTRIES}")
        sums = np.add.reduceat(self.frequencies, self.offsets[:-1], dtype=np.int64)
        if self.frequencies.min() < 1 or (sums != TOTAL).any():
            raise ValueError("frequencies of a table are below 1, or their sum is not 2**24")
        if (self.lows.astype(np.int64) + self.sizes - 2 > _INT32.max).any():
            raise ValueError("a table reaches beyond 32 bits")

    @classmethod
    def from_frequencies(cls, frequencies: Sequence[np.ndarray], lows: Sequence[int] | np.ndarray) -> "SymbolTables":
        """Tables from one row of frequencies each (escape last), and the first symbol of each. Raises `ValueError`."""
        if len(frequencies) == 0:
            raise ValueError("there are no tables")
        offsets = np.cumsum([0, *map(len, frequencies)])
        return cls(np.concatenate(frequencies).astype(np.int32), offsets.astype(np.int32), np.array(lows, np.int32))

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "SymbolTables":
        """From what `to_arrays` gave. Raises `KeyError` or `ValueError` for anything else."""
        return cls(arrays["frequencies"], arrays["offsets"], arrays["lows"])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """`frequencies`, `offsets` and `lows`, all int32, to be stored with weights."""
        return {"frequencies": self.frequencies, "offsets": self.offsets, "lows": self.lows}

    def __len__(self) -> int:
        return len(self.lows)

    @property
    def sizes(self) -> np.ndarray:
        """(tables,) int32: entries of each table, the escape included."""
        return np.diff(self.offsets)

    @property
    def highs(self) -> np.ndarray:
        """(tables,) int32: the last symbol of each table."""
        return self.lows + self.sizes - 2

    def table(self, number: int) -> np.ndarray:
        """Frequencies of a table, the escape last."""
        return self.frequencies[self.offsets[number] : self.offsets[number + 1]]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the symbols of each table, the escape left out: (tables,) float64 each."""
        symbols = np.arange(len(self.frequencies)) - np.repeat(self.offsets[:-1] - self.lows, self.sizes)
        weights = self.frequencies.astype(np.float64)
        weights[self.offsets[1:] - 1] = 0
        total, first, second = (np.add.reduceat(weights * symbols**power, self.offsets[:-1]) for power in range(3))
        mean = first / total
        return mean, np.sqrt(np.maximum(second / total - mean**2, 0))

    def code_lengths(self) -> np.ndarray:
        """Bits of every entry in `frequencies`, float64. An escaped value takes its bytes on top."""
        return PRECISION - np.log2(self.frequencies)

    def bits(self, symbols: np.ndarray, index: np.ndarray) -> float:
        """Ideal code length of symbols in bits, escaped values included.

        Args:
            symbols: int32, any shape.
            index: the table of each symbol, integers of the same shape.

        Raises:
            ValueError: if shapes disagree or there is no such table.
        """
        from fewbits.kernels import grouping  # brings numba, which a program that only decodes does without

        symbols, index = checked_symbols(symbols), self.checked_index(index)
        if symbols.shape != index.shape:
            raise ValueError(f"{symbols.size} symbols with {index.size} table indices")
        return grouping.total_bits(symbols, index, self.lows, self.sizes, self.offsets[:-1].astype(np.int64),
                                   self.code_lengths())

    def bits_each(self, symbols: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Ideal code length of each symbol in bits, (n,) float64, without the bytes of escaped values.

        Args:
            symbols, index: (n,) int32 and uint16; the tables exist.
        """
        entries, escape = symbols - self.lows[index].astype(np.int64), self.sizes[index] - 1
        inside = (entries >= 0) & (entries < escape)
        return self.code_lengths()[self.offsets[index] + np.where(inside, entries, escape)]

    def entries(self, symbols: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, bytes]:
        """Entries of symbols in their tables, (n,) int32, and the values of escaped ones as bytes.

        Args:
            symbols, index: (n,) int32 and uint16; the tables exist.
        """
        from fewbits.kernels import grouping  # brings numba, which a program that only decodes does without

        lows, escape = self.lows[index], self.sizes[index] - 1
        escaped = (symbols < lows) | (symbols >= lows.astype(np.int64) + escape)
        entries = np.where(escaped, escape, symbols - lows)
        return entries, grouping.write_escapes(symbols, index, self.lows, self.sizes, int(escaped.sum())).tobytes()

    def checked_index(self, index: np.ndarray) -> np.ndarray:
        """Table indices as one row of uint16. Raises `ValueError` if there is no such table."""
        flat = np.asarray(index).reshape(-1)
        if flat.dtype.kind not in "iu":
            raise ValueError(f"table indices must be integers, not {flat.dtype}")
        if flat.size and not (flat.min() >= 0 and flat.max() < len(self)):
            raise ValueError(f"table indices go from {flat.min()} to {flat.max()}; there are {len(self)} tables")
        return np.ascontiguousarray(flat, np.uint16)

    def model(self, number: int) -> Categorical:
        """The table as a model of constriction: exactly the same integers.

        constriction gives an entry `floor(scale * weight before it) + entries before it` as its left end, the scale
        bringing the sum of the weights to 2**24 - entries. Weights of one less than the frequencies have that sum
        already, the scale is exactly 1, and nothing is rounded.
        """
        if number not in self._models:
            weights = (self.table(number) - 1).astype(np.float64)
            self._models[number] = Categorical(weights, lazy=False, perfect=False)
        return self._models[number]


def checked_symbols(symbols: np.ndarray) -> np.ndarray:
    """Symbols as one row of int32. Raises `ValueError` if they are not integers of 32 bits."""
    flat = np.asarray(symbols).reshape(-1)
    if flat.dtype == np.int32:
        return np.ascontiguousarray(flat)
    if flat.dtype.kind not in "iu" or (flat.size and not (_INT32.min <= flat.min() and flat.max() <= _INT32.max)):
        raise ValueError(f"symbols must be integers of 32 bits, not {flat.dtype}")
    return flat.astype(np.int32)


def quantised(probabilities: np.ndarray) -> np.ndarray:
    """Integer frequencies, at least 1, with sum 2**24.

    Args:
        probabilities: (n,) float64 of any positive sum, none negative.

    Returns:
        (n,) int32: one each, and the rest shared out in proportion, by largest remainders.
    """
    share = probabilities * ((TOTAL - len(probabilities)) / probabilities.sum())
    frequencies = np.floor(share).astype(np.int64)
    missing = TOTAL - len(probabilities) - int(frequencies.sum())
    frequencies[np.argsort(frequencies - share, kind="stable")[:missing]] += 1
    return (frequencies + 1).astype(np.int32)


def gaussian_scale_tables(scales: np.ndarray) -> SymbolTables:
    """Zero-mean Gaussians integrated over unit steps, one table per scale; `scales`: standard deviations."""
    return _scale_tables(scales, lambda x, scale: 0.5 * math.erfc(x / (scale * math.sqrt(2))))


def laplace_scale_tables(scales: np.ndarray) -> SymbolTables:
    """Zero-mean Laplacians integrated over unit steps, one table per scale; `scales`: mean absolute values."""
    return _scale_tables(scales, _laplace_tail)


def logistic_scale_tables(scales: np.ndarray) -> SymbolTables:
    """Zero-mean logistic distributions integrated over unit steps, one table per scale; `scales`: s in
    1 / (1 + exp(-x / s))."""
    return _scale_tables(scales, lambda x, scale: math.exp(-x / scale) / (1 + math.exp(-x / scale)))


def shifted_laplace_tables(scales: np.ndarray, shifts: np.ndarray) -> SymbolTables:
    """Laplacians integrated over unit steps around integers, one table per pair of a scale and a shift.

    Args:
        scales: (n,) mean distances from the centre.
        shifts: (m,) centres, 0 <= shift < 1.

    Returns:
        Table `i * m + j` is for scale i and shift j.
    """
    rows, lows = [], []
    for scale in map(float, scales):
        for shift in map(float, shifts):
            row, low = _centred_row(_laplace_tail, scale, shift)
            rows.append(row)
            lows.append(low)
    return SymbolTables.from_frequencies(rows, lows)


def _laplace_tail(x: float, scale: float) -> float:
    return 0.5 * math.exp(-x / scale)


def _scale_tables(scales: np.ndarray, upper_tail: Callable[[float, float], float]) -> SymbolTables:
    """Symmetric tables. `upper_tail(x, scale)` is the probability of more than x, for x > 0."""
    rows, lows = zip(*(_centred_row(upper_tail, float(scale), 0.0) for scale in scales), strict=True)
    return SymbolTables.from_frequencies(rows, lows)


def _centred_row(upper_tail: Callable[[float, float], float], scale: float, centre: float) -> tuple[np.ndarray, int]:
    """Frequencies of a distribution that is symmetric about `centre`, 0 <= centre < 1, and the table's first symbol.

    Where its tails carry too little, the table ends; the escape gets the rest.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"a scale must be a positive number, not {scale}")
    if not 0 <= centre < 1:
        raise ValueError(f"a centre must be at least 0 and below 1, not {centre}")

    def tail(x: float) -> float:
        return upper_tail(x, scale) if x > 0 else 1 - upper_tail(-x, scale)

    above, below = (_cut_tails([tail(k + 0.5 + offset) for k in range(MAX_REACH + 1)]) for offset in (-centre, centre))
    sides = below[:-1] - below[1:], above[:-1] - above[1:]
    middle = max(1 - (above[0] + below[0]), 0.0)
    rest = above[-1] + below[-1]
    return quantised(np.concatenate([sides[0][::-1], [middle], sides[1], [rest]])), 1 - len(below)


def _cut_tails(tails: list[float]) -> np.ndarray:
    """Probabilities of more than 1/2, 3/2, ... steps, up to the first that is negligible."""
    row = np.array(tails)
    reach = int(np.argmax(2 * row < TAIL)) if 2 * row[-1] < TAIL else MAX_REACH
    return row[: reach + 1]


def factorised_tables(counts: Sequence[np.ndarray], lows: Sequence[int] | np.ndarray) -> SymbolTables:
    """Tables from histograms of symbols.

    A histogram is smoothed with a two-sided geometric distribution about its mean, of the same mean distance from
    it, worth 32 observations; so values that were never seen have plausible probabilities, and a histogram
    without observations has a table too.

    Args:
        counts: how often each symbol occurred, one row per table, not negative.
        lows: the symbol that the first count of each row is for.
    """
    if len(counts) != len(lows):
        raise ValueError(f"{len(counts)} histograms with {len(lows)} first symbols")
    rows, starts = zip(*(_factorised_row(np.asarray(row, np.float64), int(low))
                         for row, low in zip(counts, lows, strict=True)), strict=True)
    return SymbolTables.from_frequencies(rows, starts)


def _factorised_row(counts: np.ndarray, low: int) -> tuple[np.ndarray, int]:
    """Frequencies of one histogram's table, and its first symbol."""
    if counts.ndim != 1 or not np.isfinite(counts).all() or counts.min(initial=0) < 0:
        raise ValueError("a histogram must be one row of counts that are not negative")
    seen = low + np.arange(len(counts))
    total = counts.sum()
    centre = round(float((counts * seen).sum() / total)) if total else 0
    distance = (float((counts * abs(seen - centre)).sum()) + 1) / (total + 1)
    ratio = (math.sqrt(1 + distance * distance) - 1) / distance  # of the geometric distribution with that distance
    reached = centre + np.arange(-MAX_REACH, MAX_REACH + 1)
    density = PRIOR_WEIGHT * (1 - ratio) / (1 + ratio) * ratio ** abs(reached - centre)
    inside = abs(seen - centre) <= MAX_REACH
    density[seen[inside] - reached[0]] += counts[inside]
    density /= total + PRIOR_WEIGHT
    below, above = np.cumsum(density), np.cumsum(density[::-1])
    first, last = int((below < TAIL / 2).sum()), len(density) - 1 - int((above < TAIL / 2).sum())
    kept = density[first : last + 1]
    return quantised(np.append(kept, max(1 - kept.sum(), 0))), int(reached[first])
