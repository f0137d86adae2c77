"""The recipe of `hyperprior` with a model and a budget of next to nothing: a run, and one that goes on from its
weights and is tuned for MS-SSIM."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.weights import load_weights
from fewbits.errors import InputError, WeightsError

pytest.importorskip("tensorboard", reason="training needs fewbits[train]")

from fewbits.apps.train import hyperprior as recipe
from fewbits.apps.train import hyperprior_export
from fewbits.apps.train.hyperprior_export import export

SMALL = HyperpriorConfig(transform_hidden=8, analysis_blocks=1, synthesis_blocks=1, hyper_channels=8, hyper_latents=4,
                         low_hidden=8, low_multiplier=1, high_hidden=8, high_multiplier=1)
BRIEF = recipe.Schedule(minutes=0.02, batch=1, crop=64, warmup=1)


@pytest.fixture(scope="module", autouse=True)
def small():
    """A small model that is validated at few qualities."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "HyperpriorConfig", lambda: SMALL)
        for module in (recipe, hyperprior_export):
            patch.setattr(module, "VALIDATION_QUALITIES", (0.0, 50.0, 100.0))
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(2):
        rough = generator.integers(0, 256, (13, 13, 3), dtype=np.uint8)
        PillowImage.fromarray(rough).resize((192, 192), PillowImage.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def weights(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of a finished run."""
    run = tmp_path_factory.mktemp("run")
    recipe.train(photos, run, BRIEF, report=lambda line: None)
    export(run, photos, run / "hyperprior.safetensors", report=lambda line: None)
    return run / "hyperprior.safetensors"


def test_a_run_goes_on_from_weights_and_is_tuned_for_ms_ssim(weights, photos, tmp_path):
    schedule = recipe.schedule(0.02, "msssim", weights)
    assert (schedule.batch, schedule.crop) == (4, 192)
    assert schedule.muon_rate < BRIEF.muon_rate
    recipe.train(photos, tmp_path, schedule, start=weights, report=lambda line: None)
    tuned = tmp_path / "hyperprior-msssim.safetensors"
    export(tmp_path, photos, tuned, report=lambda line: None)
    card = tuned.with_suffix(".md").read_text()
    assert load_weights(weights, "cpu").identity.hex() in card
    assert "ms_ssim" in card
    assert load_weights(tuned, "cpu").model.config == SMALL


def test_distortions_grow_with_the_error_and_lead_back():
    source = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(1))
    quality = torch.tensor([0.0, 100.0])
    for distortion in recipe.DISTORTIONS.values():
        values = [distortion(source, source + level * noise, quality) for level in (1e-3, 1e-2, 1e-1)]
        assert all((low < high).all() for low, high in pairwise(values))
        decoded = (source + 0.01 * noise).requires_grad_()
        distortion(decoded, source, quality).sum().backward()
        assert torch.isfinite(decoded.grad).all() and decoded.grad.any()


def test_what_cannot_be_trained_on_is_refused(photos, tmp_path):
    with pytest.raises(InputError, match="300 x 300"):
        recipe.train(photos, tmp_path, recipe.Schedule(minutes=0.01, crop=300))
    with pytest.raises(WeightsError, match="cannot be used"):
        recipe.train(photos, tmp_path, BRIEF, start=photos / "0.png")
