import io

import numpy as np
import PIL.Image
import pytest

from fewbits.codecs.media import Image
from fewbits.errors import InputError
from fewbits.eval.anchors import ANCHORS
from fewbits.eval.metrics import psnr

LOSSY = [a for a in ANCHORS.values() if not a.lossless]
LOSSLESS = [a for a in ANCHORS.values() if a.lossless]


def ids(anchors):
    return [a.name for a in anchors]


def test_the_names_of_the_plan_exist():
    assert set(ANCHORS) == {"jpeg", "webp", "avif", "avif-psnr", "jxl", "png", "webp-lossless", "jxl-lossless"}


@pytest.mark.parametrize("anchor", ANCHORS.values(), ids=ids(ANCHORS.values()))
def test_the_spread_has_five_settings_or_more_in_range(anchor):
    assert len(set(anchor.settings)) >= 5
    assert min(anchor.settings) >= anchor.low and max(anchor.settings) <= anchor.high


@pytest.mark.parametrize("anchor", LOSSY, ids=ids(LOSSY))
def test_higher_settings_give_larger_files_and_better_pictures(anchor, make_picture):
    image = make_picture(96, 80)
    files = [anchor.encode(image, setting) for setting in (anchor.settings[0], 50, anchor.settings[-1])]
    quality = [psnr(image.rgb(), anchor.decode(file).rgb()) for file in files]
    assert len(files[0]) < len(files[1]) < len(files[2])
    assert 15 < quality[0] < quality[1] < quality[2]


@pytest.mark.parametrize("anchor", LOSSY, ids=ids(LOSSY))
@pytest.mark.parametrize("end", ["low", "high"])
def test_the_ends_of_the_range_work(anchor, end, make_picture):
    image = make_picture(40, 33)
    assert anchor.decode(anchor.encode(image, getattr(anchor, end))).rgb().shape == (33, 40, 3)


def test_jpeg_xl_at_100_is_exact(make_picture):
    image = make_picture(40, 33)
    assert np.array_equal(ANCHORS["jxl"].decode(ANCHORS["jxl"].encode(image, 100)).pixels, image.pixels)


@pytest.mark.parametrize("anchor", LOSSLESS, ids=ids(LOSSLESS))
@pytest.mark.parametrize("channels", [3, 4])
def test_lossless_anchors_return_every_sample(anchor, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (21, 34, channels), dtype=np.uint8)
    for setting in (anchor.low, anchor.high):
        assert np.array_equal(anchor.decode(anchor.encode(Image(pixels), setting)).pixels, pixels)


@pytest.mark.parametrize("name", ["png", "jxl-lossless"])
def test_sixteen_bit_grey_survives_where_the_format_holds_it(name):
    pixels = np.random.default_rng(0).integers(0, 65536, (21, 34, 1), dtype=np.uint16)
    decoded = ANCHORS[name].decode(ANCHORS[name].encode(Image(pixels), 5))
    assert decoded.bits == 16 and np.array_equal(decoded.pixels, pixels)


@pytest.mark.parametrize("anchor", LOSSY, ids=ids(LOSSY))
@pytest.mark.parametrize("channels, dtype", [(1, np.uint8), (1, np.uint16), (2, np.uint8), (4, np.uint8)])
def test_every_layout_can_be_coded(anchor, channels, dtype):
    slope = np.linspace(0, np.iinfo(dtype).max, 48 * 48).reshape(48, 48, 1).astype(dtype)
    image = Image(np.repeat(slope, channels, axis=2))
    assert psnr(image.rgb(), anchor.decode(anchor.encode(image, 90)).rgb()) > 30


def test_tune_reaches_the_encoder(make_picture):
    image = make_picture(128, 128)
    assert ANCHORS["avif"].encode(image, 60) != ANCHORS["avif-psnr"].encode(image, 60)


def test_jpeg_is_progressive_with_halved_colour(make_picture):
    with PIL.Image.open(io.BytesIO(ANCHORS["jpeg"].encode(make_picture(40, 33), 50))) as file:
        assert file.info.get("progressive")
        assert [layer[1:3] for layer in file.layer] == [(2, 2), (1, 1), (1, 1)]


def test_the_colour_profile_is_part_of_the_file(make_picture):
    image = make_picture(40, 33)
    with_profile = Image(image.pixels, icc_profile=b"\0" * 500)
    assert ANCHORS["png"].decode(ANCHORS["png"].encode(with_profile, 9)).icc_profile == with_profile.icc_profile


def test_a_picture_that_the_format_cannot_hold_is_refused():
    wide = Image(np.zeros((1, 20000, 3), np.uint8))
    with pytest.raises(InputError, match=r"20000 x 1.*as webp"):
        ANCHORS["webp"].encode(wide, 50)
