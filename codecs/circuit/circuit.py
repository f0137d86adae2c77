"""A hidden Chow-Liu tree circuit with integers for parameters, and the file that it is shipped in.

What a circuit says of an image: the hidden state of the root is drawn from `root`, the state of every other node from
the row of its `transitions` that belongs to its parent's state; a pixel then draws one of K components from the row of
its `leaves` that belongs to its state, and its value from that component. Components are shared by all pixels. With
leaves of their own over 256 values, states would have several times the parameters and fit their training images too
closely.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from fewbits.codecs.circuit.tree import Tree
from fewbits.entropy.deflate import deflate, inflate
from fewbits.errors import DamagedError, WeightsError
from fewbits.kernels.parameter_codes import codes_of
from fewbits.kernels.tree_circuit import MAX_COMPONENTS, MAX_STATES, VALUES, TreeCircuit

MAX_PIXELS = 1 << 16  # of an image; each has a matrix of its own


@dataclass(frozen=True, eq=False)
class Circuit:
    """A circuit over images of one shape. Parameters are codes of `kernels.parameter_codes.WEIGHTS`.

    Attributes:
        shape: height, width, channels; a "pixel" of the tree is a sample, (y * width + x) * channels + channel.
        tree: over D = height * width * channels pixels.
        root: (M,) uint8.
        transitions: (D, M, M) uint8, from states of the parent (rows) to states of the node; those of the root are 0.
        leaves: (D, M, K) uint8, from states to components.
        components: (K, 256) uint8.
    """

    shape: tuple[int, int, int]
    tree: Tree
    root: np.ndarray
    transitions: np.ndarray
    leaves: np.ndarray
    components: np.ndarray

    def __post_init__(self) -> None:
        nodes = len(self.tree)
        if self.shape[0] * self.shape[1] * self.shape[2] != nodes or min(self.shape) < 1:
            raise ValueError(f"a tree of {nodes} nodes is not over images of {self.shape}")
        arrays = (self.root, self.transitions, self.leaves, self.components)
        if any(array.dtype != np.uint8 for array in arrays):
            raise ValueError("parameters must be uint8")
        states, kinds = self.root.size, len(self.components)
        expected = ((states,), (nodes, states, states), (nodes, states, kinds), (kinds, VALUES))
        if tuple(array.shape for array in arrays) != expected:
            raise ValueError(f"parameters have the shapes {[array.shape for array in arrays]}")
        if not 1 <= states <= MAX_STATES or not 1 <= kinds <= MAX_COMPONENTS:
            raise ValueError(f"a circuit cannot have {states} states and {kinds} components")

    @classmethod
    def from_probabilities(cls, shape: tuple[int, int, int], tree: Tree, root: np.ndarray, transitions: np.ndarray,
                           leaves: np.ndarray, components: np.ndarray) -> "Circuit":
        """From float parameters of the same shapes, whose rows need not sum to 1."""
        codes = codes_of(transitions)
        codes[0] = 0
        return cls(shape, tree, codes_of(root), codes, codes_of(leaves), codes_of(components))

    def compiled(self) -> TreeCircuit:
        """In the form of the coder."""
        return TreeCircuit.from_codes(self.tree.pixels, self.tree.depths, self.root, self.transitions, self.leaves,
                                      self.components)

    def save(self, path: Path, notes: dict[str, str]) -> None:
        """Writes a weights file; `notes` go into its metadata."""
        tensors = {"shape": np.array(self.shape, np.int64), "pixels": self.tree.pixels, "depths": self.tree.depths,
                   "root": self.root, "components": self.components}
        for name, array in (("transitions", self.transitions), ("leaves", self.leaves)):
            tensors[name] = np.frombuffer(deflate(array.tobytes()), np.uint8)
        save_file(tensors, path, metadata=notes)

    @classmethod
    def load(cls, path: Path) -> "Circuit":
        """Reads a weights file. Raises `WeightsError` if it is missing or is not one."""
        try:
            tensors = load(path.read_bytes())
            height, width, channels = (int(length) for length in tensors["shape"])
            tree = Tree(tensors["pixels"], tensors["depths"])
            nodes, states, kinds = len(tree), tensors["root"].size, len(tensors["components"])
            if nodes > MAX_PIXELS or states > MAX_STATES or kinds > MAX_COMPONENTS:
                raise ValueError(f"{nodes} nodes, {states} states and {kinds} components are too many")
            return cls((height, width, channels), tree, tensors["root"],
                       _inflated(tensors["transitions"], (nodes, states, states)),
                       _inflated(tensors["leaves"], (nodes, states, kinds)), tensors["components"])
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, DamagedError) as error:
            raise WeightsError(f"{path} cannot be used as weights of `circuit-tree`: {error}.") from None


def _inflated(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An array of codes from its zlib stream."""
    size = int(np.prod(shape))
    data = inflate(packed.tobytes(), size, "tensor")
    if len(data) != size:
        raise ValueError(f"it does not hold {size} parameters")
    return np.frombuffer(data, np.uint8).reshape(shape)
