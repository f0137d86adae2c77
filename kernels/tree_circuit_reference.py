"""What `tree_circuit` computes, in plain NumPy, one image at a time and with a row for every node.

Every operation on the elements of arrays is rounded as the compiled loops round it, so results are equal bit for bit.
"""

import numpy as np

from fewbits.kernels.ans import PRECISION, TOTAL
from fewbits.kernels.ordered_sums import added, added_rows
from fewbits.kernels.parameter_codes import WEIGHTS
from fewbits.kernels.tree_circuit import MESSAGE_BITS, SCALE, VALUES, TreeCircuit


def tables(image: np.ndarray, circuit: TreeCircuit) -> np.ndarray:
    """Frequencies of all values of each node's pixel, given the nodes before it: (D, 256) int64.

    Args:
        image: (D,) uint8.
    """
    nodes, states = circuit.pixels.size, circuit.root.size
    result = np.empty((nodes, VALUES), np.int64)
    priors, messages = np.empty((nodes, states)), np.empty((nodes, states))
    path: list[int] = []
    for node, depth in enumerate(circuit.depths.tolist()):
        while len(path) > depth:
            _ascend(path.pop(), path, circuit, messages)
        prior = circuit.root
        if path:
            matrix, reciprocals = _unpacked(circuit.transitions[node])
            prior = added_rows(priors[path[-1]] * messages[path[-1]] * reciprocals, matrix)
        leaf, reciprocals = _unpacked(circuit.leaves[node])
        mixture = added_rows(prior * reciprocals, leaf)
        factor = 1.0 / added(mixture)
        priors[node], mixture = prior * factor, mixture * factor
        lefts = [int(added(mixture * circuit.cumulatives[value]) * SCALE) + value for value in range(VALUES)]
        result[node] = np.diff([*lefts, TOTAL])
        messages[node] = added_rows(circuit.likelihoods[image[circuit.pixels[node]]], leaf.T) * reciprocals
        path.append(node)
    return result


def intervals(image: np.ndarray, circuit: TreeCircuit) -> np.ndarray:
    """A column of what `tree_circuit.intervals` gives: (D,) uint64."""
    frequencies = tables(image, circuit)
    values = image[circuit.pixels]
    lefts = np.cumsum(frequencies, axis=1) - frequencies
    rows = np.arange(len(values))
    return (frequencies[rows, values] | lefts[rows, values] << PRECISION).astype(np.uint64)


def _ascend(node: int, path: list[int], circuit: TreeCircuit, messages: np.ndarray) -> None:
    """Multiplies the message of the last node of a path with that of its child."""
    matrix, reciprocals = _unpacked(circuit.transitions[node])
    sums = added_rows(messages[node], matrix.T)
    factor = 1.0 / (sums[0] * reciprocals[0])
    product = messages[path[-1]] * (sums * reciprocals * factor)
    messages[path[-1]] = np.clip(product, 2.0**-MESSAGE_BITS, 2.0**MESSAGE_BITS)


def _unpacked(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and one over the sum of each row."""
    weights = WEIGHTS[codes]
    return weights, 1.0 / weights.sum(axis=1)
