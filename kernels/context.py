"""Integer context networks: which table each latent uses, and the decoding of a grid, latent by latent.

A latent is coded as its difference from an integer near its predicted mean, with a Laplacian's table that is chosen by
the predicted scale and by what was rounded off the mean. All numbers are integers whose sums stay within 32 bits (the
caller has checked the weights), so every machine predicts the same.

Planes that networks look at are clamped and padded: (h + 2 MARGIN, w + 2 MARGIN) int32, 0 outside the grid, so that
no bounds need to be tested. `context_reference` says the same in plain NumPy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit, types

from fewbits.errors import DamagedError
from fewbits.kernels.ans import START
from fewbits.kernels.grouping import CUT_SHORT, WRONG, read_escape
from fewbits.kernels.rans import LOOKUP_BITS, RansTables, open_words, pop

FRACTION = 10  # bits of a parameter after the binary point
MARGIN = 3  # around padded planes; neighbours are at most that far away
COARSE_INPUTS = 4  # the nearest latents of the next coarser grid
CONTEXT_LIMIT = 511  # of the latents that networks see
HIDDEN_LIMIT = 65535  # of hidden units
LATENT_LIMIT = 16383
MEAN_BITS = 5  # of a mean after the binary point, for the choice of the table
MEAN_LIMIT = 2047
SCALE_BITS = 2  # of the logarithm of a scale
LEVELS = 40  # of scale: level l stands for 2**((l - CENTRE_LEVEL) / 4)
CENTRE_LEVEL = 20
SHIFTS = 1 << MEAN_BITS

_BEYOND_LIMIT = -3  # how decoding can end, besides CUT_SHORT and WRONG of `grouping`
_RUN_DOWN = -4
_ENDINGS = {
    CUT_SHORT: "it has fewer escaped symbols than it announces",
    WRONG: "an escaped symbol is malformed",
    _BEYOND_LIMIT: "a latent is beyond what there can be",
    _RUN_DOWN: "it ends before its symbols end",
}

_LANES = 8  # rows of weights are padded to multiples of that, and sums go in such blocks
_START = np.uint64(START)
_ROUND = 1 << FRACTION - 1
_MEAN_DROPPED, _SCALE_DROPPED = FRACTION - MEAN_BITS, FRACTION - SCALE_BITS
_ROUND_MEAN, _ROUND_SCALE = 1 << _MEAN_DROPPED - 1, 1 << _SCALE_DROPPED - 1
_FINE_LIMIT = MEAN_LIMIT << MEAN_BITS

_ROW = types.Array(types.int32, 1, "C", readonly=True)
_PLANE = types.Array(types.int32, 2, "C", readonly=True)
_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_PAIRS = types.Array(types.int64, 2, "C", readonly=True)
_WORDS = types.Array(types.uint32, 1, "C", readonly=True)
_PACKED = types.Array(types.uint64, 1, "C", readonly=True)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_NETWORK = types.UniTuple(_PLANE, 3), types.UniTuple(_ROW, 2)


@dataclass(frozen=True, eq=False)
class ContextNetwork:
    """A network in the form that the compiled loops want: a row of weights for each input, not for each output.

    Attributes:
        weights: first (inputs, W), second (width, V) and last (2, V) layer, int32; W = width + 2 (mean and scale come
            after the hidden units) and V = width, both rounded up to multiples of 8.
        biases: of the first (W,) and second (V,) layer, that of the second with its rounding, int32.
    """

    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    biases: tuple[np.ndarray, np.ndarray]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, np.ndarray], prefix: str = "") -> "ContextNetwork":
        """From `first.weight` (width + 2, inputs), `first.bias`, `second.weight`, `second.bias` and `last.weight`, all
        with `prefix` before their names, int32 in units of 2**-FRACTION."""
        def padded(name: str) -> np.ndarray:
            array = np.asarray(parameters[prefix + name], np.int32)
            return np.ascontiguousarray(np.pad(array.T, [(0, 0)] * (array.ndim - 1) + [(0, -len(array) % _LANES)]))

        last = np.asarray(parameters[prefix + "last.weight"], np.int32)
        last = np.ascontiguousarray(np.pad(last, ((0, 0), (0, -last.shape[1] % _LANES))))
        second_bias = (padded("second.bias") << FRACTION) + np.int32(_ROUND)
        return cls((padded("first.weight"), padded("second.weight"), last), (padded("first.bias"), second_bias))


@dataclass(frozen=True, eq=False)
class ContextTables:
    """Tables of symbols, one for each level of scale and shift: table `level * SHIFTS + shift`.

    Attributes:
        rans: for the coder.
        lows, sizes: (tables,) int32, first symbol and number of entries; a table's last entry is its escape.
    """

    rans: RansTables
    lows: np.ndarray
    sizes: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.rans) == len(self.lows) == len(self.sizes) == LEVELS * SHIFTS:
            raise ValueError(f"context networks need {LEVELS * SHIFTS} tables, not {len(self.rans)}")


def padded_plane(latents: np.ndarray) -> np.ndarray:
    """What networks see of a grid of latents (h, w)."""
    return np.pad(latents.astype(np.int32).clip(-CONTEXT_LIMIT, CONTEXT_LIMIT), MARGIN)


def no_plane(height: int, width: int) -> np.ndarray:
    """In place of the coarser grid of a grid that has none."""
    return np.zeros((-(-height // 2) + 2 * MARGIN, -(-width // 2) + 2 * MARGIN), np.int32)


@njit(inline="always")
def _gather(plane, coarse, neighbours, y, x, inputs):  # type: ignore[no-untyped-def]
    """Inputs at a position: causal neighbours, then the four nearest latents of the coarser grid."""
    count = neighbours.shape[0]
    for i in range(count):
        inputs[i] = plane[y + neighbours[i, 0] + MARGIN, x + neighbours[i, 1] + MARGIN]
    row, column = (y >> 1) + MARGIN, (x >> 1) + MARGIN
    next_row, next_column = row + 2 * (y & 1) - 1, column + 2 * (x & 1) - 1
    inputs[count] = coarse[row, column]
    inputs[count + 1] = coarse[row, next_column]
    inputs[count + 2] = coarse[next_row, column]
    inputs[count + 3] = coarse[next_row, next_column]


@njit(inline="always")
def _add_products(inputs, count, weight, sums):  # type: ignore[no-untyped-def]
    """sums += weight.T @ inputs, without the inputs that are 0: many are."""
    for i in range(count):
        value = inputs[i]
        if value != 0:
            for begin in range(0, sums.size, _LANES):
                for j in range(begin, begin + _LANES):
                    sums[j] += weight[i, j] * value


@njit(inline="always")
def _predict_one(inputs, weights, biases, sums, second_sums):  # type: ignore[no-untyped-def]
    """The integer part of a latent's mean, and its table."""
    first, second, last = weights
    width = second.shape[0]
    sums[:] = biases[0]
    _add_products(inputs, inputs.size, first, sums)
    mean, scale = int(sums[width]), int(sums[width + 1])
    for j in range(width):
        sums[j] = min(max(sums[j], 0), HIDDEN_LIMIT)
    second_sums[:] = biases[1]
    _add_products(sums, width, second, second_sums)
    mean_sum, scale_sum = _ROUND, _ROUND
    for j in range(second_sums.size):
        hidden = min(max(second_sums[j] >> FRACTION, 0), HIDDEN_LIMIT)
        mean_sum += hidden * last[0, j]
        scale_sum += hidden * last[1, j]
    mean += mean_sum >> FRACTION
    scale += scale_sum >> FRACTION
    fine = min(max((mean + _ROUND_MEAN) >> _MEAN_DROPPED, -_FINE_LIMIT), _FINE_LIMIT)
    level = min(max(((scale + _ROUND_SCALE) >> _SCALE_DROPPED) + CENTRE_LEVEL, 0), LEVELS - 1)
    return fine >> MEAN_BITS, (level << MEAN_BITS) + (fine & SHIFTS - 1)


@njit(types.Tuple((types.int32[::1], types.uint16[::1]))(_PLANE, _PLANE, _PLANE, _PAIRS, *_NETWORK), cache=True,
      nogil=True)
def _predict(latents, plane, coarse, neighbours, weights, biases):  # type: ignore[no-untyped-def]
    height, width = latents.shape
    symbols, tables = np.empty(height * width, np.int32), np.empty(height * width, np.uint16)
    inputs = np.empty(neighbours.shape[0] + COARSE_INPUTS, np.int32)
    sums, second_sums = np.empty(biases[0].size, np.int32), np.empty(biases[1].size, np.int32)
    for y in range(height):
        for x in range(width):
            _gather(plane, coarse, neighbours, y, x, inputs)
            base, table = _predict_one(inputs, weights, biases, sums, second_sums)
            symbols[y * width + x] = latents[y, x] - base
            tables[y * width + x] = table
    return symbols, tables


def predict(latents: np.ndarray, coarse: np.ndarray, neighbours: np.ndarray,
            network: ContextNetwork) -> tuple[np.ndarray, np.ndarray]:
    """Symbols of a grid whose latents are all known, and their tables.

    Args:
        latents: (h, w) integers up to LATENT_LIMIT.
        coarse: padded plane of the next coarser grid, or `no_plane`.
        neighbours: (n, 2) int64, rows down and columns right.

    Returns:
        (h * w,) int32 and uint16, row by row.
    """
    known = np.ascontiguousarray(latents, np.int32)
    return _predict(known, padded_plane(known), coarse, neighbours, network.weights, network.biases)


@njit(types.Tuple((types.uint64, types.int64, types.int64))(
    types.int16[:, ::1], types.int32[:, ::1], _PLANE, _PAIRS, *_NETWORK, _PACKED, _PLACES, _PACKED, _ROW, _ROW, _WORDS,
    _BYTES, types.uint64, types.int64, types.int64), cache=True, nogil=True)
def _decode(latents, plane, coarse, neighbours, weights, biases, packed, offsets, lookup, lows, sizes,  # type: ignore[no-untyped-def]
            words, escapes, state, count, used):
    """Fills `latents` and `plane`; gives state, words left and escapes used, or what is wrong in that place."""
    height, width = latents.shape
    inputs = np.empty(neighbours.shape[0] + COARSE_INPUTS, np.int32)
    sums, second_sums = np.empty(biases[0].size, np.int32), np.empty(biases[1].size, np.int32)
    for y in range(height):
        if state < _START:  # no encoder goes below; large pictures without words end early here
            return state, count, _RUN_DOWN
        for x in range(width):
            _gather(plane, coarse, neighbours, y, x, inputs)
            base, table = _predict_one(inputs, weights, biases, sums, second_sums)
            state, count, entry = pop(state, words, count, packed, offsets[table], lookup, table << LOOKUP_BITS)
            escape = np.int64(sizes[table] - 1)
            symbol = np.int64(entry) + lows[table]
            if entry == escape:
                symbol, used = read_escape(escapes, used)
                if used < 0:
                    return state, count, used
                if 0 <= symbol - lows[table] < escape:
                    return state, count, WRONG
            latent = base + symbol
            if latent < -LATENT_LIMIT or latent > LATENT_LIMIT:
                return state, count, _BEYOND_LIMIT
            latents[y, x] = latent
            plane[y + MARGIN, x + MARGIN] = min(max(latent, -CONTEXT_LIMIT), CONTEXT_LIMIT)
    return state, count, used


class GridDecoder:
    """Decodes the grids of a tile one after the other.

    Args:
        words: uint32, the last not 0.
        escapes: uint8, the values of escaped symbols.

    Raises:
        DamagedError: if there are no words or the last is 0.
    """

    def __init__(self, words: np.ndarray, escapes: np.ndarray, tables: ContextTables) -> None:
        self._tables, self._words, self._escapes = tables, words, escapes
        self._state, self._count = open_words(words)
        self._used = 0

    def decode(self, height: int, width: int, coarse: np.ndarray, neighbours: np.ndarray,
               network: ContextNetwork) -> tuple[np.ndarray, np.ndarray]:
        """The next grid: latents (height, width) int16 and its padded plane; other arguments as in `predict`.

        Raises:
            DamagedError: where that is certain already. Most damage is noticed at `finish` only.
        """
        latents = np.empty((height, width), np.int16)
        plane = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN), np.int32)
        tables = self._tables
        self._state, self._count, self._used = _decode(
            latents, plane, coarse, neighbours, network.weights, network.biases, tables.rans.packed,
            tables.rans.offsets, tables.rans.lookup, tables.lows, tables.sizes, self._words, self._escapes,
            np.uint64(self._state), self._count, self._used)
        if self._used < 0:
            raise DamagedError(f"The section is damaged: {_ENDINGS[self._used]}.")
        return latents, plane

    def finish(self) -> None:
        """Raises `DamagedError` unless everything was consumed, as it is after an undamaged stream."""
        if self._state != START or self._count or self._used != len(self._escapes):
            raise DamagedError("The section is damaged: it does not end where its symbols end.")
