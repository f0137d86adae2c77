"""Predictors that are fitted anew for every sample: weighted least squares over a causal window of the picture.

An **expert** predicts a sample as a linear function of its inputs, which are neighbours in the same plane and, in
planes that were coded before, neighbours on all sides. Its coefficients minimise the squared errors on the samples
before, each with the weight `across**|dx| * down**dy` of its distance, plus `ridge` times the squared coefficients.
(After X. Li and M. Orchard, "Edge-directed prediction for lossless compression of natural images", 2001; the window
with two-sided exponential weights is what lets the sums be carried along instead of being taken anew.)

Sums are symmetric matrices of n inputs by n + 1 columns, the last one for the target. Rows are kept from the diagonal
on, rounded down to a multiple of `LANES`. Loops over columns go in such blocks and compile to vectors; as no sum is
taken across a vector, results are the same for any length of vectors. Only + - * / on float64.
`least_squares_reference` says the same in plain NumPy.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numba import config, njit

LANES = 8
MARGIN = 4  # of padding around planes; neighbours are at most that far away

FIRST, INPUTS, COLUMNS, CELL, CELLS = range(5)  # columns of the geometry

_0, _1, _2, _3, _4, _5, _6, _7, _LANES = map(np.uint64, range(LANES + 1))


@contextmanager
def straight_line_vectors() -> Iterator[None]:
    """Lets numba make vectors of neighbouring statements too, for what is compiled meanwhile: `solve` is written so."""
    before, config.SLP_VECTORIZE = config.SLP_VECTORIZE, 1
    try:
        yield
    finally:
        config.SLP_VECTORIZE = before


def geometry(counts: list[int]) -> np.ndarray:
    """Where the parts of experts lie in arrays that they share.

    Args:
        counts: inputs of each expert.

    Returns:
        (experts, 5) int64: number of the first input, inputs, columns of the matrix, number of its first cell, and
        cells of it that are kept.
    """
    rows = []
    first = cell = 0
    for count in counts:
        columns = -(-(count + 1) // LANES) * LANES
        cells = sum(columns - i // LANES * LANES for i in range(count))
        rows.append((first, count, columns, cell, cells))
        first += columns
        cell += cells
    return np.array(rows, np.int64)


@njit(error_model="numpy")
def gather(samples, plane, places, count, row, column, inputs):  # type: ignore[no-untyped-def]
    """Fills `inputs`, each less the mean of its plane's left and upper sample; gives that mean for the own plane."""
    for i in range(count):
        p = places[i, 0]
        centre = 0.5 * (samples[p, row, column - 1] + samples[p, row - 1, column])
        inputs[i] = samples[p, row + places[i, 1], column + places[i, 2]] - centre
    return 0.5 * (samples[plane, row, column - 1] + samples[plane, row - 1, column])


@njit(inline="always")
def _eight(cells, at):  # type: ignore[no-untyped-def]
    return (cells[at], cells[at + _1], cells[at + _2], cells[at + _3], cells[at + _4], cells[at + _5], cells[at + _6],
            cells[at + _7])


@njit(inline="always")
def _less(eight, factor, cells, at):  # type: ignore[no-untyped-def]
    """Eight numbers less the product of a factor and eight cells."""
    v0, v1, v2, v3, v4, v5, v6, v7 = eight
    return (v0 - factor * cells[at], v1 - factor * cells[at + _1], v2 - factor * cells[at + _2],
            v3 - factor * cells[at + _3], v4 - factor * cells[at + _4], v5 - factor * cells[at + _5],
            v6 - factor * cells[at + _6], v7 - factor * cells[at + _7])


@njit(inline="always")
def _put(eight, cells, at):  # type: ignore[no-untyped-def]
    (cells[at], cells[at + _1], cells[at + _2], cells[at + _3], cells[at + _4], cells[at + _5], cells[at + _6],
     cells[at + _7]) = eight


@njit(error_model="numpy")
def _reduce_row(cells, row, columns, factors):  # type: ignore[no-untyped-def]
    """Takes `factors[k]` times row k off a row, for all rows k above it. Sums stay in registers meanwhile."""
    at, end = row * columns + row // _LANES * _LANES, (row + _1) * columns
    while at + _LANES < end:
        first, second, above = _eight(cells, at), _eight(cells, at + _LANES), at - row * columns
        for k in range(row):
            first = _less(first, factors[k], cells, above)
            second = _less(second, factors[k], cells, above + _LANES)
            above += columns
        _put(first, cells, at)
        _put(second, cells, at + _LANES)
        at += _LANES + _LANES
    if at < end:
        first, above = _eight(cells, at), at - row * columns
        for k in range(row):
            first = _less(first, factors[k], cells, above)
            above += columns
        _put(first, cells, at)


@njit(error_model="numpy")
def solve(above, running, ridge, inputs, padded, room, inverse, coefficients):  # type: ignore[no-untyped-def]
    """Coefficients from the sums of the rows above and of this row.

    Elimination row by row, then substitution backwards. Numbers of cells are unsigned, which spares the compiler the
    question whether one counts from the end.

    Args:
        above, running: cells of the two sums.
        inputs, padded: of the expert, see `geometry`.
        room: float64, at least inputs * padded.
        inverse: float64, at least `inputs`.
        coefficients: float64, at least `inputs`; the result.
    """
    count, columns, cell = np.uint64(inputs), np.uint64(padded), _0
    for i in range(count):
        for at in range(i * columns + i // _LANES * _LANES, (i + _1) * columns):
            room[at] = above[cell] + running[cell]
            cell += _1
        room[i * columns + i] += ridge
        at = i
        for k in range(i):
            coefficients[k] = room[at] * inverse[k]
            at += columns
        _reduce_row(room, i, columns, coefficients)
        inverse[i] = 1.0 / max(room[i * columns + i], ridge)  # no pivot is smaller but for rounding
    for i in range(count):
        coefficients[i] = room[i * columns + count]
    for behind in range(count):
        j = count - _1 - behind
        coefficients[j] *= inverse[j]
        at = j
        for i in range(j):
            coefficients[i] -= room[at] * coefficients[j]
            at += columns


@njit(error_model="numpy")
def learn(above, running, across, down, count, columns, inputs):  # type: ignore[no-untyped-def]
    """Takes a sample into the sums: `inputs[count]` is the target, what follows it is 0.

    `running` goes on to the next column; `above` becomes what the samples to the left and above are to the next row.
    """
    cell = 0
    for i in range(count):
        begin, value = i // LANES * LANES, inputs[i]
        own = inputs[begin:columns]
        upper, here = above[cell : cell + own.size], running[cell : cell + own.size]
        for j in range(own.size):
            total = here[j] + value * own[j]
            upper[j] = down * (upper[j] + total)
            here[j] = across * total
        cell += own.size


@njit(error_model="numpy")
def learn_back(above, running, across, down, count, columns, inputs):  # type: ignore[no-untyped-def]
    """The way back along a row that is done: the samples to the right enter the sums for the next row."""
    cell = 0
    for i in range(count):
        begin, value = i // LANES * LANES, inputs[i]
        own = inputs[begin:columns]
        upper, here = above[cell : cell + own.size], running[cell : cell + own.size]
        for j in range(own.size):
            upper[j] += down * here[j]
            here[j] = across * (here[j] + value * own[j])
        cell += own.size
