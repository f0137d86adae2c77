"""What `interval_circuit` computes, in plain NumPy, for one position and with whole tables.

Every operation on the elements of arrays is rounded as the compiled loops round it, so results are equal bit for bit.
"""

import numpy as np

from fewbits.kernels.ans import PRECISION, TOTAL
from fewbits.kernels.interval_circuit import MESSAGE_BITS, IntervalCircuit, IntervalTables, Variables
from fewbits.kernels.ordered_sums import added, added_rows


def intervals(entries: np.ndarray, tables: np.ndarray, known: np.ndarray, variables: Variables,
              circuit: IntervalCircuit, ends: IntervalTables) -> np.ndarray:
    """What `interval_circuit.intervals` gives for one position, from a row of `entries`, `tables` and `known`."""
    position = _Position(circuit, ends)
    for node, column in reversed(list(enumerate(variables.known_columns.tolist()))):
        if column >= 0:
            position.observe(node, known[column])
        if position.informed[node]:
            position.ascend(node)
    result: list[int] = []

    def visit(node: int) -> None:
        column = variables.columns[node]
        if column >= 0:
            frequencies, entry = position.table(node, tables[column]), entries[column]
            result.append(int(frequencies[entry]) | int(frequencies[:entry].sum()) << PRECISION)
            position.observe(node, ends.first[tables[column]] + entry)
        for child in position.children(node):
            if has_coded(child):
                position.descend(child)
                visit(child)
                position.ascend(child)

    def has_coded(node: int) -> bool:
        return bool(variables.columns[node] >= 0) or any(map(has_coded, position.children(node)))

    visit(0)
    return np.array(result, np.uint64)


class _Position:
    """Priors and messages of all nodes at one position."""

    def __init__(self, circuit: IntervalCircuit, ends: IntervalTables) -> None:
        self.circuit, self.ends = circuit, ends
        nodes, states = circuit.reciprocals.shape
        self.informed = np.zeros(nodes, bool)
        self._priors, self._messages, self._sent = (np.ones((nodes, states)) for _ in range(3))
        self._priors[0] = circuit.root

    def children(self, node: int) -> list[int]:
        return np.flatnonzero(self.circuit.parents == node).tolist()

    def observe(self, node: int, end: int) -> None:
        """Takes in the symbol of a node."""
        below, upto = self._mass_up_to(node, end), self._mass_up_to(node, end + 1)
        self._messages[node] *= (upto - below) * self.circuit.reciprocals[node]
        self.informed[node] = True

    def ascend(self, node: int) -> None:
        """Multiplies the message of a node's parent with what the node says of it."""
        if node == 0:
            return
        parent = self.circuit.parents[node]
        sums = added_rows(self._messages[node], self.circuit.backwards[node])
        self._sent[node] = sums * (1.0 / sums[0])
        product = self._messages[parent] * self._sent[node]
        self._messages[parent] = np.clip(product, 2.0**-MESSAGE_BITS, 2.0**MESSAGE_BITS)
        self.informed[parent] = self.informed[node] = True

    def descend(self, node: int) -> None:
        """Takes back what a node told its parent, and makes the node's prior."""
        parent = self.circuit.parents[node]
        if self.informed[node]:
            self._messages[parent] = self._messages[parent] / self._sent[node]
        self._priors[node] = added_rows(self._belief(parent), self.circuit.transitions[node])

    def table(self, node: int, table: int) -> np.ndarray:
        """Frequencies of the table that a node's symbol is coded with, (n,) int64."""
        first, after = self.ends.first[table : table + 2]
        size = after - first - 1
        weights = self._belief(node) * self.circuit.reciprocals[node]
        lefts = [int(added(weights * self._mass_up_to(node, first + entry)) * float(TOTAL - size - 1)) + entry
                 for entry in range(size)]
        return np.diff([*lefts, TOTAL])

    def _mass_up_to(self, node: int, end: int) -> np.ndarray:
        """For each state, the integral of its density from 0 to an end."""
        cell = self.ends.cells[end]
        return self.circuit.cumulatives[node, cell] + self.ends.inside[end] * self.circuit.densities[node, cell]

    def _belief(self, node: int) -> np.ndarray:
        product = self._priors[node] * self._messages[node]
        return product * (1.0 / added(product))
