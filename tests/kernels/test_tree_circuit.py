"""Tree circuits: the compiled loops compute what the plain reference says, bit for bit, and nothing breaks them."""

import contextlib
import zlib

import numpy as np
import pytest

from fewbits.errors import DamagedError
from fewbits.kernels import ans, tree_circuit, tree_circuit_reference
from fewbits.kernels.parameter_codes import WEIGHTS
from fewbits.kernels.tree_circuit import TOTAL, VALUES, TreeCircuit

DEPTHS = {
    "one node": [0],
    "chain": [0, 1, 2, 3, 4, 5],
    "star": [0, 1, 1, 1, 1, 1],
    "tree": [0, 1, 2, 2, 3, 1, 2, 3, 3, 2, 1],
}


def random_circuit(depths: list[int], states: int, components: int, low: int, seed: int = 0) -> TreeCircuit:
    """With codes from `low` to 255."""
    generator = np.random.default_rng(seed)
    nodes = len(depths)

    def codes(*shape: int) -> np.ndarray:
        return generator.integers(low, 256, shape).astype(np.uint8)

    return TreeCircuit.from_codes(
        generator.permutation(nodes), np.array(depths), codes(states), codes(nodes, states, states),
        codes(nodes, states, components), codes(components, VALUES))


def random_images(circuit: TreeCircuit, count: int) -> np.ndarray:
    images = np.random.default_rng(1).integers(0, 256, (count, circuit.pixels.size)).astype(np.uint8)
    images[::3] = 0
    images[1::3] = 255
    return images


@pytest.mark.parametrize("depths", DEPTHS.values(), ids=DEPTHS.keys())
@pytest.mark.parametrize(("states", "components", "low"), [(1, 1, 0), (2, 3, 200), (5, 4, 0), (16, 9, 100)])
def test_equal_to_the_reference_bit_for_bit(depths, states, components, low):
    circuit = random_circuit(depths, states, components, low)
    images = random_images(circuit, 4)
    intervals = tree_circuit.intervals(images, circuit)
    expected = np.stack([tree_circuit_reference.intervals(image, circuit) for image in images], axis=1)
    assert np.array_equal(intervals, expected)


def test_tables_are_fit_for_the_coder_where_weights_are_most_uneven():
    """Every frequency is 1 at least and they sum to 2**24, though each row has a weight 2**32 times another."""
    nodes, states = 7, 4
    extreme = np.where(np.random.default_rng(0).random((nodes, states, states)) < 0.5, 0, 255).astype(np.uint8)
    components = np.zeros((2, VALUES), np.uint8)
    components[0, 0] = components[1, 255] = 255
    circuit = TreeCircuit.from_codes(np.arange(nodes), np.array([0, 1, 2, 3, 1, 1, 2]), extreme[0, 0], extreme,
                                     extreme[..., :2].copy(), components)
    for image in np.random.default_rng(0).choice([0, 128, 255], (8, nodes)).astype(np.uint8):
        tables = tree_circuit_reference.tables(image, circuit)
        assert tables.min() >= 1 and np.all(tables.sum(axis=1) == TOTAL)


def test_words_are_those_of_plain_ans():
    circuit = random_circuit(DEPTHS["tree"], 3, 2, 150)
    images = random_images(circuit, 3)
    tables = [tree_circuit_reference.tables(image, circuit).tolist() for image in images]
    order = [(node, image) for node in range(circuit.pixels.size) for image in range(len(images))]
    words = ans.encode([int(images[image, circuit.pixels[node]]) for node, image in order],
                       [tables[image][node] for node, image in order])
    assert tree_circuit.encode(images, circuit)[0].tolist() == words


@pytest.mark.parametrize("depths", DEPTHS.values(), ids=DEPTHS.keys())
@pytest.mark.parametrize("count", [1, 2, 33])
def test_images_come_back(depths, count):
    circuit = random_circuit(depths, 6, 5, 0)
    images = random_images(circuit, count)
    words, _ = tree_circuit.encode(images, circuit)
    assert np.array_equal(tree_circuit.decode(words, count, circuit), images)


def test_size_is_what_the_entries_say():
    circuit = random_circuit([0, *[1, 2, 2] * 20], 8, 4, 120)
    words, estimate = tree_circuit.encode(random_images(circuit, 50), circuit)
    assert estimate + ans.PRECISION <= 32 * words.size <= estimate * 1.0001 + 64


def test_no_data_brings_numbers_out_of_range():
    """A node with very many children, each of which speaks as strongly as it can for one state or against it."""
    nodes = 300
    transitions = np.tile(np.array([[255, 0], [0, 255]], np.uint8), (nodes, 1, 1))
    components = np.zeros((2, VALUES), np.uint8)
    components[0, 0] = components[1, 255] = 255
    circuit = TreeCircuit.from_codes(np.arange(nodes), np.array([0] + [1] * (nodes - 1)), np.array([0, 255], np.uint8),
                                     transitions, transitions, components)
    images = np.zeros((3, nodes), np.uint8)
    images[1, nodes // 2 :] = 255
    images[2, ::2] = 77
    words, bits = tree_circuit.encode(images, circuit)
    assert np.isfinite(bits)
    assert np.array_equal(tree_circuit.decode(words, 3, circuit), images)


def test_damaged_words_are_images_or_an_error():
    circuit = random_circuit(DEPTHS["tree"], 4, 3, 100)
    images = random_images(circuit, 20)
    words, _ = tree_circuit.encode(images, circuit)
    generator = np.random.default_rng(0)
    wrong = [words[:0], words[:-1], words[1:], np.append(words, np.uint32(1)), np.append(words, np.uint32(0)),
             *(generator.integers(0, 2**32, generator.integers(1, 200), dtype=np.uint32) for _ in range(200))]
    for damaged in wrong:
        with pytest.raises(DamagedError):
            tree_circuit.decode(damaged, 20, circuit)
    for bit in range(64):
        damaged = words.copy()
        damaged[bit % len(words)] ^= np.uint32(1 << bit % 32)
        with contextlib.suppress(DamagedError):
            assert tree_circuit.decode(damaged, 20, circuit).shape == images.shape


def test_weights_are_exact_and_rise():
    assert np.all(np.diff(WEIGHTS) > 0)
    assert np.all(WEIGHTS == np.floor(WEIGHTS)) and WEIGHTS[-1] * 256 < 2**53


def test_parts_that_do_not_fit_are_refused():
    circuit = random_circuit([0, 1], 2, 2, 0)
    with pytest.raises(ValueError, match="pixels"):
        tree_circuit.intervals(np.zeros((1, 3), np.uint8), circuit)
    with pytest.raises(ValueError, match="fit together"):
        TreeCircuit.from_codes(circuit.pixels, circuit.depths, np.zeros(3, np.uint8), circuit.transitions,
                               circuit.leaves, np.zeros((2, VALUES), np.uint8))


GENERIC = """
import sys, zlib
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]) / "tests" / "kernels"))
from test_tree_circuit import coded_in_full
print(zlib.crc32(coded_in_full()))
"""


def coded_in_full() -> bytes:
    """Words of some images under a circuit that uses every kind of loop, whole blocks of four rows and single ones."""
    circuit = random_circuit([0, *[1, 2, 3, 2] * 30], 23, 19, 0)
    return tree_circuit.encode(random_images(circuit, 10), circuit)[0].tobytes()


def test_another_processor_and_optimiser_write_the_same_bytes(root, elsewhere):
    printed = elsewhere(GENERIC, root, NUMBA_CPU_NAME="generic", NUMBA_OPT="1")
    assert int(printed) == zlib.crc32(coded_in_full())
