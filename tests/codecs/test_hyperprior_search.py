"""The search for better latents in `hyperprior`, as effort 7 and more use it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior import latent_search
from fewbits.codecs.image.hyperprior import picture as picture_module
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.model import lambda_of
from fewbits.codecs.media import Image


def encoded(pixels: np.ndarray, quality: float = 40.0, effort: int = 7, **target) -> bytes:
    return files.encode(Image(pixels), target=Target(quality=quality, effort=effort, **target)).data


def cost(data: bytes, pixels: np.ndarray, quality: float) -> float:
    """`lambda * MSE + bits per pixel` of a file."""
    error = np.square(files.decode(data).image.pixels - pixels.astype(float)).mean()
    trade_off = float(lambda_of(torch.tensor(quality), HyperpriorConfig()))
    return trade_off * error + 8 * len(data) / (pixels.shape[0] * pixels.shape[1])


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many steps a search takes."""
    return lambda count: monkeypatch.setattr(latent_search, "STEPS", count)


@pytest.mark.parametrize("quality", [10.0, pytest.param(50.0, marks=pytest.mark.slow)])
def test_a_search_finds_latents_that_cost_less(photo, quality):
    pixels = photo[:96, :128]
    searched, given = (encoded(pixels, quality, effort) for effort in (7, 6))
    assert len(searched) < len(given)
    assert cost(searched, pixels, quality) < cost(given, pixels, quality)


@pytest.mark.parametrize("size", [(1, 1), (17, 31), (96, 40)])
@pytest.mark.parametrize("tile", [128, 8])
def test_any_size_and_several_tiles(smooth, steps, monkeypatch, size, tile):
    """Tiles of 64 pixels, so that some sides are borders of the picture and others are not."""
    monkeypatch.setattr(picture_module, "TILE", tile)
    steps(2)
    pixels = smooth(*size)
    decoded = files.decode(encoded(pixels, 90.0)).image.pixels
    assert decoded.shape == pixels.shape
    assert np.abs(decoded - pixels.astype(int)).mean() < 6


def test_it_repeats_and_leaves_random_numbers_alone(smooth, steps):
    steps(3)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = encoded(smooth(40, 56))
    assert torch.equal(torch.rand(1), expected) and torch.is_grad_enabled()
    torch.rand(7)
    assert encoded(smooth(40, 56)) == first


def test_it_shows_progress(smooth, steps, monkeypatch):
    monkeypatch.setattr(picture_module, "TILE", 8)
    steps(2)
    shares = []
    files.encode(Image(smooth(64, 128)), target=Target(effort=7),
                 progress=lambda share, what: shares.append(share) if what == "searching latents" else None)
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("target", [{"size": 900}, {"psnr": 30.0}, {"tune": "msssim"}])
def test_what_it_does_not_serve_is_coded_as_before(photo, target):
    image = Image(photo[:96, :128])
    assert (files.encode(image, target=Target(effort=7, **target)).data
            == files.encode(image, target=Target(effort=6, **target)).data)
