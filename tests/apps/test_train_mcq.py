"""The recipe of `mcq` with a budget of next to nothing."""

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.mcq import codec as codec_module
from fewbits.codecs.image.mcq.codec import McqCodec
from fewbits.codecs.image.mcq.model import McqModel
from fewbits.codecs.image.mcq.quantiser import ScaleQuantiser
from fewbits.codecs.media import Image
from fewbits.eval.metrics import psnr

pytest.importorskip("tensorboard", reason="training needs fewbits[train]")

from fewbits.apps.train import hyperprior as hyperprior_recipe
from fewbits.apps.train import hyperprior_export, mcq
from fewbits.apps.train.hyperprior_export import export
from fewbits.apps.train.mcq_export import codebooks_of

NARROW = HyperpriorConfig(transform_hidden=128, low_hidden=64, high_hidden=64, high_multiplier=1)


def photo(generator: np.random.Generator) -> np.ndarray:
    rough = generator.integers(0, 256, (13, 13, 3), dtype=np.uint8)
    return np.asarray(PillowImage.fromarray(rough).resize((128, 128), PillowImage.Resampling.BICUBIC))


@pytest.mark.usefixtures("hyperprior_weights")
def test_a_run_begins_with_a_narrower_hyperprior_and_ends_in_weights_that_code_pictures(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    for number in range(2):
        PillowImage.fromarray(photo(generator)).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(mcq, "MCQ", NARROW)
    monkeypatch.setattr(mcq, "MEASURED", 4)
    for module in (hyperprior_recipe, hyperprior_export):
        monkeypatch.setattr(module, "VALIDATION_QUALITIES", (50.0,))
    run, weights = tmp_path / "run", tmp_path / "mcq.safetensors"
    hyperprior_recipe.train(tmp_path, run, hyperprior_recipe.Schedule(0.01, batch=2, crop=64), begin=mcq.begin,
                            report=lambda line: None)
    export(run, tmp_path, weights, lambda line: None, McqModel, codebooks_of)
    assert "`fewbits train mcq`" in weights.with_suffix(".md").read_text()
    monkeypatch.setattr(codec_module, "WEIGHTS", weights)
    codec, pixels = McqCodec(), photo(generator)
    stream = codec.encode(Image(pixels), Target(quality=80.0))
    decoded = codec.decode(stream, {"height": 128, "width": 128, "channels": 3, "bits": 8})
    assert psnr(decoded.pixels, pixels) > 30


def test_codebooks_begin_as_rounding_and_learn():
    quantiser = ScaleQuantiser()
    scales = torch.randint(0, 40, (5000,), generator=torch.Generator().manual_seed(0))
    residuals = (torch.randn(5000, generator=torch.Generator().manual_seed(1)) * 0.3).requires_grad_()
    quantised, bits = quantiser.eval()(residuals.detach(), scales)
    assert torch.allclose(quantised, quantised.round(), atol=1e-5) and bits > 0
    assert (quantised - residuals).abs().max() < 1.5
    quantised, _ = quantiser.train()(residuals, scales)
    quantised.square().sum().backward()
    assert residuals.grad.any()
    assert sum(book.grad is not None and bool(book.grad.any()) for book in quantiser.codebooks) > 10


def test_shares_follow_what_is_used():
    quantiser = ScaleQuantiser().train()
    zeros, scales = torch.zeros(4000), torch.full((4000,), 10)
    before = quantiser.shares(10)[0].item()
    for _ in range(50):
        quantiser(zeros, scales)
    assert quantiser.shares(10)[0].item() > before
    assert quantiser.shares(10).sum().item() == pytest.approx(1, abs=1e-4)
