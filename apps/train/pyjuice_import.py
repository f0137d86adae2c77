"""Hidden Chow-Liu trees that were trained with pyjuice, as circuits of the codec `circuit-tree`.

pyjuice joins three kinds of nodes, each a whole vector, one for each hidden state:

- sum nodes, from the parent's states to the states of a hidden variable: a matrix of transitions, one row for the root;
- below them product nodes, one a state, with a pixel's input nodes and what hangs below the hidden variable;
- input nodes: the distribution of a pixel's value under each state. Where nothing hangs below a pixel, pyjuice leaves
  its hidden variable out, and the input nodes are part of the parent's product.

Values have distributions of their own there, and not ones that pixels share. So the circuit gets 256 components, each
for one value.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewbits.codecs.circuit.circuit import MAX_PIXELS, Circuit
from fewbits.codecs.circuit.tree import Tree
from fewbits.errors import InputError
from fewbits.kernels.tree_circuit import VALUES

if TYPE_CHECKING:
    from pyjuice.nodes import CircuitNodes

SUFFIX = ".jpc"  # pyjuice reads no other
TOLERANCE = 1e-3  # of sums of probabilities, which pyjuice rounds to float32


@dataclass(frozen=True, eq=False)
class _Node:
    """A node of the tree, with M states.

    Attributes:
        pixel: its pixel. depth: 0 for the root.
        transitions: (states of the parent, M); (1, M) for the root.
        leaves: (M, 256), of the pixel's value.
    """

    pixel: int
    depth: int
    transitions: np.ndarray
    leaves: np.ndarray


def import_circuit(model: Path, shape: tuple[int, int, int]) -> Circuit:
    """The circuit in a file that pyjuice saved. Reading such a file runs the code in it: it is a pickle.

    Args:
        shape: height, width, channels of the images; pyjuice's variables are samples in this order.

    Raises:
        InputError: if pyjuice is not installed, the file cannot be read, or it is no hidden Chow-Liu tree over values
            from 0 to 255 of such images.
    """
    if shape[2] not in (1, 3) or not 1 <= math.prod(shape) <= MAX_PIXELS:
        raise InputError(f"There are no circuits for images of {_described(shape)} samples: channels are 1 or 3, and "
                         f"samples {MAX_PIXELS} at most.")
    root = _loaded(model)
    try:
        return _circuit_of(_nodes_below(root), shape)
    except ValueError as error:
        raise InputError(f"{model} cannot be used as a circuit: {error}.") from None


def _loaded(model: Path) -> "CircuitNodes":
    """The root of pyjuice's nodes in a file."""
    if not model.is_file() or model.suffix != SUFFIX:
        raise InputError(f"{model} is not a circuit of pyjuice: it should be a file whose name ends in {SUFFIX}.")
    try:
        import pyjuice
    except ModuleNotFoundError as error:
        raise InputError(f"Circuits of pyjuice need the package {error.name}: install fewbits[pyjuice].") from None
    try:
        return pyjuice.load(str(model))
    except Exception as error:  # a pickle that is none, or of something else, may raise anything
        raise InputError(f"{model} cannot be read as a circuit of pyjuice: {type(error).__name__}, {error}.") from None


def _circuit_of(nodes: list[_Node], shape: tuple[int, int, int]) -> Circuit:
    """The circuit with some nodes in pre-order. Raises `ValueError` if they are not one over images of a shape."""
    pixels = np.array([node.pixel for node in nodes], np.int64)
    if not np.array_equal(np.sort(pixels), np.arange(math.prod(shape))):
        raise ValueError(f"its {pixels.size} variables are not the {math.prod(shape)} samples of images of "
                         f"{_described(shape)}, numbered from 0")
    states = len(nodes[0].leaves)
    if any(node.transitions.shape != (states, states) for node in nodes[1:]):
        raise ValueError("its hidden variables have different numbers of states")
    # those of the root are not used, but they need a largest one
    transitions = np.stack([np.ones((states, states), np.float32), *(node.transitions for node in nodes[1:])])
    # A probability of 0 becomes the smallest weight there is, 2.5e-10 times the largest of its row: no value is
    # impossible, and the 255 other values of a component have 6e-8 together.
    return Circuit.from_probabilities(shape, Tree(pixels, np.array([node.depth for node in nodes], np.int64)),
                                      nodes[0].transitions[0], transitions, np.stack([node.leaves for node in nodes]),
                                      np.eye(VALUES))


def _nodes_below(root: "CircuitNodes") -> list[_Node]:
    """All nodes of the tree below pyjuice's root, in depth-first pre-order. Raises `ValueError` if it is no tree."""
    if root.num_nodes != 1:
        raise ValueError(f"it has {root.num_nodes} roots")
    nodes, stack = [], [(root, 0)]
    while stack:
        top, depth = stack.pop()
        pixel, below = _parts(top)
        nodes.append(_Node(_pixel(pixel), depth, _transitions(top), _leaves(pixel)))
        stack += [(child, depth + 1) for child in reversed(below)]
    return nodes


def _parts(top: "CircuitNodes") -> tuple["CircuitNodes", list["CircuitNodes"]]:
    """The input nodes of a node of the tree, and what hangs below it."""
    if top.is_input():
        return top, []
    if not top.is_sum() or len(top.chs) != 1:
        raise ValueError("its sums are not each over the states of one hidden variable")
    product = top.chs[0]
    edges = product.edge_ids.numpy()  # a row for each product node, or for each block of them
    aligned = np.all(edges == np.arange(len(edges))[:, None])
    if not aligned or any(child.num_nodes != product.num_nodes for child in product.chs):
        raise ValueError("its products do not each join what belongs to one state")
    inputs = [child for child in product.chs if child.is_input()]
    if not inputs:
        raise ValueError("it has a hidden variable without a pixel")
    # all inputs of a product depend on its state alike, so any can be the pixel; HCLT puts it last
    return inputs[-1], [child for child in product.chs if child is not inputs[-1]]


def _pixel(inputs: "CircuitNodes") -> int:
    """The variable of input nodes."""
    variables = inputs.scope.to_list()
    if len(variables) != 1:
        raise ValueError(f"it has a distribution of {len(variables)} variables together")
    return variables[0]


def _transitions(top: "CircuitNodes") -> np.ndarray:
    """The matrix into the states of a node of the tree, float32."""
    if top.is_input():  # in the state of its parent
        return np.eye(top.num_nodes, dtype=np.float32)
    if getattr(top, "external_params", None) is not None:
        raise ValueError("it has sums whose parameters come from outside")
    blocks = _parameters(top).reshape(-1, top.block_size, top.ch_block_size)
    matrix = np.zeros((top.num_node_blocks, top.block_size, top.num_ch_node_blocks, top.ch_block_size), np.float32)
    for (row, column), block in zip(top.edge_ids.T.tolist(), blocks, strict=True):
        matrix[row, :, column] = block
    return _checked(matrix.reshape(top.num_nodes, top.num_ch_nodes))


def _leaves(inputs: "CircuitNodes") -> np.ndarray:
    """Distributions of values under each state, (M, 256) float32."""
    if inputs.dist.get_signature() != "Categorical" or inputs.dist.num_cats != VALUES:
        raise ValueError(f"its pixels need the distribution Categorical over {VALUES} values")
    return _checked(_parameters(inputs).reshape(inputs.num_nodes, VALUES))


def _parameters(nodes: "CircuitNodes") -> np.ndarray:
    """Parameters as pyjuice lays them out; tied nodes have those of the nodes that they are tied to."""
    parameters = nodes.get_source_ns().get_params()
    if parameters is None:
        raise ValueError("it has nodes without parameters")
    return parameters.detach().cpu().numpy()


def _checked(rows: np.ndarray) -> np.ndarray:
    """The same rows. Raises `ValueError` if they are not probabilities."""
    if not np.all(rows >= 0) or not np.allclose(rows.sum(axis=1), 1, rtol=0, atol=TOLERANCE):  # nan fails as well
        raise ValueError("it has parameters that are not probabilities")
    return rows


def _described(shape: tuple[int, int, int]) -> str:
    height, width, channels = shape
    return f"{width} x {height} x {channels}"
