"""Metrics of films against the same computed plainly."""

import math
from fractions import Fraction

import numpy as np
import pytest

from fewbits.codecs.colour import Colour, to_planes, to_rgb
from fewbits.codecs.film import Video
from fewbits.errors import FewbitsError
from fewbits.eval import metrics
from fewbits.eval.video_metrics import PERFECT, VIDEO_METRICS, VideoMetric, ceiling, compare


def decibels(a, b):
    return 10 * math.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def blurred(film):
    """A film of lower quality."""
    samples = film.samples.astype(np.uint16)
    return Video(((samples + np.roll(samples, 1, axis=2)) // 2).astype(np.uint8), film.rate, film.colour)


def test_psnr_is_the_mean_of_that_of_the_frames(make_film):
    film = make_film()
    decoded = blurred(film)
    decoded.samples[3:] //= 2  # much worse
    values, exact = compare(film, decoded, ["psnr"])
    assert values["psnr"] == pytest.approx(np.mean([decibels(*pair) for pair in zip(film.samples, decoded.samples,
                                                                                     strict=True)]))
    assert values["psnr"] != pytest.approx(decibels(film.samples, decoded.samples), abs=0.1) and not exact


@pytest.mark.parametrize("colour", [Colour(), Colour("bt709", True)], ids=str)
@pytest.mark.parametrize("size", [(48, 34), (37, 25)])
def test_psnr_of_yuv_is_that_of_the_planes(colour, size, make_film):
    film = make_film(*size, colour=colour)
    decoded = blurred(film)
    expected = []
    for a, b in zip(film.samples, decoded.samples, strict=True):
        y, u, v = (decibels(p, q) for p, q in zip(to_planes(a, colour), to_planes(b, colour), strict=True))
        expected.append((6 * y + u + v) / 8)
    assert compare(film, decoded, ["psnr_yuv"])[0]["psnr_yuv"] == pytest.approx(np.mean(expected))


def test_what_is_between_planes_does_not_count_in_yuv(make_film):
    """Whatever codes 4:2:0 without loss has no limit from the conversion."""
    film = make_film()
    planes = Video(np.stack([to_rgb(to_planes(f, film.colour), film.colour) for f in film.samples]), film.rate)
    values, _ = compare(film, planes, ["psnr", "psnr_yuv"])
    assert values["psnr"] < 45 and values["psnr_yuv"] > 65
    assert ceiling(film) == pytest.approx(values["psnr"])


def test_perfect_frames_count_as_100_decibels(make_film):
    film = make_film()
    values, exact = compare(film, film, ["psnr", "psnr_yuv"])
    assert values == {"psnr": PERFECT, "psnr_yuv": PERFECT} and exact
    decoded = Video(film.samples.copy(), film.rate)
    decoded.samples[0] = blurred(film).samples[0]
    values, exact = compare(film, decoded, ["psnr"])
    assert values["psnr"] == pytest.approx((decibels(film.samples[0], decoded.samples[0]) + 7 * PERFECT) / 8)
    assert not exact


def test_ms_ssim_is_the_mean_over_some_frames(make_film):
    film = make_film(170, 162, 40)
    decoded = blurred(film)
    seen = [number for number in range(40) if VIDEO_METRICS["ms_ssim"].looks_at(number, 40)]
    assert seen == [*range(1, 40, 3)]
    expected = np.mean([metrics.ms_ssim(film.samples[n], decoded.samples[n]) for n in seen])
    assert compare(film, decoded, ["ms_ssim"])[0]["ms_ssim"] == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 100, 132, 9999])
def test_slow_metrics_look_at_few_frames_and_at_one_at_least(count):
    metric = VideoMetric("", lambda a, b, c: 0.0, frames=16)
    seen = [number for number in range(count) if metric.looks_at(number, count)]
    assert 1 <= len(seen) <= 16 and len(seen) >= min(count, 6)
    assert all(step % 2 for step in np.diff(seen))


def test_small_frames_have_no_ms_ssim(make_film):
    film = make_film(200, 160)
    assert compare(film, blurred(film), ["psnr", "ms_ssim"])[0]["ms_ssim"] is None


def test_one_pass_is_made_over_both(make_film, monkeypatch):
    film, decoded, passes = make_film(), blurred(make_film()), []
    for each in (film, decoded):
        monkeypatch.setattr(each, "frames", lambda each=each: passes.append(each) or iter(each.samples))
    compare(film, decoded, ["psnr", "psnr_yuv", "ms_ssim"])
    assert passes == [film, decoded]


@pytest.mark.parametrize("other", [(48, 34, 7), (48, 36, 8), (46, 34, 8)])
def test_films_of_other_sizes_are_no_answer(other, make_film):
    with pytest.raises(FewbitsError, match="8 frames of 48 x 34 pixels came back as"):
        compare(make_film(), make_film(*other), ["psnr"])


def test_scales_are_those_of_pictures():
    assert VIDEO_METRICS["ms_ssim"].scale(0.99) == pytest.approx(20) and VIDEO_METRICS["psnr_yuv"].scale(30) == 30


def test_the_ceiling_of_grey_is_high():
    grey = Video(np.full((2, 4, 4, 3), 128, np.uint8), Fraction(25))
    assert ceiling(grey) > 48
