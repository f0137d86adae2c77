"""Trees, probabilities and training of circuits, on images small enough to count everything."""

from itertools import combinations, pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbits.codecs.circuit.circuit import Circuit
from fewbits.codecs.circuit.em import Expectation, Parameters, log_likelihood
from fewbits.codecs.circuit.message_passing import MarginalCache, Probabilities, conditionals
from fewbits.codecs.circuit.tree import (
    Tree,
    chow_liu_tree,
    maximum_spanning_tree,
    mutual_information,
    rooted_at_centre,
)
from fewbits.errors import WeightsError
from fewbits.kernels import tree_circuit


def tree_of(depths: list[int]) -> Tree:
    return Tree(np.random.default_rng(0).permutation(len(depths)), np.array(depths))


def random_circuit(shape: tuple[int, int, int], depths: list[int], states: int = 3, components: int = 2) -> Circuit:
    generator = np.random.default_rng(0)
    nodes = len(depths)
    return Circuit.from_probabilities(shape, tree_of(depths), generator.random(states),
                                      generator.random((nodes, states, states)) ** 3,
                                      generator.random((nodes, states, components)),
                                      generator.random((components, 256)) ** 3)


def lines(count: int, size: int = 6, seed: int = 0) -> np.ndarray:
    """Images (count, size, size, 1): a bright line across a dark ground, with some noise."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 30, (count, size, size, 1))
    for image in images:
        position = generator.integers(size)
        if generator.random() < 0.5:
            image[position] += 200
        else:
            image[:, position] += 200
    return images.astype(np.uint8)


# --- trees


def test_mutual_information_of_copies_and_of_strangers():
    generator = np.random.default_rng(0)
    first, other = generator.integers(0, 256, (2, 4000)).astype(np.uint8)
    information = mutual_information(np.stack([first, 255 - first, other], axis=1))
    assert information[0, 1] == pytest.approx(np.log(4), abs=0.01)  # four bins
    assert abs(information[0, 2]) < 0.01
    assert np.allclose(information, information.T)


def test_spanning_tree_is_the_heaviest():
    generator = np.random.default_rng(0)
    weights = generator.random((6, 6))
    weights += weights.T
    edges = maximum_spanning_tree(weights)

    def spans(chosen: tuple[tuple[int, int], ...]) -> bool:
        reached = {0}
        for _ in chosen:
            reached |= {b for a, b in chosen if a in reached} | {a for a, b in chosen if b in reached}
        return len(reached) == 6

    pairs = list(combinations(range(6), 2))
    best = max(sum(weights[edge] for edge in chosen) for chosen in combinations(pairs, 5) if spans(chosen))
    assert weights[edges[:, 0], edges[:, 1]].sum() == pytest.approx(best)


def test_a_path_is_rooted_in_its_middle():
    tree = rooted_at_centre(np.array(list(pairwise([3, 1, 4, 0, 2]))))
    assert tree.pixels[0] == 4
    assert sorted(tree.depths.tolist()) == [0, 1, 1, 2, 2]
    assert tree.parents().tolist() == [-1, 0, 1, 0, 3]


def test_one_pixel_is_a_tree():
    tree = chow_liu_tree(np.zeros((3, 1), np.uint8))
    assert (tree.pixels.tolist(), tree.depths.tolist()) == ([0], [0])


@pytest.mark.parametrize(("pixels", "depths"), [
    ([0, 0], [0, 1]), ([0, 2], [0, 1]), ([-1, 0], [0, 1]), ([0, 1], [0, 0]), ([0, 1], [1, 0]), ([0, 1], [0, 2]),
    ([0, 1], [0, -1]), ([0, 1], [0]), ([], []), ([0, 1], [0, 2**62]),
])
def test_what_is_no_tree_is_refused(pixels, depths):
    with pytest.raises(ValueError):
        Tree(np.array(pixels, np.int64), np.array(depths, np.int64))


# --- probabilities


def test_conditionals_are_those_of_counting_all_states():
    """The probability of an image, from all values of all hidden variables, is the product of its conditionals."""
    circuit = Probabilities.of(random_circuit((1, 5, 1), [0, 1, 2, 2, 1]))
    image = np.array([0, 200, 17, 255, 90], np.uint8)
    parents, nodes, states = circuit.tree.parents(), 5, 3
    total = 0.0
    for hidden in product(range(states), repeat=nodes):
        term = circuit.root[hidden[0]]
        for node in range(nodes):
            if node:
                term *= circuit.transitions[node, hidden[parents[node]], hidden[node]]
            term *= circuit.values[node, hidden[node], image[circuit.tree.pixels[node]]]
        total += term
    rows = conditionals(image, circuit)
    assert np.allclose(rows.sum(axis=1), 1)
    assert np.prod(rows[range(nodes), image[circuit.tree.pixels]]) == pytest.approx(total)


def test_probabilities_of_all_images_sum_to_one():
    circuit = Probabilities.of(random_circuit((1, 2, 1), [0, 1]))
    total = 0.0
    for value in range(256):
        image = np.full(2, value, np.uint8)
        first, second = conditionals(image, circuit)
        total += first[value] * second.sum()
    assert total == pytest.approx(1)


def test_cached_marginals_agree_in_the_order_of_the_tree_and_evaluate_one_path_each():
    circuit = Probabilities.of(random_circuit((2, 4, 1), [0, 1, 2, 3, 2, 1, 2, 2]))
    image = np.random.default_rng(0).integers(0, 256, 8).astype(np.uint8)
    rows, cache, before = conditionals(image, circuit), MarginalCache(circuit), 1.0
    for node, pixel in enumerate(circuit.tree.pixels.tolist()):
        for value in (0, 100, int(image[pixel])):
            assert cache.probability(pixel, value) / before == pytest.approx(rows[node, value])
        before = cache.fix(pixel, int(image[pixel]))
    assert cache.evaluated == 4 * int((circuit.tree.depths + 1).sum())


def test_cached_marginals_do_not_depend_on_the_order():
    circuit = Probabilities.of(random_circuit((2, 4, 1), [0, 1, 2, 3, 2, 1, 2, 2]))
    image = np.random.default_rng(0).integers(0, 256, 8).astype(np.uint8)
    totals = []
    for seed in range(3):
        cache = MarginalCache(circuit)
        totals.append([cache.fix(p, int(image[p])) for p in np.random.default_rng(seed).permutation(8).tolist()][-1])
    assert totals == pytest.approx([totals[0]] * 3)


def test_the_coder_takes_the_bits_that_the_conditionals_say():
    circuit = random_circuit((3, 3, 1), [0, 1, 2, 2, 3, 1, 2, 3, 3], 5, 4)
    images = np.random.default_rng(0).integers(0, 256, (4, 9)).astype(np.uint8)
    for image in images:
        _, length = tree_circuit.encode(image[None], circuit.compiled())
        rows = conditionals(image, Probabilities.of(circuit))
        ideal = -np.log2(rows[range(9), image[circuit.tree.pixels]]).sum()
        assert length == pytest.approx(ideal, rel=0.01)


# --- the weights file


def test_a_weights_file_gives_the_circuit_back(tmp_path: Path):
    circuit = random_circuit((1, 2, 3), [0, 1, 2, 2, 1, 1])
    circuit.save(tmp_path / "w.safetensors", {"note": "x"})
    again = Circuit.load(tmp_path / "w.safetensors")
    assert again.shape == circuit.shape
    for name in ("root", "transitions", "leaves", "components"):
        assert np.array_equal(getattr(again, name), getattr(circuit, name))
    assert np.array_equal(again.tree.pixels, circuit.tree.pixels)


def test_integers_stand_for_probabilities_within_a_sixteenth():
    circuit = random_circuit((1, 2, 1), [0, 1], 40, 7)
    generator = np.random.default_rng(0)
    wanted = generator.random(40)
    assert np.allclose(Probabilities.of(circuit).root, wanted / wanted.sum(), rtol=0.1)


def test_wrong_weights_files_are_refused(tmp_path: Path):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError):
        Circuit.load(path)
    path.write_bytes(b"rubbish" * 9)
    with pytest.raises(WeightsError):
        Circuit.load(path)
    random_circuit((1, 2, 3), [0, 1, 2, 2, 1, 1]).save(path, {})
    whole = load_file(path)
    wrong = {
        "shape": np.array([1, 2, 4]), "pixels": whole["pixels"][::-1][:3].copy(), "depths": whole["depths"] + 1,
        "root": np.zeros((2, 2), np.uint8), "components": whole["components"].astype(np.int16),
        "transitions": whole["transitions"][:-3].copy(), "leaves": np.zeros(9, np.uint8),
    }
    for name, value in wrong.items():
        save_file({**whole, name: value}, path)
        with pytest.raises(WeightsError, match="circuit-tree"):
            Circuit.load(path)
        save_file({key: array for key, array in whole.items() if key != name}, path)
        with pytest.raises(WeightsError):
            Circuit.load(path)


# --- training


def begun(images: np.ndarray, states: int = 4, components: int = 5) -> tuple[Expectation, torch.Tensor, Parameters]:
    expectation = Expectation(chow_liu_tree(images.reshape(len(images), -1)))
    arranged = expectation.arranged(images)
    return expectation, arranged, Parameters.random(arranged, states, components, seed=0)


def test_the_likelihood_is_that_of_the_conditionals():
    images = lines(20)
    expectation, arranged, parameters = begun(images)
    likelihood = expectation(parameters, arranged)
    circuit = Probabilities.of(expectation.circuit(parameters, (6, 6, 1)))
    for image, found in zip(images[:5].reshape(5, -1), likelihood.tolist(), strict=False):
        rows = conditionals(image, circuit)
        assert found == pytest.approx(np.log(rows[range(36), image[circuit.tree.pixels]]).sum(), rel=0.01)


def test_counts_add_up():
    images = lines(20)
    expectation, arranged, parameters = begun(images)
    counts = Parameters.zeros_like(parameters)
    expectation(parameters, arranged, counts)
    assert counts.root.sum() == pytest.approx(20, rel=1e-4)
    assert torch.allclose(counts.transitions[1:].sum((1, 2)), torch.tensor(20.0), rtol=1e-4)
    assert torch.allclose(counts.leaves.sum((1, 2)), torch.tensor(20.0), rtol=1e-4)
    assert counts.components.sum() == pytest.approx(20 * 36, rel=1e-4)


def test_counts_are_the_gradient_of_the_likelihood():
    images = lines(7, size=3)
    expectation, arranged, parameters = begun(images, 3, 2)
    counts = Parameters.zeros_like(parameters)
    before = float(expectation(parameters, arranged, counts).sum())
    moved = Parameters(*(tensor.clone() for tensor in parameters.tensors))
    moved.transitions[2, 1, 0] *= 1.01
    moved.leaves[4, 2, 1] *= 1.01
    after = float(expectation(moved, arranged).sum())
    expected = float(counts.transitions[2, 1, 0] + counts.leaves[4, 2, 1]) * np.log(1.01)
    assert after - before == pytest.approx(expected, rel=0.02, abs=1e-4)


def test_whole_steps_never_lower_the_likelihood():
    images = lines(100)
    expectation, arranged, parameters = begun(images)
    likelihoods = []
    for _ in range(12):
        counts = Parameters.zeros_like(parameters)
        likelihoods.append(log_likelihood(expectation, parameters, arranged, 30, counts))
        parameters = counts.probabilities(0.0)
    assert all(np.diff(likelihoods) > -1e-3)
    assert likelihoods[-1] > likelihoods[0] + 100
