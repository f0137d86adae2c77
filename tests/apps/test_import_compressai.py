"""Models that were trained with CompressAI: the same pictures and rates here, and files there and back."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.apps.train.compressai_import import import_weights
from fewbits.codecs import files
from fewbits.codecs.image.compressai.config import NAMES
from fewbits.codecs.image.compressai.weights import load_weights
from fewbits.codecs.media import Image
from fewbits.errors import FewbitsError, InputError

CLASSES = ("FactorizedPrior", "ScaleHyperprior", "MeanScaleHyperprior")


def run(*arguments: object) -> Result:
    """The command line; errors that `main` would turn into a sentence and an exit code are in `exception`."""
    return CliRunner().invoke(app, [str(a) for a in arguments])


def imported(checkpoint: Path) -> bytes:
    """The bytes of the weights file that a checkpoint becomes."""
    weights = checkpoint.with_name("imported.safetensors")
    import_weights(checkpoint).save(weights)
    return weights.read_bytes()


def trained_alike(network: Any) -> Any:
    """A network of CompressAI with random weights that give photos latents of several steps, with apt scales."""
    with torch.no_grad():
        network.g_a[6].weight *= 60
        network.g_s[0].weight /= 60
        network.entropy_bottleneck.quantiles[:, 0, 1].normal_(0, 0.7)
        for part, spread in ((network.entropy_bottleneck.biases, 0.5), (network.entropy_bottleneck.factors, 0.3)):
            for parameter in part:
                parameter.normal_(0, spread)
        if hasattr(network, "h_a"):
            network.h_a[4].weight *= 30
            network.h_s[4].weight *= 6
            network.h_s[4].bias += 4
    return network.eval()


@pytest.mark.parametrize("name", CLASSES)
def test_a_model_codes_as_it_does_in_compressai(name: str, smooth_picture: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("compressai", reason="compressai, of the extra of this name, is not installed")
    import compressai.models

    torch.manual_seed(0)
    network = trained_alike(getattr(compressai.models, name)(16, 24))
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, tmp_path / "model.pth.tar")
    weights = tmp_path / "model.safetensors"
    import_weights(tmp_path / "model.pth.tar").save(weights)
    pixels = np.tile(smooth_picture, (4, 4, 1))
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    transforms = load_weights(weights, "cpu").transforms
    with torch.no_grad():
        expected = network(image)
        latents = network.g_a(image)
        assert (transforms.g_a(image) - latents).abs().max() < 1e-4
        assert (transforms.g_s(latents) - network.g_s(latents)).abs().max() < 1e-4
    encoded = files.encode(Image(pixels), "compressai", weights=weights)
    bits = -sum(torch.log2(likelihoods).sum() for likelihoods in expected["likelihoods"].values()).item()
    assert bits > 8000
    assert encoded.estimate_bits == pytest.approx(bits, rel=0.01)
    assert 8 * len(encoded.data) == pytest.approx(bits, rel=0.01, abs=8 * 60)
    decoded = files.decode(encoded.data, weights=weights).image.pixels
    samples = 255 * expected["x_hat"][0].clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(decoded - samples).max() < 1


@pytest.mark.parametrize("architecture", NAMES)
def test_a_checkpoint_gives_one_weights_file_whatever_its_tensors_are_called(
    architecture: str, compressai_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint = compressai_checkpoint(architecture)
    expected = imported(checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    first_names = {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"}
    renamed = {}
    for name, value in state.items():
        for new, old in first_names.items():
            name = name.replace(f"entropy_bottleneck.{new}", f"entropy_bottleneck.{old}")
        renamed[f"module.{name}"] = value
    torch.save({"state_dict": renamed}, tmp_path / "renamed.pth.tar")
    assert imported(tmp_path / "renamed.pth.tar") == expected == imported(checkpoint)


def test_the_commands_go_there_and_back(
    compressai_checkpoint: Callable[..., Path], smooth_png: Path, tmp_path: Path
) -> None:
    result = run("train", "import-compressai", compressai_checkpoint("mbt2018-mean"))
    weights = tmp_path / "mbt2018-mean-0.safetensors"
    assert result.exit_code == 0 and "mbt2018-mean," in result.output and weights.is_file()
    assert run("encode", smooth_png, "--codec", "compressai", "--weights", weights).exit_code == 0
    coded = tmp_path / "smooth.fwb"
    assert run("decode", coded, "--weights", weights, "-o", tmp_path / "back.png").exit_code == 0
    assert Image.open(tmp_path / "back.png").pixels.shape == Image.open(smooth_png).pixels.shape
    assert "PSNR" in run("verify", coded, "--weights", weights, "--against", smooth_png).output
    other = tmp_path / "other.safetensors"
    run("train", "import-compressai", compressai_checkpoint("mbt2018-mean", seed=1), "-o", other)
    for refused in (["decode", coded, "-y"], ["decode", coded, "--weights", other, "-y"], ["verify", coded],
                    ["encode", smooth_png, "--codec", "compressai", "-y"]):
        error = run(*refused).exception
        assert isinstance(error, FewbitsError) and error.exit_code == 4, refused
    error = run("encode", smooth_png, "--codec", "hyperprior", "--weights", weights, "-y").exception
    assert isinstance(error, InputError) and "leave out --weights" in str(error)


def test_a_list_of_codecs_names_it_but_evaluations_do_not_take_it(smooth_png: Path) -> None:
    assert "compressai" in run("codecs", "--json").output
    error = run("eval", smooth_png, "--codec", "compressai").exception
    assert isinstance(error, InputError) and "no codec 'compressai' for pictures" in str(error)


class Code:
    """What makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    content = {"state_dict": {"g_a.0.weight": torch.ones(1)}, "args": Code(tmp_path / "made")}
    torch.save(content, tmp_path / "model.pth.tar")
    with pytest.raises(InputError, match="perhaps code, which is not run"):
        import_weights(tmp_path / "model.pth.tar")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("data", [b"", b"rubbish", pickle.dumps([]), b"PK\x03\x04 and no more"])
def test_files_that_are_no_checkpoints_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(data)
    with pytest.raises(InputError, match="checkpoint"):
        import_weights(tmp_path / "model.pth")


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        import_weights(tmp_path / "none.pth")
    for content in ([torch.ones(2)], {"epoch": 3}, {"state_dict": [1]}):
        torch.save(content, tmp_path / "model.pth")
        with pytest.raises(InputError, match="no state dict"):
            import_weights(tmp_path / "model.pth")


@pytest.mark.parametrize("change, sentence", [
    ({"context_prediction.weight": torch.ones(1)}, "context model .*one position after the other.*mbt2018-mean"),
    ({"Gain": torch.ones(6)}, "none of bmshj2018-factorized, bmshj2018-hyperprior, mbt2018-mean"),
    ({"g_a.1.beta": None}, "none of"),
    ({"g_s.2.bias": None}, "see g_s.2.bias"),
    ({"g_a.8.weight": torch.ones(1)}, "see g_a.8.weight"),
    ({"g_a.0.weight": torch.ones(8, 4, 5, 5)}, "size mismatch"),
    ({"h_a.0.bias": torch.full((8,), torch.nan)}, "no numbers"),
    ({"entropy_bottleneck.quantiles": torch.zeros(9, 1, 3)}, "not for 8 channels"),
    ({"entropy_bottleneck.biases.3": None}, "lacks 'entropy_bottleneck.biases.3'"),
    ({"h_s.0.weight": torch.full((8, 8, 5, 5), 1e9)}, "exact|16 bits"),
])
def test_other_models_are_refused(
    change: dict[str, Any], sentence: str, compressai_checkpoint: Callable[..., Path]
) -> None:
    checkpoint = compressai_checkpoint("bmshj2018-hyperprior")
    state = torch.load(checkpoint, weights_only=True) | change
    torch.save({name: value for name, value in state.items() if value is not None}, checkpoint)
    with pytest.raises(InputError, match=sentence):
        import_weights(checkpoint)
