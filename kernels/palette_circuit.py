"""Planes of few values, such as the numbers of a palette's colours: a circuit over the values seen in like contexts.

The distribution of a sample is a chain of sum nodes. The first node is uniform; each further one mixes the node before
it with the frequencies of the values that followed the same neighbours earlier, ever more neighbours from node to
node. The weights of the mixture belong to how often and how uniformly a context was seen; they are learned online by
expectation maximisation. Only + - * / on float64 in a fixed order, so that every machine predicts the same.
`palette_reference` says the same in plain Python. The coder is that of `ans`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, typeof, types

from fewbits.kernels.adaptive_rans import WORDS, advance, pack, quantile_of
from fewbits.kernels.ans import TOTAL

MAX_VALUES = 256
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))  # rows down, columns right
USED = (0, 1, 2, 4, 6)  # how many of them each node's context has
CONTEXT_BITS = 16  # of the number of contexts of a node, at most
CELL_BITS = 21  # of the number of counts of a node, at most
MAX_SEEN = 255  # counts of a context are halved above that
SEEN_CLASSES, KINDS_CLASSES = 8, 4
MARGIN = 2  # of padding around planes
FIRST_WEIGHT = 0.8
MIN_RATE = 0.004

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class PaletteState(NamedTuple):
    """What the circuit has learned.

    Attributes:
        counts: (nodes, contexts, values) uint16, how often a value followed a context.
        seen, kinds: (nodes, contexts) uint16, sum of the counts, and how many are not 0.
        weights, updates: (nodes, SEEN_CLASSES * KINDS_CLASSES) float64, of the counts against the node before.
        slots: (nodes,) int64, the contexts of the sample at hand.
        classes: (nodes,) int64, its classes of weights.
        chances: (nodes + 1,) float64, the sample's probability after each node.
        distribution: (values,) float64.
    """

    counts: np.ndarray
    seen: np.ndarray
    kinds: np.ndarray
    weights: np.ndarray
    updates: np.ndarray
    slots: np.ndarray
    classes: np.ndarray
    chances: np.ndarray
    distribution: np.ndarray


def fresh_state(values: int) -> PaletteState:
    """The state before the first sample, for samples from 0 to values - 1."""
    nodes, classes = len(USED), SEEN_CLASSES * KINDS_CLASSES
    contexts = 1 << min(CONTEXT_BITS, CELL_BITS - (values - 1).bit_length())
    return PaletteState(
        np.zeros((nodes, contexts, values), np.uint16), np.zeros((nodes, contexts), np.uint16),
        np.zeros((nodes, contexts), np.uint16), np.full((nodes, classes), FIRST_WEIGHT), np.ones((nodes, classes)),
        np.zeros(nodes, np.int64), np.zeros(nodes, np.int64), np.zeros(nodes + 1), np.zeros(values))


_STATE = typeof(fresh_state(2))
_PLANE = types.Array(types.int32, 2, "C")
_USED = np.array(USED, np.int64)
_NEIGHBOURS = np.array(NEIGHBOURS, np.int64)


@njit(error_model="numpy")
def _look(plane, row, column, state):  # type: ignore[no-untyped-def]
    """Finds the contexts of a sample and fills `distribution`."""
    nodes, contexts, values = state.counts.shape
    state.distribution[:] = 1.0 / values
    mixed, place = np.uint64(1), 0
    for node in range(nodes):
        while place < _USED[node]:
            value = plane[row + _NEIGHBOURS[place, 0], column + _NEIGHBOURS[place, 1]]
            mixed = (mixed + np.uint64(value + 1)) * _MULTIPLIER
            mixed ^= mixed >> np.uint64(29)
            place += 1
        slot = np.int64(mixed % np.uint64(contexts)) if place else 0
        state.slots[node] = slot
        seen, kinds = np.int64(state.seen[node, slot]), np.int64(state.kinds[node, slot])
        state.classes[node] = -1
        if seen == 0:
            continue
        seen_class = 0
        while seen > 1 << seen_class and seen_class < SEEN_CLASSES - 1:
            seen_class += 1
        kinds_class = min(kinds, KINDS_CLASSES) - 1
        chosen = seen_class * KINDS_CLASSES + kinds_class
        state.classes[node] = chosen
        weight = state.weights[node, chosen]
        scale, rest = weight / seen, 1.0 - weight
        for value in range(values):
            state.distribution[value] = scale * state.counts[node, slot, value] + rest * state.distribution[value]


@njit(error_model="numpy")
def _learn(value, state):  # type: ignore[no-untyped-def]
    """Takes the sample into weights and counts."""
    nodes, _, values = state.counts.shape
    chance = 1.0 / values
    for node in range(nodes):
        state.chances[node] = chance
        chosen, slot = state.classes[node], state.slots[node]
        if chosen >= 0:
            weight = state.weights[node, chosen]
            chance = weight / state.seen[node, slot] * state.counts[node, slot, value] + (1.0 - weight) * chance
    state.chances[nodes] = chance
    reached = 1.0  # the share of the sample that the nodes after this one leave to it
    for node in range(nodes - 1, -1, -1):
        chosen, slot = state.classes[node], state.slots[node]
        if chosen >= 0:
            weight = state.weights[node, chosen]
            below = (1.0 - weight) * state.chances[node] / state.chances[node + 1]
            state.updates[node, chosen] += reached
            rate = max(1.0 / state.updates[node, chosen], MIN_RATE) * reached
            weight += rate * (1.0 - below - weight)
            state.weights[node, chosen] = min(max(weight, 0.001), 0.9999)
            reached *= below
        if state.counts[node, slot, value] == 0:
            state.kinds[node, slot] += 1
        state.counts[node, slot, value] += 1
        state.seen[node, slot] += 1
        if state.seen[node, slot] > MAX_SEEN:
            _halve(state.counts[node, slot], state.seen, state.kinds, node, slot)


@njit(error_model="numpy")
def _halve(counts, seen, kinds, node, slot):  # type: ignore[no-untyped-def]
    total, nonzero = 0, 0
    for value in range(counts.size):
        counts[value] = (counts[value] + 1) >> 1
        total += counts[value]
        nonzero += counts[value] > 0
    seen[node, slot] = total
    kinds[node, slot] = nonzero


@njit(error_model="numpy")
def _frequency(distribution, value):  # type: ignore[no-untyped-def]
    """Of a value but the last, whose frequency is what the others leave."""
    return 1 + np.int64(distribution[value] * (TOTAL - 2 * distribution.size))


@njit(types.void(_PLANE, types.int64, types.boolean, _STATE, WORDS, types.uint64[::1], types.uint64[::1]), cache=True,
      nogil=True, error_model="numpy")
def code_row(plane, row, decoding, state, words, coder, intervals):  # type: ignore[no-untyped-def]
    """Codes a row of a plane, all rows above having been coded.

    Args:
        plane: (H + 2 MARGIN, W + 2 MARGIN) int32, values in the state's range, of which a decoder fills this row.
        row: in `plane`, so from MARGIN to H + MARGIN - 1.
        decoding: from `words` and `coder`; else intervals are made of what is in `plane`.
        coder: as from `adaptive_rans.open_words`.
        intervals: (W,) uint64, filled by an encoder.
    """
    values = state.distribution.size
    for column in range(MARGIN, plane.shape[1] - MARGIN):
        _look(plane, row, column, state)
        known, quantile = np.int64(plane[row, column]), quantile_of(coder)
        left = 0
        for value in range(values):
            frequency = _frequency(state.distribution, value) if value < values - 1 else TOTAL - left
            if (decoding and quantile < left + frequency) or (not decoding and value == known):
                break
            left += frequency
        if decoding:
            advance(coder, words, left, frequency)
            plane[row, column] = value
        else:
            intervals[column - MARGIN] = pack(left, frequency)
        _learn(value, state)
