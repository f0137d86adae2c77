"""Hidden Chow-Liu tree circuits: coding of images, pixel by pixel, by exact conditional probabilities.

A circuit is a tree with a hidden variable of M states at each pixel. Given its parent's state, a node's state follows
its transitions; given its own state, the pixel's value follows a mixture of K components that all pixels share. Coding
goes through the nodes in depth-first pre-order, for all images of a block side by side, and keeps two rows of M numbers
for each image and each node of the path from the root:

- `priors`: the probability of each state before anything in the node's subtree was coded;
- `messages`: the likelihood, up to a factor, of what was coded in the subtree since, under each state.

Their product is what is believed of a node, and times the transitions to a child, the child's prior. When a subtree is
done, its message goes through its transitions into its parent's. So each pixel costs two products of a vector with an
M x M matrix, and nothing is computed twice. (The same probabilities as in A. Liu, S. Mandt, G. Van den Broeck,
"Lossless Compression with Probabilistic Circuits", ICLR 2022, arXiv 2111.11632, in less work for a tree.)

**Exactness.** Parameters are integers (`WEIGHTS[code]`), and everything is +, *, / and comparisons of float64 in the
order of `tree_circuit_reference`, so every machine computes the same bits. Messages are kept within
2**-MESSAGE_BITS..2**MESSAGE_BITS; with the range of weights, no number can come near the ends of float64, not even to
where a processor may round small numbers to 0.

Entropy coding is that of `adaptive_rans`, with the state going from pixel to pixel and from image to image.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, types

from fewbits.kernels import adaptive_rans
from fewbits.kernels.adaptive_rans import WORDS, advance, pack, quantile_of
from fewbits.kernels.ans import START, TOTAL
from fewbits.kernels.parameter_codes import WEIGHTS, normalised

VALUES = 256  # of a pixel
SCALE = float(TOTAL - VALUES - 1)  # of probabilities; every value gets 1 more, and the last one the rest
MESSAGE_BITS = 300
MAX_STATES, MAX_COMPONENTS = 256, 256

_LARGEST, _SMALLEST = 2.0**MESSAGE_BITS, 2.0**-MESSAGE_BITS
_START = np.uint64(START)

_NODES = types.Array(types.int64, 1, "C", readonly=True)
_ROW = types.Array(types.float64, 1, "C", readonly=True)
_ROWS = types.Array(types.float64, 2, "C", readonly=True)
_CODES = types.Array(types.uint8, 3, "C", readonly=True)
_CIRCUIT = _NODES, _NODES, _ROW, _CODES, _CODES, _ROWS, _ROWS, _ROW


@dataclass(frozen=True, eq=False)
class TreeCircuit:
    """A circuit in the form that the compiled loops want.

    Attributes:
        pixels, depths: (D,) int64, the pixel of each node in pre-order, and how deep it is.
        root: (M,) float64, probabilities of the root's states.
        transitions: (D, M, M) uint8 codes, from the parent's state (rows) to the node's; those of the root are unused.
        leaves: (D, M, K) uint8 codes, from the node's state to components.
        likelihoods: (256, K) float64, of each value under each component.
        cumulatives: (257, K) float64, of all smaller values.
    """

    pixels: np.ndarray
    depths: np.ndarray
    root: np.ndarray
    transitions: np.ndarray
    leaves: np.ndarray
    likelihoods: np.ndarray
    cumulatives: np.ndarray

    @classmethod
    def from_codes(cls, pixels: np.ndarray, depths: np.ndarray, root: np.ndarray, transitions: np.ndarray,
                   leaves: np.ndarray, components: np.ndarray) -> "TreeCircuit":
        """From the codes of all parameters, `root` (M,) and `components` (K, 256) among them.

        The caller has checked that `depths` are those of a tree and that `pixels` are a permutation.

        Raises:
            ValueError: if shapes disagree or are beyond the limits.
        """
        nodes, states, kinds = leaves.shape
        if not 1 <= states <= MAX_STATES or not 1 <= kinds <= MAX_COMPONENTS or nodes < 1:
            raise ValueError(f"a circuit cannot have {nodes} nodes, {states} states and {kinds} components")
        expected = ((nodes,), (nodes,), (states,), (nodes, states, states), (kinds, VALUES))
        if (pixels.shape, depths.shape, root.shape, transitions.shape, components.shape) != expected:
            raise ValueError("the parts of the circuit do not fit together")
        weights = WEIGHTS[components].T
        sums = np.zeros((VALUES + 1, kinds))
        np.cumsum(weights, axis=0, out=sums[1:])  # integers below 2**53: exact
        return cls(*(np.ascontiguousarray(array) for array in (
            pixels, depths, normalised(root), transitions, leaves, weights / sums[-1], sums / sums[-1])))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Arguments of the compiled loops."""
        return (self.pixels, self.depths, self.root, self.transitions, self.leaves, self.likelihoods,
                self.cumulatives, WEIGHTS)


@njit(inline="always")
def _unpack(codes, weights, rows, reciprocals):  # type: ignore[no-untyped-def]
    """Weights of a matrix of codes, and one over the sum of each row. The sums are of integers, and so exact."""
    for i in range(codes.shape[0]):
        total = 0.0
        for j in range(codes.shape[1]):
            rows[i, j] = weights[codes[i, j]]
            total += rows[i, j]
        reciprocals[i] = 1.0 / total


@njit(inline="always")
def _add_rows(factors, rows, sums):  # type: ignore[no-untyped-def]
    """sums = factors @ rows, row after row; four at a time, which saves memory traffic and keeps the order."""
    count = factors.size
    for j in range(sums.size):
        sums[j] = 0.0
    whole = count - count % 4
    for i in range(0, whole, 4):
        a, b, c, d = factors[i], factors[i + 1], factors[i + 2], factors[i + 3]
        for j in range(sums.size):
            sums[j] = sums[j] + a * rows[i, j] + b * rows[i + 1, j] + c * rows[i + 2, j] + d * rows[i + 3, j]
    for i in range(whole, count):
        for j in range(sums.size):
            sums[j] = sums[j] + factors[i] * rows[i, j]


@njit(inline="always")
def _descend(prior, message, rows, reciprocals, factors, out):  # type: ignore[no-untyped-def]
    """The prior of a node, up to a factor, from its parent's prior and message."""
    for i in range(factors.size):
        factors[i] = prior[i] * message[i] * reciprocals[i]
    _add_rows(factors, rows, out)


@njit(inline="always")
def _mix(prior, rows, reciprocals, factors, mixture):  # type: ignore[no-untyped-def]
    """Fills the weights of the components, and brings them and the prior to a sum of 1, to rounding."""
    for i in range(factors.size):
        factors[i] = prior[i] * reciprocals[i]
    _add_rows(factors, rows, mixture)
    total = 0.0
    for k in range(mixture.size):
        total += mixture[k]
    factor = 1.0 / total
    for i in range(prior.size):
        prior[i] = prior[i] * factor
    for k in range(mixture.size):
        mixture[k] = mixture[k] * factor


@njit(inline="always")
def _cumulative(mixture, cumulatives, value):  # type: ignore[no-untyped-def]
    """Left end of a value in the table of a mixture: rising by 1 at least from each value to the next, since rounding
    keeps the order of sums."""
    total = 0.0
    for k in range(mixture.size):
        total += mixture[k] * cumulatives[value, k]
    return np.int64(total * SCALE) + value


@njit(inline="always")
def _observe(value, likelihoods, columns, reciprocals, message):  # type: ignore[no-untyped-def]
    """The message of a node whose own value alone is known."""
    _add_rows(likelihoods[value], columns, message)
    for i in range(message.size):
        message[i] = message[i] * reciprocals[i]


@njit(inline="always")
def _ascend(message, columns, reciprocals, sums, out):  # type: ignore[no-untyped-def]
    """Multiplies the message of a parent with that of its child, brought to 1 in the first state."""
    _add_rows(message, columns, sums)
    factor = 1.0 / (sums[0] * reciprocals[0])
    for i in range(out.size):
        out[i] = min(max(out[i] * (sums[i] * reciprocals[i] * factor), _SMALLEST), _LARGEST)


@njit(inline="always")
def _ascend_all(node, depths, path, transitions, weights, columns, reciprocals, sums, messages):  # type: ignore[no-untyped-def]
    """Passes on the messages of all subtrees that end with a node, where a node comes after."""
    if node + 1 == depths.size:
        return
    for depth in range(depths[node], depths[node + 1] - 1, -1):
        _unpack(transitions[path[depth]], weights, columns.T, reciprocals)
        for image in range(messages.shape[1]):
            _ascend(messages[depth, image], columns, reciprocals, sums, messages[depth - 1, image])


@njit(inline="always")
def _descend_all(node, depth, root, transitions, weights, rows, reciprocals, factors, priors, messages):  # type: ignore[no-untyped-def]
    """Priors of a node, up to a factor, for all images."""
    if depth == 0:
        for image in range(priors.shape[1]):
            priors[0, image] = root
        return
    _unpack(transitions[node], weights, rows, reciprocals)
    for image in range(priors.shape[1]):
        _descend(priors[depth - 1, image], messages[depth - 1, image], rows, reciprocals, factors, priors[depth, image])


@njit(inline="always")
def _search(mixture, cumulatives, quantile):  # type: ignore[no-untyped-def]
    """The value that a quantile belongs to, its left end, and that of the next value."""
    value, left, right = 0, np.int64(0), np.int64(TOTAL)
    step = VALUES >> 1
    while step:
        middle = _cumulative(mixture, cumulatives, value + step)
        if middle <= quantile:
            value += step
            left = middle
        else:
            right = middle
        step >>= 1
    return value, left, right


@njit(types.void(types.uint8[:, ::1], types.uint64[:, ::1], WORDS, types.uint64[::1], types.boolean, *_CIRCUIT),
      cache=True, nogil=True, error_model="numpy")
def _sweep(samples, intervals, words, coder, decoding, pixels, depths, root, transitions, leaves, likelihoods,  # type: ignore[no-untyped-def]
           cumulatives, weights):
    """Goes through all nodes: fills `samples` from `words`, until these run down, or `intervals` from `samples`."""
    images, states, components = samples.shape[0], root.size, likelihoods.shape[1]
    levels = depths.max() + 1
    priors, messages = np.empty((levels, images, states)), np.empty((levels, images, states))
    path = np.empty(levels, np.int64)
    square, reciprocals, factors = np.empty((states, states)), np.empty(states), np.empty(states)
    leaf, leaf_columns, mixture = np.empty((states, components)), np.empty((components, states)), np.empty(components)
    for node in range(pixels.size):
        if decoding and coder[0] < _START:  # no encoder goes below
            return
        depth, pixel = depths[node], pixels[node]
        path[depth] = node
        _descend_all(node, depth, root, transitions, weights, square, reciprocals, factors, priors, messages)
        _unpack(leaves[node], weights, leaf, reciprocals)
        _unpack(leaves[node], weights, leaf_columns.T, reciprocals)
        for image in range(images):
            _mix(priors[depth, image], leaf, reciprocals, factors, mixture)
            if decoding:
                value, left, right = _search(mixture, cumulatives, quantile_of(coder))
                samples[image, pixel] = value
                advance(coder, words, left, right - left)
            else:
                value = np.int64(samples[image, pixel])
                left = _cumulative(mixture, cumulatives, value)
                right = _cumulative(mixture, cumulatives, value + 1) if value + 1 < VALUES else TOTAL
                intervals[node, image] = pack(left, right - left)
            _observe(value, likelihoods, leaf_columns, reciprocals, messages[depth, image])
        _ascend_all(node, depths, path, transitions, weights, square, reciprocals, factors, messages)


def intervals(samples: np.ndarray, circuit: TreeCircuit) -> np.ndarray:
    """The interval of each pixel, (D, N) uint64 as `adaptive_rans.pack` has them, in the order of coding.

    Args:
        samples: (N, D) uint8.

    Raises:
        ValueError: if the images have another number of pixels than the circuit.
    """
    if samples.shape[1] != circuit.pixels.size:
        raise ValueError(f"images have {samples.shape[1]} pixels, the circuit has {circuit.pixels.size}")
    result = np.empty((circuit.pixels.size, len(samples)), np.uint64)
    nothing = np.empty(0, np.uint32)
    _sweep(np.array(samples, order="C"), result, nothing, np.zeros(2, np.uint64), False, *circuit.arrays)
    return result


def encode(samples: np.ndarray, circuit: TreeCircuit) -> tuple[np.ndarray, float]:
    """uint32 words of images (N, D) uint8, and their ideal code length in bits; raises as `intervals`."""
    result = intervals(samples, circuit)
    return adaptive_rans.encode_intervals(result.reshape(-1)), adaptive_rans.bits_of(result)


def decode(words: np.ndarray, images: int, circuit: TreeCircuit) -> np.ndarray:
    """Images (N, D) uint8 from uint32 words.

    Raises:
        DamagedError: if the words do not end where the images end.
    """
    coder, samples = adaptive_rans.open_words(words), np.zeros((images, circuit.pixels.size), np.uint8)
    _sweep(samples, np.empty((0, 0), np.uint64), words, coder, True, *circuit.arrays)
    adaptive_rans.check_end(coder)
    return samples
