"""Circuits that were trained with pyjuice: the same likelihoods here, and files there and back."""

import math
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.apps.train.pyjuice_import import import_circuit
from fewbits.codecs.circuit import codec as codec_module
from fewbits.codecs.circuit.circuit import Circuit
from fewbits.codecs.circuit.codec import circuit_bits
from fewbits.codecs.circuit.message_passing import Probabilities, conditionals
from fewbits.codecs.image_set import ImageSet
from fewbits.errors import InputError
from fewbits.kernels.parameter_codes import normalised

if TYPE_CHECKING:
    from pyjuice.nodes import CircuitNodes

SHAPE = (4, 4, 1)
EXACT = 1e-5  # relative, of a likelihood; float32 and the smallest weights in place of 0


@pytest.fixture
def juice() -> Any:
    return pytest.importorskip("pyjuice")


def images(count: int) -> np.ndarray:
    """Images (count, 4, 4, 1): noise around a level of each image."""
    generator = np.random.default_rng(0)
    return (generator.integers(0, 200, (count, 1, 1, 1)) + generator.integers(0, 50, (count, *SHAPE))).astype(np.uint8)


def tree(juice: Any, states: int = 8, **arguments: Any) -> "CircuitNodes":
    """A hidden Chow-Liu tree over `images` with random parameters."""
    torch.manual_seed(0)
    root = juice.structures.HCLT(torch.from_numpy(images(60).reshape(60, -1)).float(), num_latents=states, **arguments)
    root.init_parameters(perturbation=4.0)
    return root


def rounded(root: "CircuitNodes") -> "CircuitNodes":
    """The same nodes with random parameters that bytes represent exactly."""
    generator = np.random.default_rng(0)
    for nodes in root:
        if nodes.is_prod() or nodes.is_tied():
            continue
        shape = (nodes.num_nodes, 256 if nodes.is_input() else nodes.num_ch_nodes)
        codes = generator.integers(180, 256, shape)
        codes[:, 0] = 255  # the largest code, which the largest probability of each row gets
        nodes.set_params(torch.from_numpy(normalised(codes)).float())
    return root


def likelihoods(nodes: "CircuitNodes", image: np.ndarray) -> np.ndarray:
    """The probability of an image under each of pyjuice's nodes, by the definition of their edges: (nodes,)."""
    if nodes.is_input():
        parameters = nodes.get_source_ns().get_params().numpy().astype(float)
        return parameters.reshape(-1, 256)[:, image[nodes.scope.to_list()[0]]]
    below = [likelihoods(child, image).reshape(-1, child.block_size) for child in nodes.chs]
    if nodes.is_prod():
        return np.prod([child[edges] for child, edges in zip(below, nodes.edge_ids.T.numpy(), strict=True)],
                       axis=0).reshape(-1)
    result = np.zeros((nodes.num_node_blocks, nodes.block_size))
    parameters = nodes.get_source_ns().get_params().numpy().astype(float)
    for (row, column), block in zip(nodes.edge_ids.T.tolist(), parameters, strict=True):
        result[row] += block @ np.concatenate(below)[column]
    return result.reshape(-1)


def nats(circuit: Circuit, image: np.ndarray) -> float:
    """The log-likelihood of an image."""
    rows = conditionals(image, Probabilities.of(circuit))
    return float(np.log(rows[range(len(rows)), image[circuit.tree.pixels]]).sum())


def saved(juice: Any, root: "CircuitNodes", folder: Path) -> Path:
    juice.save(str(folder / "model.jpc"), root)
    return folder / "model.jpc"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


# --- without pyjuice


def test_a_missing_extra_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "pyjuice", None)
    (tmp_path / "model.jpc").write_bytes(b"")
    result = invoke("train", "import-pyjuice", str(tmp_path / "model.jpc"), "--width", "4", "--height", "4")
    assert isinstance(result.exception, InputError)
    assert "package pyjuice" in str(result.exception) and "fewbits[pyjuice]" in str(result.exception)


def test_other_files_and_other_shapes_are_refused(tmp_path: Path):
    (tmp_path / "model.pt").write_bytes(b"")
    for name in ("model.pt", "missing.jpc"):
        with pytest.raises(InputError, match=r"ends in \.jpc"):
            import_circuit(tmp_path / name, SHAPE)
    for shape in ((4, 4, 2), (400, 400, 1)):
        with pytest.raises(InputError, match="no circuits for images"):
            import_circuit(tmp_path / "model.jpc", shape)


# --- with it


@pytest.mark.parametrize("arguments", [
    {}, {"block_size": 2}, {"states": 12, "block_size": 4}, {"tie_input_params": True}, {"states": 1},
])
def test_likelihoods_are_those_of_pyjuice(juice: Any, arguments: dict[str, Any], tmp_path: Path):
    root = rounded(tree(juice, **arguments))
    circuit = import_circuit(saved(juice, root, tmp_path), SHAPE)
    for image in images(5).reshape(5, -1):
        assert nats(circuit, image) == pytest.approx(math.log(likelihoods(root, image).item()), rel=EXACT)


def test_a_markov_chain_is_a_tree_too(juice: Any, tmp_path: Path):
    """All its transitions are tied, and all its distributions of values."""
    root = juice.structures.HMM(16, num_latents=4, num_emits=256)
    root.init_parameters()
    circuit = import_circuit(saved(juice, rounded(root), tmp_path), SHAPE)
    assert circuit.tree.pixels.tolist() == circuit.tree.depths.tolist() == list(range(16))
    for image in images(5).reshape(5, -1):
        assert nats(circuit, image) == pytest.approx(math.log(likelihoods(root, image).item()), rel=EXACT)


def test_likelihoods_are_near_where_parameters_are_rounded(juice: Any, tmp_path: Path):
    root = tree(juice)
    circuit = import_circuit(saved(juice, root, tmp_path), SHAPE)
    flat = images(30).reshape(30, -1)
    expected = [math.log(likelihoods(root, image).item()) for image in flat]
    assert np.mean([nats(circuit, image) for image in flat]) == pytest.approx(np.mean(expected), rel=2e-3)
    assert circuit_bits(images(30), circuit.compiled()) * math.log(2) == pytest.approx(-np.sum(expected), rel=5e-3)


def test_sparse_sums_and_a_chain(juice: Any, tmp_path: Path):
    """A band of transitions, blocks of states that never follow others; each variable below the one before."""
    def inputs(variable: int) -> "CircuitNodes":
        return juice.inputs(variable, num_node_blocks=4, dist=juice.distributions.Categorical(num_cats=256))

    band = torch.tensor([[0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 1, 2, 2, 3, 3, 0]])
    with juice.set_block_size(2):
        below = juice.summate(juice.multiply(inputs(3)), edge_ids=band)
        for variable in (1, 0):
            below = juice.summate(juice.multiply(inputs(variable), below), edge_ids=band)
        root = juice.summate(juice.multiply(below, inputs(2)), num_node_blocks=1, block_size=1)
    root.init_parameters(perturbation=4.0)
    circuit = import_circuit(saved(juice, root, tmp_path), (1, 4, 1))
    assert circuit.tree.pixels.tolist() == [2, 0, 1, 3] and circuit.tree.depths.tolist() == [0, 1, 2, 3]
    for image in images(5).reshape(5, -1)[:, :4]:
        assert nats(circuit, image) == pytest.approx(math.log(likelihoods(root, image).item()), abs=0.1)


def test_a_set_goes_there_and_back(juice: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(codec_module, "WEIGHTS", tmp_path / "weights")
    saved(juice, tree(juice), tmp_path)
    samples = np.concatenate([images(150), np.random.default_rng(1).integers(0, 256, (9, *SHAPE)).astype(np.uint8)])
    ImageSet(samples).save(tmp_path / "set.idx")
    assert invoke("train", "import-pyjuice", "model.jpc", "--width", "4", "--height", "4",
                  "-o", "weights/pj.safetensors").exit_code == 0
    assert invoke("encode", "set.idx", "--codec", "circuit-tree").exit_code == 0
    assert invoke("decode", "set.fwb", "-o", "back.idx").exit_code == 0
    assert (tmp_path / "back.idx").read_bytes() == (tmp_path / "set.idx").read_bytes()


def test_values_of_probability_0_can_be_coded(juice: Any, tmp_path: Path):
    root = tree(juice)
    for nodes in root:
        if nodes.is_input():
            nodes.set_params(torch.eye(256)[: nodes.num_nodes].contiguous())  # state n has the value n
    circuit = import_circuit(saved(juice, root, tmp_path), SHAPE)
    rows = conditionals(np.full(16, 200, np.uint8), Probabilities.of(circuit))
    assert rows[0, :8].sum() == pytest.approx(1, abs=1e-6) and rows.min() > 0
    assert circuit_bits(np.full((1, *SHAPE), 200, np.uint8), circuit.compiled()) < 16 * 25


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"input_node_params": {"num_cats": 10}}, "over 256 values"),
    ({"num_root_ns": 8}, "8 roots"),
    ({"states": 512}, "512 states"),
])
def test_trees_of_other_kinds_are_refused(juice: Any, arguments: dict[str, Any], sentence: str, tmp_path: Path):
    with pytest.raises(InputError, match=sentence):
        import_circuit(saved(juice, tree(juice, **arguments), tmp_path), SHAPE)


def test_other_structures_are_refused(juice: Any, tmp_path: Path):
    def inputs(variable: int, states: int = 2) -> "CircuitNodes":
        return juice.inputs(variable, num_node_blocks=states, dist=juice.distributions.Categorical(num_cats=256))

    def joined(*below: "CircuitNodes", **arguments: Any) -> "CircuitNodes":
        return juice.summate(juice.multiply(*below, **arguments), num_node_blocks=1)

    def refused(root: "CircuitNodes", sentence: str) -> None:
        root.init_parameters()
        with pytest.raises(InputError, match=sentence):
            import_circuit(saved(juice, root, tmp_path), (1, 2, 1))

    product = juice.multiply(inputs(0), inputs(1))
    gaussian = juice.inputs(1, num_node_blocks=2, dist=juice.distributions.Gaussian(mu=0.0, sigma=1.0))
    mixed = juice.summate(juice.multiply(inputs(1, 3)), num_node_blocks=2)
    hidden = [juice.summate(inputs(variable), num_node_blocks=2) for variable in (0, 1)]
    refused(joined(inputs(0), gaussian), "Categorical")
    refused(joined(inputs(0), mixed), "different numbers of states")
    refused(joined(*hidden), "without a pixel")
    refused(joined(inputs(0), inputs(1), edge_ids=torch.tensor([[0, 1], [1, 0]])), "belongs to one state")
    refused(juice.summate(product, juice.multiply(inputs(0), inputs(1)), num_node_blocks=1), "one hidden variable")
    refused(joined(inputs(0), inputs(2)), "samples of images of 2 x 1 x 1")
    refused(joined(inputs(0), inputs(1), inputs(2)), "its 3 variables")


def test_parameters_that_are_none_or_wrong_are_refused(juice: Any, tmp_path: Path):
    def refused(root: "CircuitNodes", sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            import_circuit(saved(juice, root, tmp_path), SHAPE)

    refused(juice.structures.HCLT(torch.rand(9, 16), num_latents=2), "without parameters")
    for wrong in (math.nan, -1.0, 2.0):
        root = tree(juice)
        next(nodes for nodes in root if nodes.is_input())._params[7] = wrong
        refused(root, "not probabilities")


@pytest.mark.parametrize("data", [b"", b"rubbish", pickle.dumps([]), pickle.dumps([{"type": "Input"}])],
                         ids=["nothing", "rubbish", "no nodes", "half a node"])
def test_files_that_are_no_circuits_are_refused(juice: Any, data: bytes, tmp_path: Path):
    (tmp_path / "model.jpc").write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as a circuit"):
        import_circuit(tmp_path / "model.jpc", SHAPE)
