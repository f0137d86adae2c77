"""Hidden Chow-Liu tree circuits as prior over symbols that have tables of their own.

In the cumulative frequencies of its table, a symbol is an interval of 0..2**24. A circuit is a tree with a hidden
variable of M states for each of D variables. Given its parent's state, a node's state follows its transitions; given
its own state, a number of 0..2**24 follows a density that is constant in each of K cells, and a symbol has the mass of
its interval. So a table says what is known of a symbol by itself, and the circuit what the symbols of one position say
about each other.

Some symbols of a position are coded, some are known before, and nothing is known of the others. Known ones first: from
the last node to the first, each node's `message` is the likelihood, up to a factor, of what is known in its subtree,
under each state. Then nodes with anything to code beneath them are visited in pre-order. A node's `prior` is the
probability of each state given all that is known outside of its subtree: its parent's prior times message, the node's
own part of that message taken back, times the transitions. With prior and message, the densities of the states are
mixed; the mixture's cumulative function takes the ends of the table's entries to those of the table that is coded with.

Blocks of `BLOCK` positions take each step together, so that processors can do it for several positions at once.

**Exactness.** As in `tree_circuit`: parameters are integers, and everything is +, *, / and comparisons of float64 in
the order of `interval_circuit_reference`. Cumulative functions of states are exact integers below 2**53; a mixture of
them never falls where its argument rises, since rounding keeps the order of products and of sums, so that every entry
keeps a frequency of 1 or more. No transition has a probability below 2**-32 / M, so what a subtree says differs by no
more than that between states, and with messages kept within 2**-MESSAGE_BITS..2**MESSAGE_BITS, no number can come near
the ends of float64.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit, types

from fewbits.kernels.adaptive_rans import WORDS, advance, pack, quantile_of
from fewbits.kernels.ans import START, TOTAL
from fewbits.kernels.parameter_codes import WEIGHTS, normalised

LARGEST_DENSITY = 207  # of a leaf's codes, 15 * 2**25: times 2**24 that is below 2**53
MESSAGE_BITS = 300
MAX_STATES, MAX_CELLS = 256, 256
BLOCK = 32  # positions that take a step together
NOTHING = -1  # in place of a column

_LARGEST, _SMALLEST = 2.0**MESSAGE_BITS, 2.0**-MESSAGE_BITS
_START = np.uint64(START)

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_NUMBERS = types.Array(types.float64, 1, "C", readonly=True)
_ROWS = types.Array(types.float64, 2, "C", readonly=True)
_MATRICES = types.Array(types.float64, 3, "C", readonly=True)
_SYMBOLS = types.Array(types.int32, 2, "C", readonly=True)
_CIRCUIT = types.Tuple((_PLACES, _NUMBERS, _MATRICES, _MATRICES, _MATRICES, _MATRICES, _ROWS))
_ENDS = types.Tuple((_PLACES, _PLACES, _NUMBERS))
_VARIABLES = types.Tuple((_PLACES, _PLACES))


@dataclass(frozen=True, eq=False)
class IntervalCircuit:
    """A circuit in the form that the compiled loops want; nodes are in pre-order.

    Attributes:
        parents: (D,) int64, -1 for the root.
        root: (M,) float64, probabilities of the root's states.
        transitions: (D, M, M) float64, from the parent's state (rows) to the node's; those of the root are unused.
        backwards: (D, M, M), the same with rows and columns exchanged.
        cumulatives: (D, K + 1, M) float64, for each state the integral of its density up to the beginning of each cell
            and to 2**24: integers.
        densities: (D, K + 1, M) float64, integers; after the last cell 0.
        reciprocals: (D, M) float64, 1 over the integrals up to 2**24.
        edges: (K + 1,) int64, from 0 to 2**24, rising: where cells begin.
    """

    parents: np.ndarray
    root: np.ndarray
    transitions: np.ndarray
    backwards: np.ndarray
    cumulatives: np.ndarray
    densities: np.ndarray
    reciprocals: np.ndarray
    edges: np.ndarray

    @classmethod
    def from_codes(cls, parents: np.ndarray, edges: np.ndarray, root: np.ndarray, transitions: np.ndarray,
                   leaves: np.ndarray) -> "IntervalCircuit":
        """From the codes (`parameter_codes`) of all parameters; the caller has checked that `parents` are a tree's.

        Args:
            root: (M,) uint8.
            transitions: (D, M, M) uint8.
            leaves: (D, M, K) uint8, codes of densities up to `LARGEST_DENSITY`.

        Raises:
            ValueError: if shapes disagree or something is beyond the limits.
        """
        nodes, states, cells = leaves.shape
        if not 1 <= states <= MAX_STATES or not 1 <= cells <= MAX_CELLS or nodes < 1:
            raise ValueError(f"a circuit cannot have {nodes} nodes, {states} states and {cells} cells")
        if (parents.shape, edges.shape, root.shape, transitions.shape) != (
                (nodes,), (cells + 1,), (states,), (nodes, states, states)):
            raise ValueError("the parts of the circuit do not fit together")
        if edges[0] != 0 or edges[-1] != TOTAL or (np.diff(edges) < 1).any():
            raise ValueError("cells must go from 0 to 2**24")
        if leaves.max() > LARGEST_DENSITY:
            raise ValueError(f"a density has the code {leaves.max()}, above {LARGEST_DENSITY}")
        densities = np.zeros((nodes, cells + 1, states))
        densities[:, :-1] = WEIGHTS[leaves].transpose(0, 2, 1)
        cumulatives = np.zeros_like(densities)
        np.cumsum(densities[:, :-1] * np.diff(edges)[:, None], axis=1, out=cumulatives[:, 1:])  # below 2**53: exact
        rows = normalised(transitions)
        return cls(*(np.ascontiguousarray(array) for array in (
            parents, normalised(root), rows, rows.transpose(0, 2, 1), cumulatives, densities, 1 / cumulatives[:, -1],
            edges)))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Arguments of the compiled loops."""
        return (self.parents, self.root, self.transitions, self.backwards, self.cumulatives, self.densities,
                self.reciprocals)


@dataclass(frozen=True, eq=False)
class IntervalTables:
    """Tables of symbols in the form that the compiled loops want: where in the cells entries begin.

    A table of n entries has n + 1 ends, the left ones of its entries and 2**24, table after table.

    Attributes:
        first: (tables + 1,) int64, the first end of each table, and how many ends there are.
        cells: (ends,) int64, the cell that each end lies in; K for 2**24.
        inside: (ends,) float64, how far from that cell's beginning.
    """

    first: np.ndarray
    cells: np.ndarray
    inside: np.ndarray

    @classmethod
    def from_frequencies(cls, frequencies: np.ndarray, offsets: np.ndarray, edges: np.ndarray) -> "IntervalTables":
        """From the frequencies of all tables, each table's from `offsets[t]` to `offsets[t + 1]`, with the sum 2**24,
        and the cells' edges."""
        ends = np.concatenate([np.cumsum(np.append(0, frequencies[begin:end]), dtype=np.int64)
                               for begin, end in pairwise(offsets)])
        cells = np.searchsorted(edges, ends, "right") - 1
        return cls(offsets + np.arange(len(offsets), dtype=np.int64), cells, (ends - edges[cells]).astype(np.float64))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Arguments of the compiled loops."""
        return self.first, self.cells, self.inside


@dataclass(frozen=True, eq=False)
class Variables:
    """Which nodes of a circuit are coded, and which are known before.

    Attributes:
        columns: (D,) int64, the column in `tables` and `entries` of each node that is coded; else `NOTHING`.
        known_columns: (D,) int64, the column in `known` of each node that is known; else `NOTHING`.
    """

    columns: np.ndarray
    known_columns: np.ndarray


@njit(inline="always")
def _multiply(factors, matrices, node, out):  # type: ignore[no-untyped-def]
    """out[node] = factors @ matrices[node], row after row."""
    for j in range(len(factors)):
        for p in range(BLOCK):
            out[node, j, p] = 0.0
    for i in range(len(factors)):
        for j in range(len(factors)):
            weight = matrices[node, i, j]
            for p in range(BLOCK):
                out[node, j, p] = out[node, j, p] + factors[i, p] * weight


@njit(inline="always")
def _believe(node, priors, messages, totals, beliefs):  # type: ignore[no-untyped-def]
    """beliefs = priors * messages of a node, brought to a sum of 1, to rounding."""
    for p in range(BLOCK):
        totals[p] = 0.0
    for i in range(len(beliefs)):
        for p in range(BLOCK):
            beliefs[i, p] = priors[node, i, p] * messages[node, i, p]
            totals[p] = totals[p] + beliefs[i, p]
    for p in range(BLOCK):
        totals[p] = 1.0 / totals[p]
    for i in range(len(beliefs)):
        for p in range(BLOCK):
            beliefs[i, p] = beliefs[i, p] * totals[p]


@njit(inline="always")
def _observe(node, p, end, circuit, ends, messages):  # type: ignore[no-untyped-def]
    """Multiplies a node's message with the mass of the interval from an end to the next one."""
    _, _, _, _, cumulatives, densities, reciprocals = circuit
    _, cells, inside = ends
    left, right, from_left, from_right = cells[end], cells[end + 1], inside[end], inside[end + 1]
    for i in range(messages.shape[1]):
        below = cumulatives[node, left, i] + from_left * densities[node, left, i]
        upto = cumulatives[node, right, i] + from_right * densities[node, right, i]
        messages[node, i, p] = messages[node, i, p] * ((upto - below) * reciprocals[node, i])


@njit(inline="always")
def _ascend(node, parent, backwards, totals, messages, sent):  # type: ignore[no-untyped-def]
    """What a node's message says of its parent's states, 1 in the first; it multiplies the parent's message."""
    _multiply(messages[node], backwards, node, sent)
    for p in range(BLOCK):
        totals[p] = 1.0 / sent[node, 0, p]
    for i in range(sent.shape[1]):
        for p in range(BLOCK):
            sent[node, i, p] = sent[node, i, p] * totals[p]
            messages[parent, i, p] = min(max(messages[parent, i, p] * sent[node, i, p], _SMALLEST), _LARGEST)


@njit(inline="always")
def _descend(node, parent, informed, transitions, totals, beliefs, priors, messages, sent):  # type: ignore[no-untyped-def]
    """Takes back what a node told its parent before, and makes the node's prior."""
    if informed:
        for i in range(len(beliefs)):
            for p in range(BLOCK):
                messages[parent, i, p] = messages[parent, i, p] / sent[node, i, p]
    _believe(parent, priors, messages, totals, beliefs)
    _multiply(beliefs, transitions, node, priors)


@njit(inline="always")
def _left_end(node, end, weights, circuit, ends, scale):  # type: ignore[no-untyped-def]
    """A mixture's cumulative function at an end of a table's entries, times `scale`, rounded down."""
    _, _, _, _, cumulatives, densities, _ = circuit
    _, cells, inside = ends
    cell, beyond, total = cells[end], inside[end], 0.0
    for i in range(weights.size):
        total += weights[i] * (cumulatives[node, cell, i] + beyond * densities[node, cell, i])
    return np.int64(total * scale)


@njit(inline="always")
def _search(node, table, weights, circuit, ends, quantile):  # type: ignore[no-untyped-def]
    """The entry that a quantile belongs to, its left end, and that of the next one."""
    first, size = ends[0][table], ends[0][table + 1] - ends[0][table] - 1
    scale = np.float64(TOTAL - size - 1)
    entry, beyond, left, right = np.int64(0), size, np.int64(0), np.int64(TOTAL)
    while beyond - entry > 1:
        middle = (entry + beyond) >> 1
        end = _left_end(node, first + middle, weights, circuit, ends, scale) + middle
        if end <= quantile:
            entry, left = middle, end
        else:
            beyond, right = middle, end
    return entry, left, right


@njit(inline="always")
def _interval(node, table, entry, weights, circuit, ends):  # type: ignore[no-untyped-def]
    """Left ends of an entry and of the next one."""
    first, size = ends[0][table], ends[0][table + 1] - ends[0][table] - 1
    scale = np.float64(TOTAL - size - 1)
    left, right = _left_end(node, first + entry, weights, circuit, ends, scale) + entry, np.int64(TOTAL)
    if entry + 1 < size:
        right = _left_end(node, first + entry + 1, weights, circuit, ends, scale) + entry + 1
    return left, right


@njit(types.UniTuple(types.boolean[::1], 2)(_PLACES, _VARIABLES), cache=True)
def _subtrees(parents, variables):  # type: ignore[no-untyped-def]
    """Which nodes have a coded one, and which a known one, in their subtrees."""
    columns, known_columns = variables
    wanted, informed = columns >= 0, known_columns >= 0
    for node in range(parents.size - 1, 0, -1):
        wanted[parents[node]] |= wanted[node]
        informed[parents[node]] |= informed[node]
    return wanted, informed


@njit(inline="always")
def _gather(begin, count, known, known_columns, informed, circuit, ends, totals, messages, sent):  # type: ignore[no-untyped-def]
    """Messages of all nodes from the symbols that are known."""
    parents, _, _, backwards, _, _, _ = circuit
    messages[:] = 1.0
    for node in range(parents.size - 1, -1, -1):
        if known_columns[node] >= 0:
            for p in range(count):
                _observe(node, p, known[begin + p, known_columns[node]], circuit, ends, messages)
        if informed[node] and node > 0:
            _ascend(node, parents[node], backwards, totals, messages, sent)


@njit(types.void(types.int32[:, ::1], _SYMBOLS, _SYMBOLS, types.uint64[::1], WORDS, types.uint64[::1], types.boolean,
                 _VARIABLES, _CIRCUIT, _ENDS), cache=True, nogil=True, error_model="numpy")
def _sweep(entries, tables, known, intervals, words, coder, decoding, variables, circuit, ends):  # type: ignore[no-untyped-def]
    """Goes through all positions: fills `entries` from `words`, until these run down, or `intervals` from `entries`."""
    parents, root, transitions, backwards, _, _, reciprocals = circuit
    columns, known_columns = variables
    nodes, states = reciprocals.shape
    wanted, informed = _subtrees(parents, variables)
    priors, messages = np.empty((nodes, states, BLOCK)), np.empty((nodes, states, BLOCK))
    sent, beliefs = np.empty((nodes, states, BLOCK)), np.empty((states, BLOCK))
    totals, weights, done = np.empty(BLOCK), np.empty(states), 0
    for begin in range(0, len(entries), BLOCK):
        if decoding and coder[0] < _START:  # no encoder goes below
            return
        count, present = min(BLOCK, len(entries) - begin), -1
        _gather(begin, count, known, known_columns, informed, circuit, ends, totals, messages, sent)
        for i in range(states):
            priors[0, i] = root[i]
        for node in range(nodes):
            if not wanted[node]:
                continue
            while present != parents[node]:  # subtrees that are done tell their parents
                _ascend(present, parents[present], backwards, totals, messages, sent)
                present = parents[present]
            if node > 0:
                _descend(node, present, informed[node], transitions, totals, beliefs, priors, messages, sent)
            present, column = node, columns[node]
            if column < 0:
                continue
            _believe(node, priors, messages, totals, beliefs)
            for p in range(count):
                for i in range(states):
                    weights[i] = beliefs[i, p] * reciprocals[node, i]
                table = np.int64(tables[begin + p, column])
                if decoding:
                    entry, left, right = _search(node, table, weights, circuit, ends, quantile_of(coder))
                    entries[begin + p, column] = entry
                    advance(coder, words, left, right - left)
                else:
                    entry = np.int64(entries[begin + p, column])
                    left, right = _interval(node, table, entry, weights, circuit, ends)
                    intervals[done] = pack(left, right - left)
                done += 1
                _observe(node, p, ends[0][table] + entry, circuit, ends, messages)


def intervals(entries: np.ndarray, tables: np.ndarray, known: np.ndarray, variables: Variables,
              circuit: IntervalCircuit, ends: IntervalTables) -> np.ndarray:
    """Intervals as `adaptive_rans.pack` has them, (N * V,) uint64, in the order of coding: blocks of `BLOCK` positions,
    in each the nodes in pre-order, at each the positions.

    Args:
        entries: (N, V) int32, entries of their tables.
        tables: (N, V) int32, the table of each.
        known: (N, U) int32, the place of each known symbol's left end in `ends`.

    Callers have checked that entries, tables and ends exist, and that `variables` has every column once.
    """
    result = np.empty(tables.size, np.uint64)
    _sweep(np.array(entries, np.int32, order="C"), tables, known, result, np.empty(0, np.uint32),
           np.zeros(2, np.uint64), False, (variables.columns, variables.known_columns), circuit.arrays, ends.arrays)
    return result


def decode(words: np.ndarray, coder: np.ndarray, tables: np.ndarray, known: np.ndarray, variables: Variables,
           circuit: IntervalCircuit, ends: IntervalTables) -> np.ndarray:
    """Entries (N, V) int32; arguments as for `intervals`.

    Args:
        words, coder: see `adaptive_rans.open_words`; the coder's state moves on. Past the last word it runs down, and
            entries mean nothing.
    """
    entries = np.zeros(tables.shape, np.int32)
    _sweep(entries, tables, known, np.empty(0, np.uint64), words, coder, True,
           (variables.columns, variables.known_columns), circuit.arrays, ends.arrays)
    return entries
