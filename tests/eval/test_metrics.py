import math

import numpy as np
import pytest

from fewbits.errors import InputError
from fewbits.eval.metrics import METRICS, metric, ms_ssim, psnr


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
