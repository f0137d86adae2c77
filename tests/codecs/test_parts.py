"""Small parts that codecs share: tiles, the search for a target, opacity."""

import zlib

import numpy as np
import pytest

from fewbits.codecs import files
from fewbits.codecs.codec import Stream, Target, between, part_of
from fewbits.codecs.image.alpha import decode_alpha, encode_alpha
from fewbits.codecs.image.hyperprior.codec import HyperpriorCodec
from fewbits.codecs.media import Image
from fewbits.codecs.search import highest_within
from fewbits.codecs.spans import spans
from fewbits.errors import DamagedError, InputError


@pytest.mark.parametrize("size", [1, 127, 128, 129, 300, 512])
def test_spans_cover_the_axis_once(size):
    covered = np.zeros(size, int)
    for span in spans(size, 128, 8):
        covered[span.core] += 1
        line = np.arange(size)[span.outer]
        assert np.array_equal(line[span.inner], np.arange(span.start, span.stop))
        assert span.outer_start == max(span.start - 8, 0)
        assert span.outer_stop == min(span.stop + 8, size)
        assert span.at_start == (span.outer_start == 0)
        assert span.at_end == (span.outer_stop == size)
    assert (covered == 1).all()


@pytest.mark.parametrize("limit", [0.5, 1.01, 3.7, 29.9, 1e9])
@pytest.mark.parametrize("curve", [lambda q: 1.02**q, lambda q: 1 + q, lambda q: 1 + q**3 / 1000])
def test_search_finds_the_highest_setting_in_few_trials(limit, curve):
    tried = []

    def measure(setting: int) -> float:
        tried.append(setting)
        return curve(setting)

    found = highest_within(measure, limit, 0, 224, trials=12)
    possible = [q for q in range(225) if curve(q) <= limit]
    assert found == (possible[-1] if possible else None)
    assert len(tried) == len(set(tried)) <= 12


@pytest.mark.parametrize("shape", [(1, 1), (17, 31), (5, 1)])
def test_alpha_is_lossless(shape):
    alpha = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(decode_alpha(encode_alpha(alpha), *shape), alpha)


def test_full_opacity_takes_no_bytes():
    assert encode_alpha(np.full((512, 768), 255, np.uint8)) == b""
    assert (decode_alpha(b"", 512, 768) == 255).all()


@pytest.mark.parametrize("data", [b"junk", zlib.compress(bytes(99)), zlib.compress(bytes(101)),
                                  zlib.compress(bytes(100))[:-3], zlib.compress(bytes(100)) + b"x",
                                  zlib.compress(bytes(10_000_000))])
def test_wrong_alpha_is_an_error(data):
    with pytest.raises(DamagedError, match="opacity"):
        decode_alpha(data, 10, 10)


def test_parts_of_the_work_report_to_the_whole():
    said = []
    parts = [part_of(lambda *report: said.append(report), number, 3, "abc"[number]) for number in range(3)]
    for part in parts:
        between(part, 0.5, 1)(0, "coding")
        part(1, "done")
    assert [share for share, _ in said] == pytest.approx([1 / 6, 1 / 3, 3 / 6, 2 / 3, 5 / 6, 1])
    assert said[-1] == (1, "c: done")


@pytest.mark.parametrize("aims", [{"quality": 101}, {"quality": -1}, {"size": 0}, {"psnr": -3.0}, {"effort": 0},
                                  {"quality": 50, "psnr": 30}, {"bits_per_pixel": float("nan")}, {"tune": "ssim"}])
def test_senseless_targets_are_refused(aims):
    with pytest.raises(InputError):
        Target(**aims)


@pytest.mark.parametrize("codec", ["mcq", "compressai", "circuit"])
def test_codecs_that_cannot_be_tuned_say_so(codec):
    with pytest.raises(InputError, match=f"{codec} cannot be tuned for msssim"):
        files.encode(Image(np.zeros((8, 8, 3), np.uint8)), codec, Target(tune="msssim"))


@pytest.mark.parametrize(("aim", "size"), [({"size": 1000}, 1000), ({"bits_per_pixel": 8.0}, 20 * 30)])
def test_codecs_see_how_the_user_wants_it(monkeypatch, aim, size):
    """A rate for the file becomes one for the sections, and what else the user asks for stays."""
    targets = []

    class Listener(HyperpriorCodec):
        def encode(self, media: Image, target: Target, progress: object) -> Stream:
            targets.append(target)
            return Stream({"quality": 1}, [b"x"])

    monkeypatch.setattr(files.registry, "create", lambda name, device, weights=None: Listener())
    picture = Image(np.zeros((20, 30, 3), np.uint8))
    files.encode(picture, target=Target(effort=7, tune="msssim", keep_best=True, **aim))
    found = targets[0]
    assert (found.effort, found.tune, found.keep_best, found.bits_per_pixel) == (7, "msssim", True, None)
    assert 0 < size - found.size < 50
