"""Exact conditional probabilities by message passing, in plain NumPy; and the caching of the paper, in any order.

`conditionals` is what the coder does, for people to read and for tests. `MarginalCache` is the result of A. Liu,
S. Mandt, G. Van den Broeck, "Lossless Compression with Probabilistic Circuits" (ICLR 2022, arXiv 2111.11632): to know
the probability of one pixel more, only those parts of the circuit are evaluated again that have it in their scope, here
the nodes from the pixel up to the root. It works for pixels in any order; in the order of the tree, one sweep is
cheaper still.
"""

from dataclasses import dataclass

import numpy as np

from fewbits.codecs.circuit.circuit import Circuit
from fewbits.codecs.circuit.tree import Tree
from fewbits.kernels.parameter_codes import normalised
from fewbits.kernels.tree_circuit import VALUES


@dataclass(frozen=True, eq=False)
class Probabilities:
    """A circuit in floating point.

    Attributes:
        tree: its tree.
        root: (M,), of the root's states.
        transitions: (D, M, M), from states of the parent (rows).
        values: (D, M, 256), of each node's value under each of its states.
    """

    tree: Tree
    root: np.ndarray
    transitions: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, circuit: Circuit) -> "Probabilities":
        """From a circuit's integers."""
        root, transitions, leaves, components = (
            normalised(codes) for codes in (circuit.root, circuit.transitions, circuit.leaves, circuit.components))
        return cls(circuit.tree, root, transitions, leaves @ components)


def conditionals(image: np.ndarray, circuit: Probabilities) -> np.ndarray:
    """Probabilities (D, 256) of all values of each node's pixel, given the pixels of all nodes before it.

    Args:
        image: (D,) uint8, in the order of pixels, not of nodes.
    """
    nodes, states = circuit.transitions.shape[:2]
    result = np.empty((nodes, VALUES))
    priors, messages = np.empty((nodes, states)), np.empty((nodes, states))
    path: list[int] = []
    for node, depth in enumerate(circuit.tree.depths.tolist()):
        while len(path) > depth:
            done = path.pop()
            messages[path[-1]] *= circuit.transitions[done] @ messages[done]
        belief = priors[path[-1]] * messages[path[-1]] if path else None
        priors[node] = circuit.root if belief is None else belief / belief.sum() @ circuit.transitions[node]
        result[node] = priors[node] @ circuit.values[node]
        messages[node] = circuit.values[node, :, image[circuit.tree.pixels[node]]]
        messages[node] /= messages[node].max()
        path.append(node)
    return result


class MarginalCache:
    """Probabilities of growing sets of pixels: P(x_1), P(x_1, x_2), ... in any order of pixels.

    Attributes:
        evaluated: nodes that were evaluated so far, beside the first pass over all of them.
    """

    def __init__(self, circuit: Probabilities) -> None:
        self._circuit, self._parents = circuit, circuit.tree.parents()
        self._nodes = np.argsort(circuit.tree.pixels)  # the node of each pixel
        nodes, states = circuit.transitions.shape[:2]
        self._children: list[list[int]] = [[] for _ in range(nodes)]
        for node in range(1, nodes):
            self._children[self._parents[node]].append(node)
        # an unknown pixel has any value, which has the probability 1 under each state; so have unknown subtrees
        self._leaves, self._sent = np.ones((nodes, states)), np.ones((nodes, states))
        self.evaluated = 0

    def probability(self, pixel: int, value: int) -> float:
        """P(all pixels fixed so far, and this one with this value); nothing is kept."""
        leaves = self._circuit.values[self._nodes[pixel], :, value]
        return self._evaluated(self._nodes[pixel], leaves, {})

    def fix(self, pixel: int, value: int) -> float:
        """As `probability`, and the pixel keeps the value from now on."""
        node, sent = self._nodes[pixel], dict[int, np.ndarray]()
        leaves = self._circuit.values[node, :, value]
        result = self._evaluated(node, leaves, sent)
        self._leaves[node] = leaves
        for changed, message in sent.items():
            self._sent[changed] = message
        return result

    def _evaluated(self, node: int, leaves: np.ndarray, sent: dict[int, np.ndarray]) -> float:
        """Evaluates the nodes from one whose leaves change up to the root; `sent` gets their messages."""
        while True:
            self.evaluated += 1
            product = leaves.copy()
            for child in self._children[node]:
                product *= sent.get(child, self._sent[child])
            if node == 0:
                return float(self._circuit.root @ product)
            sent[node] = self._circuit.transitions[node] @ product
            node = int(self._parents[node])
            leaves = self._leaves[node]
