import math

import numpy as np
import pytest

from fewbits.errors import InputError
from fewbits.eval.medium import less_is_better
from fewbits.eval.metrics import METRICS, metric, ms_ssim, psnr, vif


def test_psnr_of_a_known_error():
    source = np.full((20, 30, 3), 100, np.uint8)
    assert psnr(source, source + 5) == pytest.approx(10 * math.log10(255**2 / 25), abs=1e-9)


def test_psnr_averages_the_error_over_the_picture_before_the_logarithm():
    source = np.zeros((2, 2, 3), np.uint8)
    decoded = source.copy()
    decoded[0, 0, 0] = 12
    assert psnr(source, decoded) == pytest.approx(10 * math.log10(255**2 / (144 / 12)), abs=1e-9)


def test_psnr_of_extremes_does_not_wrap_around():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == pytest.approx(0)


def test_psnr_of_equal_pictures_is_infinite():
    source = np.zeros((4, 4, 3), np.uint8)
    assert psnr(source, source) == math.inf


def test_ms_ssim_is_one_for_equal_pictures_and_what_the_library_says_for_others():
    import pytorch_msssim
    import torch

    random = np.random.default_rng(0)
    source = random.integers(0, 256, (170, 161, 3), dtype=np.uint8)
    decoded = (source * 0.8 + random.integers(0, 50, source.shape)).astype(np.uint8)
    assert ms_ssim(source, source) == pytest.approx(1, abs=1e-6)
    tensors = [torch.from_numpy(p.astype(np.float32)).permute(2, 0, 1)[None] for p in (source, decoded)]
    assert ms_ssim(source, decoded) == pytest.approx(float(pytorch_msssim.ms_ssim(*tensors, data_range=255)), abs=1e-5)


def test_ms_ssim_of_a_small_picture_is_none():
    source = np.zeros((160, 400, 3), np.uint8)
    assert ms_ssim(source, source) is None


def test_scale_of_ms_ssim_is_decibel_and_finite():
    assert METRICS["ms_ssim"].scale(0.99) == pytest.approx(20)
    assert METRICS["ms_ssim"].scale(1.0) == pytest.approx(70)


def test_unknown_metric_names_those_that_exist():
    with pytest.raises(InputError, match=r"'vmaf'.*psnr, ms_ssim"):
        metric("vmaf")


BY_PIQ = ("gmsd", "fsim", "vif", "haarpsi", "mdsi")


@pytest.mark.parametrize("name", BY_PIQ)
def test_equal_pictures_are_best_and_noise_is_worse(name, make_picture):
    pytest.importorskip("piq", reason="piq, of the extra metrics, is not installed")
    source = make_picture(64, 48).pixels
    noise = np.random.default_rng(0).normal(0, 1, source.shape)
    best, good, bad = (METRICS[name].compute(source, (source + deviation * noise).clip(0, 255).astype(np.uint8))
                       for deviation in (0, 5, 25))
    assert best == pytest.approx(0 if less_is_better(name) else 1, abs=1e-4)
    scale = METRICS[name].scale
    assert scale(best) > scale(good) > scale(bad)


@pytest.mark.parametrize("name", BY_PIQ)
def test_values_are_those_of_the_library(name, make_picture):
    piq = pytest.importorskip("piq", reason="piq, of the extra metrics, is not installed")
    import torch

    source = make_picture(70, 51).pixels
    decoded = (source * 0.8 + 20).astype(np.uint8)
    x, y = (torch.from_numpy(pixels / 255).permute(2, 0, 1)[None] for pixels in (decoded, source))
    expected = getattr(piq, "vif_p" if name == "vif" else name)(x, y)
    assert METRICS[name].compute(source, decoded) == pytest.approx(float(expected), abs=1e-4)


def test_a_gain_in_contrast_shows_which_picture_vif_takes_as_the_source(make_picture):
    pytest.importorskip("piq", reason="piq, of the extra metrics, is not installed")
    source = make_picture(64, 48).pixels
    dull = (source * 0.7 + 38).astype(np.uint8)
    assert vif(source, dull) < 1 < vif(dull, source)


@pytest.mark.parametrize("name", BY_PIQ)
def test_pictures_too_small_for_the_metrics_by_piq_have_none(name):
    source = np.zeros((40, 400, 3), np.uint8)
    assert METRICS[name].compute(source, source) is None


def test_where_less_is_better():
    assert {name for name in METRICS if less_is_better(name)} == {"gmsd", "mdsi", "features"}
