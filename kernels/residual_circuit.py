"""Planes of photos: predictions of several experts, and a circuit over them that gives every sample its distribution.

For each sample, in raster order:

1. Every expert (`least_squares`) predicts it. A last one, the **blend**, starts from the mean of these predictions,
   weighted by how well they did on the samples around, and adds what least squares over the experts' differences from
   it make of it.
2. The **expected error** is a linear function of the blend's errors around, in this plane and in earlier ones, and of
   how far the experts disagree. Its coefficients are least squares over the plane so far.
3. The distribution is a sum node over the experts, over a sum node over a ladder of scales, multiples of the expected
   error, over leaves that are logistic distributions. Weights of the ladder and of the experts belong to the class of
   the expected error and follow their posteriors (online expectation maximisation).
4. Differences of the circuit's cumulative function at the ends of the sample's interval code it.

Only + - * / and square roots on float64, in a fixed order, and a table of integers over 2**32: so every machine finds
the same intervals. `residual_reference` says the same in plain Python. The coder is that of `ans`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, typeof, types

from fewbits.kernels.adaptive_rans import WORDS, advance, pack, quantile_of
from fewbits.kernels.ans import TOTAL
from fewbits.kernels.least_squares import (
    CELL,
    CELLS,
    COLUMNS,
    FIRST,
    INPUTS,
    MARGIN,
    gather,
    geometry,
    learn,
    learn_back,
    solve,
    straight_line_vectors,
)
from fewbits.kernels.logistic import CENTRE, LAST, LOGISTIC, STEPS

RUNGS = 13
CENTRE_RUNG = 7  # of the ladder: twice as many octaves as rungs
LADDER_UNIT = 0.6  # scale of the logistic at the centre, for an expected error of 1
CLASSES = 24  # of the expected error, one an octave
MIN_SCALE = 0.05  # expected error
FIRST_BOUND = 0.09  # between classes
SCALE_INPUTS = 9
EARLIER_INPUTS = 3  # of the expected error, for each earlier plane
SCALE_FIRST, SCALE_EVERY = 4, 64  # columns from solution to solution, in the first row and then
SCALE_RIDGE = 10.0
SCALE_PRIOR, CONSTANT_PRIOR = 0.2, 1.0  # coefficients of the four nearest errors, and of 1
FORGET = 0.98
LADDER_RATE, TRUST_RATE = 0.03, 0.05
MIN_TRUST = 0.001
NOT_SEEN = 1e-9  # of a distribution: nothing is learned from a sample that is less probable
NEARBY = 9.0  # sum of the weights of the errors around a sample


def half_octaves(first: float, count: int) -> np.ndarray:
    """(count,) float64: `first * 2**(i / 2)`, made with square roots and products that are the same everywhere."""
    root = np.sqrt(np.float64(2.0))
    return np.array([first * 2.0 ** (i // 2) * (root if i % 2 else 1.0) for i in range(count)])


_BOUNDS = np.ascontiguousarray(half_octaves(FIRST_BOUND, 2 * CLASSES)[2::2])
FIRST_LADDER = np.full(RUNGS, 1.0 / RUNGS)
_LADDER = half_octaves(LADDER_UNIT * 2.0**-4, RUNGS + 1)[1:]  # the eighth is LADDER_UNIT


class PlaneState(NamedTuple):
    """What has been learned about a plane, and room to compute in. E experts, W columns.

    Attributes:
        geometry: (E + 1, 5) int64 of the experts and the blend, as `least_squares.geometry` gives it.
        places: (columns of all matrices, 3) int64, where the inputs of experts are: plane, rows down, columns right.
        windows: (E + 1, 3) float64, `across`, `down` and `ridge` of `least_squares`.
        calm: (1,) float64, the error up to which a sample has its full weight in the experts' sums.
        fields: float64, the sums of the rows above, matrix by matrix.
        running: float64, the sums of the row so far.
        inputs: (W, columns of all matrices) float64, of this row, for the way back.
        matrix, inverse, coefficients: room for the solution of the largest expert.
        means: (E + 1,) float64, what the experts and the blend predict.
        errors: (3, W + 2 MARGIN, E) float64, magnitudes of the experts' errors in three rows; row y is number y mod 3.
        attention: (E,) float64, square roots of the sample's weights in the experts' sums.
        shares: (E + 1,) float64, weights of the experts in the circuit for the sample at hand.
        leaves: (3, E + 1, RUNGS) float64, cumulative functions of the leaves at both ends of the sample, and where a
            decoder tries.
        parts: (E + 1,) float64, probability of the sample by each expert.
        rungs: (RUNGS,) float64, steps of the table of logistics a unit, for the sample at hand.
        ladder: (CLASSES, RUNGS) float64, weights of the scales.
        trust: (CLASSES, E + 1) float64, weights of the experts.
        scale_inputs, scale_coefficients: (inputs of the scale,) float64.
        scale_sums, scale_matrix: (inputs of the scale, one more) float64.
        logistic: `kernels.logistic.LOGISTIC`, which is too large for a constant of compiled code.
    """

    geometry: np.ndarray
    places: np.ndarray
    windows: np.ndarray
    calm: np.ndarray
    fields: np.ndarray
    running: np.ndarray
    inputs: np.ndarray
    matrix: np.ndarray
    inverse: np.ndarray
    coefficients: np.ndarray
    means: np.ndarray
    errors: np.ndarray
    attention: np.ndarray
    shares: np.ndarray
    leaves: np.ndarray
    parts: np.ndarray
    rungs: np.ndarray
    ladder: np.ndarray
    trust: np.ndarray
    scale_inputs: np.ndarray
    scale_coefficients: np.ndarray
    scale_sums: np.ndarray
    scale_matrix: np.ndarray
    logistic: np.ndarray


def fresh_state(width: int, places: list[np.ndarray], windows: np.ndarray, calm: float, earlier: int) -> PlaneState:
    """The state before the first sample of a plane.

    Args:
        width: of the plane.
        places: (n, 3) for each expert, at least one: the inputs' planes, rows down and columns right, up to MARGIN.
        windows: (E + 1, 3) float64, of the experts and of the blend.
        calm: see `PlaneState`.
        earlier: number of earlier planes whose deviations tell about this plane's.
    """
    shape = geometry([*map(len, places), len(places)])
    columns, cells = (int(shape[-1, first] + shape[-1, size]) for first, size in ((FIRST, COLUMNS), (CELL, CELLS)))
    inputs = int(shape[:, INPUTS].max())
    at = np.zeros((columns, 3), np.int64)
    for row, own in zip(shape, places, strict=False):
        at[row[FIRST] : row[FIRST] + len(own)] = own
    experts, scale_inputs = len(places), SCALE_INPUTS + EARLIER_INPUTS * earlier
    return PlaneState(
        shape, at, np.ascontiguousarray(windows, np.float64), np.array([calm]), np.zeros(width * cells),
        np.zeros(cells), np.zeros((width, columns)), np.zeros(inputs * int(shape[:, COLUMNS].max())),
        np.zeros(inputs), np.zeros(inputs),
        np.zeros(experts + 1), np.zeros((3, width + 2 * MARGIN, experts)), np.zeros(experts), np.zeros(experts + 1),
        np.zeros((3, experts + 1, RUNGS)), np.zeros(experts + 1), np.zeros(RUNGS), np.tile(FIRST_LADDER, (CLASSES, 1)),
        np.full((CLASSES, experts + 1), 1.0 / (experts + 1)), np.zeros(scale_inputs), np.zeros(scale_inputs),
        np.zeros((scale_inputs, scale_inputs + 1)), np.zeros((scale_inputs, scale_inputs + 1)), LOGISTIC)


_ONE = np.uint64(1)
_STATE = typeof(fresh_state(1, [np.zeros((1, 3), np.int64)], np.zeros((2, 3)), 1.0, 0))
_SAMPLES = types.Array(types.int32, 3, "C")
_DEVIATIONS = types.Array(types.float64, 3, "C")


@njit(error_model="numpy")
def _expert(state, e, column):  # type: ignore[no-untyped-def]
    """Coefficients of expert e, from its sums."""
    cell, cells = state.geometry[e, CELL], state.geometry[e, CELLS]
    at = cell * state.inputs.shape[0] + column * cells
    solve(state.fields[at:at + cells], state.running[cell:], state.windows[e, 2], state.geometry[e, INPUTS],
          state.geometry[e, COLUMNS], state.matrix, state.inverse, state.coefficients)


@njit(error_model="numpy")
def _predict(samples, plane, row, column, low, high, state):  # type: ignore[no-untyped-def]
    """The experts' means. Their inputs go into this column of `state.inputs`, where their targets are still missing."""
    inputs = state.inputs[column]
    centre = 0.0
    for e in range(state.geometry.shape[0] - 1):
        first, count = state.geometry[e, FIRST], state.geometry[e, INPUTS]
        centre = gather(samples, plane, state.places[first:], count, row + MARGIN, column + MARGIN, inputs[first:])
        _expert(state, e, column)
        mean = centre
        for i in range(count):
            mean += state.coefficients[i] * inputs[first + i]
        state.means[e] = min(max(mean, low), high)
    return centre


@njit(error_model="numpy")
def _blend(row, column, low, high, state):  # type: ignore[no-untyped-def]
    """The blend's mean and the experts' shares; gives the mean that the blend starts from."""
    experts = state.geometry.shape[0] - 1
    here, up, upper = state.errors[row % 3], state.errors[(row + 2) % 3], state.errors[(row + 1) % 3]
    x = column + MARGIN
    total = start = 0.0
    calm = NEARBY * state.calm[0]
    for e in range(experts):
        far = here[x - 2, e] + upper[x, e] + up[x - 2, e] + up[x + 2, e] + upper[x - 1, e] + upper[x + 1, e]
        error = 2.0 * (here[x - 1, e] + up[x, e]) + up[x - 1, e] + up[x + 1, e] + 0.5 * far
        state.attention[e] = calm / np.sqrt(error * error + calm * calm)
        square = error * error + 5.0
        state.shares[e] = 1.0 / (square * np.sqrt(square))
        total += state.shares[e]
    for e in range(experts):
        state.shares[e] /= total
        start += state.shares[e] * state.means[e]
    first = state.geometry[experts, FIRST]
    inputs = state.inputs[column]
    _expert(state, experts, column)
    mean = start
    for e in range(experts):
        inputs[first + e] = state.means[e] - start
        mean += state.coefficients[e] * inputs[first + e]
    state.means[experts] = min(max(mean, low), high)
    state.shares[experts] = 1.0
    return start


@njit(error_model="numpy")
def _expected_error(deviations, plane, row, column, state):  # type: ignore[no-untyped-def]
    """The scale of the sample, from the blend's errors around."""
    own, y, x = deviations[plane], row + MARGIN, column + MARGIN
    inputs, experts = state.scale_inputs, state.means.size - 1
    inputs[0] = 1.0
    inputs[1], inputs[2], inputs[3], inputs[4] = own[y, x - 1], own[y - 1, x], own[y - 1, x - 1], own[y - 1, x + 1]
    inputs[5], inputs[6] = own[y, x - 2], own[y - 2, x]
    inputs[7] = own[y - 2, x - 1] + own[y - 2, x + 1] + own[y - 1, x - 2] + own[y - 1, x + 2]
    inputs[8] = 0.0
    for e in range(experts):
        inputs[8] += abs(state.means[e] - state.means[experts])
    at = SCALE_INPUTS
    for p in range((inputs.size - SCALE_INPUTS) // EARLIER_INPUTS):
        other = deviations[p]
        inputs[at] = other[y, x]
        inputs[at + 1] = other[y, x - 1] + other[y, x + 1] + other[y - 1, x] + other[y + 1, x]
        inputs[at + 2] = other[y - 1, x - 1] + other[y - 1, x + 1] + other[y + 1, x - 1] + other[y + 1, x + 1]
        at += EARLIER_INPUTS
    if column % (SCALE_EVERY if row else SCALE_FIRST) == 0:
        _fit_scale(state)
    expected = 0.0
    for i in range(inputs.size):
        expected += state.scale_coefficients[i] * inputs[i]
    return max(expected, MIN_SCALE)


@njit(error_model="numpy")
def _fit_scale(state):  # type: ignore[no-untyped-def]
    """Coefficients of the scale from the sums so far, which lose some of their weight."""
    sums, matrix, coefficients = state.scale_sums, state.scale_matrix, state.scale_coefficients
    count = coefficients.size
    for i in range(count):
        for j in range(i, count + 1):
            sums[i, j] *= FORGET
            matrix[i, j] = sums[i, j]
        matrix[i, i] += SCALE_RIDGE
        if i <= 4:
            matrix[i, count] += SCALE_RIDGE * (SCALE_PRIOR if i else CONSTANT_PRIOR)
    for k in range(count):
        for i in range(k + 1, count):
            factor = matrix[k, i] / max(matrix[k, k], SCALE_RIDGE)
            for j in range(i, count + 1):
                matrix[i, j] -= factor * matrix[k, j]
    for i in range(count - 1, -1, -1):
        total = matrix[i, count]
        for j in range(i + 1, count):
            total -= matrix[i, j] * coefficients[j]
        coefficients[i] = total / max(matrix[i, i], SCALE_RIDGE)


@njit(error_model="numpy")
def _prepare(expected, state):  # type: ignore[no-untyped-def]
    """Rungs and shares for a sample; gives its class."""
    low, high = 0, _BOUNDS.size
    while low < high:
        middle = (low + high) >> 1
        if expected < _BOUNDS[middle]:
            high = middle
        else:
            low = middle + 1
    for r in range(RUNGS):
        state.rungs[r] = STEPS / (expected * _LADDER[r])
    total = 0.0
    for e in range(state.shares.size):
        state.shares[e] *= state.trust[low, e]
        total += state.shares[e]
    for e in range(state.shares.size):
        state.shares[e] /= total
    return low


@njit(error_model="numpy")
def _cumulative(edge, side, ladder, state):  # type: ignore[no-untyped-def]
    """The circuit's probability of what lies below an edge between samples; fills that side of `state.leaves`."""
    leaves, table = state.leaves[side], state.logistic
    total = 0.0
    for e in range(state.means.size):
        distance, part = edge - state.means[e], 0.0
        for r in range(RUNGS):
            place = min(max(distance * state.rungs[r] + CENTRE, 0.0), LAST - 1e-9)
            entry = np.uint64(place)
            leaf = table[entry] + (place - entry) * (table[entry + _ONE] - table[entry])
            leaves[e, r] = leaf
            part += ladder[r] * leaf
        total += state.shares[e] * part
    return total


@njit(error_model="numpy")
def _left(value, side, low, high, ladder, state):  # type: ignore[no-untyped-def]
    """Left end of a value's interval in the coder's range; that of high + 1 is its end. Fills a side of the leaves."""
    if value <= low:
        state.leaves[side] = 0.0
        return np.int64(0)
    if value > high:
        state.leaves[side] = 1.0
        return np.int64(TOTAL)
    free = TOTAL - (high - low + 1)  # every value has 1 to begin with
    return min(np.int64(_cumulative(value - 0.5, side, ladder, state) * free), free) + (value - low)


@njit(error_model="numpy")
def _find(quantile, expected, low, high, ladder, state):  # type: ignore[no-untyped-def]
    """The value whose interval holds a quantile, and that interval: gallops from the blend's mean, then bisects."""
    below, above, left, right = low, high + 1, np.int64(0), np.int64(TOTAL)
    state.leaves[0], state.leaves[1] = 0.0, 1.0
    probe, stride = np.int64(state.means[-1] + 0.5), 1 + np.int64(min(0.7 * expected, high - low))
    while above - below > 1:
        if probe <= below or probe >= above:
            probe = (below + above) >> 1
        at = _left(probe, 2, low, high, ladder, state)
        if at <= quantile:
            below, left = probe, at
            state.leaves[0] = state.leaves[2]
            probe += stride
        else:
            above, right = probe, at
            state.leaves[1] = state.leaves[2]
            probe -= stride
        stride = 2 * stride if below == low or above == high + 1 else high - low
    return below, left, right


@njit(error_model="numpy")
def _learn_circuit(chosen, state):  # type: ignore[no-untyped-def]
    """Weights of the ladder and of the experts follow their posteriors, given the leaves at both ends of a sample."""
    ladder, trust = state.ladder[chosen], state.trust[chosen]
    lower, upper = state.leaves[0], state.leaves[1]
    whole = 0.0
    for e in range(state.means.size):
        part = 0.0
        for r in range(RUNGS):
            upper[e, r] -= lower[e, r]
            part += ladder[r] * upper[e, r]
        state.parts[e] = part
        whole += state.shares[e] * part
    if whole < NOT_SEEN:
        return
    for r in range(RUNGS):
        part = 0.0
        for e in range(state.means.size):
            part += state.shares[e] * upper[e, r]
        ladder[r] += LADDER_RATE * ladder[r] * (part / whole - 1.0)
    for e in range(state.means.size):
        trust[e] = max(trust[e] + TRUST_RATE * state.shares[e] * (state.parts[e] / whole - 1.0), MIN_TRUST)


@njit(error_model="numpy")
def _learn(value, centre, start, expected, row, column, deviation, state):  # type: ignore[no-untyped-def]
    """Takes a sample into all sums."""
    inputs, experts = state.inputs[column], state.means.size - 1
    weight = 1.0 / np.sqrt(expected * expected + 0.1)  # least squares of errors in units of what is expected
    for e in range(experts + 1):
        first, count = state.geometry[e, FIRST], state.geometry[e, INPUTS]
        if e < experts:
            inputs[first + count], factor = value - centre, state.attention[e]
            state.errors[row % 3, column + MARGIN, e] = abs(value - state.means[e])
        else:
            inputs[first + count], factor = value - start, weight
        for i in range(count + 1):
            inputs[first + i] *= factor
        cell, cells = state.geometry[e, CELL], state.geometry[e, CELLS]
        at = cell * state.inputs.shape[0] + column * cells
        learn(state.fields[at:at + cells], state.running[cell:cell + cells], state.windows[e, 0], state.windows[e, 1],
              count, state.geometry[e, COLUMNS], inputs[first:])
    square = weight * weight
    for i in range(state.scale_inputs.size):
        factor = square * state.scale_inputs[i]
        for j in range(i, state.scale_inputs.size):
            state.scale_sums[i, j] += factor * state.scale_inputs[j]
        state.scale_sums[i, state.scale_inputs.size] += factor * deviation


@njit(error_model="numpy")
def _begin_row(samples, deviations, plane, row, state):  # type: ignore[no-untyped-def]
    """What lies to the left of a row counts as the first sample of the row above."""
    for x in range(MARGIN):
        samples[plane, row + MARGIN, x] = samples[plane, row + MARGIN - 1, MARGIN]
        deviations[plane, row + MARGIN, x] = deviations[plane, row + MARGIN - 1, MARGIN]
        for e in range(state.errors.shape[2]):
            state.errors[row % 3, x, e] = state.errors[(row + 2) % 3, MARGIN, e]
    state.running[:] = 0.0


@njit(error_model="numpy")
def _extend_up(samples, deviations, plane, column, state):  # type: ignore[no-untyped-def]
    """In the first row, what lies above, from this column on, counts as what lies to the left."""
    left = column + MARGIN - 1
    for x in range(column + MARGIN, column + 2 * MARGIN):
        for y in range(MARGIN):
            samples[plane, y, x] = samples[plane, MARGIN, left]
            deviations[plane, y, x] = deviations[plane, MARGIN, left]
        for e in range(state.errors.shape[2]):
            state.errors[1, x, e] = state.errors[2, x, e] = state.errors[0, left, e]


@njit(error_model="numpy")
def _end_row(samples, deviations, plane, row, state):  # type: ignore[no-untyped-def]
    """Fills the margins of a row that is known, and lets its sums go the way back."""
    height, width = samples.shape[1] - 2 * MARGIN, samples.shape[2] - 2 * MARGIN
    for x in range(MARGIN):
        right = width + MARGIN + x
        samples[plane, row + MARGIN, x] = samples[plane, row + MARGIN, MARGIN]
        samples[plane, row + MARGIN, right] = samples[plane, row + MARGIN, right - 1]
        deviations[plane, row + MARGIN, x] = deviations[plane, row + MARGIN, MARGIN]
        deviations[plane, row + MARGIN, right] = deviations[plane, row + MARGIN, right - 1]
        for e in range(state.errors.shape[2]):
            state.errors[row % 3, x, e] = state.errors[row % 3, MARGIN, e]
            state.errors[row % 3, right, e] = state.errors[row % 3, right - 1, e]
    if row == 0:
        for y in range(MARGIN):
            samples[plane, y] = samples[plane, MARGIN]
            deviations[plane, y] = deviations[plane, MARGIN]
        state.errors[1] = state.errors[2] = state.errors[0]
    if row == height - 1:
        for y in range(MARGIN):
            samples[plane, height + MARGIN + y] = samples[plane, height + MARGIN - 1]
            deviations[plane, height + MARGIN + y] = deviations[plane, height + MARGIN - 1]
    state.running[:] = 0.0
    for e in range(state.geometry.shape[0]):
        cell, cells = state.geometry[e, CELL], state.geometry[e, CELLS]
        running, first = state.running[cell:cell + cells], state.geometry[e, FIRST]
        for x in range(width - 1, -1, -1):
            at = cell * width + x * cells
            learn_back(state.fields[at:at + cells], running, state.windows[e, 0], state.windows[e, 1],
                       state.geometry[e, INPUTS], state.geometry[e, COLUMNS], state.inputs[x, first:])


def _code_row(samples, plane, row, low, high, decoding, deviations, state, words, coder, intervals):  # type: ignore[no-untyped-def]
    """Codes a row of a plane. All rows above, and of earlier planes two rows more, have been coded.

    Args:
        samples: (planes, H + 2 MARGIN, W + 2 MARGIN) int32, from low to high in this plane, of which a decoder fills
            this row; margins are filled here, but those above begin as (low + high) >> 1.
        row: from 0.
        low, high: of the plane's samples; low < high, and at most 2**16 values.
        decoding: from `words` and `coder`; else intervals are made of what is in `samples`.
        deviations: as `samples`, float64, magnitudes of the blend's errors; this row is filled.
        state: as from `fresh_state`.
        coder: as from `adaptive_rans.open_words`.
        intervals: (W,) uint64, filled by an encoder.
    """
    _begin_row(samples, deviations, plane, row, state)
    experts = state.means.size - 1
    for column in range(intervals.size):
        if row == 0:
            _extend_up(samples, deviations, plane, column, state)
        centre = _predict(samples, plane, row, column, low, high, state)
        start = _blend(row, column, low, high, state)
        expected = _expected_error(deviations, plane, row, column, state)
        chosen = _prepare(expected, state)
        if decoding:
            value, left, right = _find(quantile_of(coder), expected, low, high, state.ladder[chosen], state)
            samples[plane, row + MARGIN, column + MARGIN] = value
            advance(coder, words, left, right - left)
        else:
            value = np.int64(samples[plane, row + MARGIN, column + MARGIN])
            left = _left(value, 0, low, high, state.ladder[chosen], state)
            right = _left(value + 1, 1, low, high, state.ladder[chosen], state)
            intervals[column] = pack(left, right - left)
        _learn_circuit(chosen, state)
        deviation = abs(value - state.means[experts])
        deviations[plane, row + MARGIN, column + MARGIN] = deviation
        _learn(value, centre, start, expected, row, column, deviation, state)
    _end_row(samples, deviations, plane, row, state)


with straight_line_vectors():
    code_row = njit(
        types.void(_SAMPLES, types.int64, types.int64, types.int64, types.int64, types.boolean, _DEVIATIONS, _STATE,
                   WORDS, types.uint64[::1], types.uint64[::1]), cache=True, nogil=True, error_model="numpy")(_code_row)
