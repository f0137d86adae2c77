"""Reading and writing pictures of every kind that the codecs take."""

import io

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from fewbits.codecs import pillow_picture
from fewbits.codecs.media import Image
from fewbits.errors import InputError

GENERATOR = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return GENERATOR.integers(0, 256, shape, dtype=np.uint8)


def stored(picture: PillowImage.Image, format: str = "PNG", **options) -> io.BytesIO:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (17, 31)])
def test_png_round_trip(channels, size):
    pixels = noise(*size, channels)
    buffer = io.BytesIO()
    Image(pixels).save(buffer, "PNG")
    buffer.seek(0)
    assert np.array_equal(Image.open(buffer).pixels, pixels)


def test_sixteen_bit_grey_round_trip_and_rounding():
    pixels = np.array([[[0], [128], [129], [65535]]], np.uint16)
    buffer = io.BytesIO()
    Image(pixels).save(buffer, "PNG")
    buffer.seek(0)
    image = Image.open(buffer)
    assert image.bits == 16
    assert np.array_equal(image.pixels, pixels)
    assert image.eight_bit().ravel().tolist() == [0, 0, 1, 255]
    assert image.rgb().shape == (1, 4, 3)


def test_palettes_become_rgb_or_rgba():
    picture = PillowImage.fromarray(noise(9, 9, 3)).quantize(16)
    opened = Image.open(stored(picture))
    assert np.array_equal(opened.pixels, np.asarray(picture.convert("RGB")))
    transparent = Image.open(stored(picture, transparency=3))
    assert transparent.channels == 4
    assert np.array_equal(transparent.pixels[..., 3] == 0, np.asarray(picture) == 3)


def test_bilevel_becomes_grey():
    opened = Image.open(stored(PillowImage.fromarray(noise(8, 8) > 127)))
    assert opened.channels == 1
    assert set(np.unique(opened.pixels)) == {0, 255}


def test_exif_orientation_is_applied():
    pixels = noise(4, 6, 3)
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    opened = Image.open(stored(PillowImage.fromarray(pixels), exif=exif))
    assert np.array_equal(opened.pixels, np.rot90(pixels, -1))


def test_upright_pictures_are_not_copied():
    picture = PillowImage.open(stored(PillowImage.fromarray(noise(4, 6, 3))))
    assert pillow_picture.upright(picture)[0] is picture


def test_colour_profile_is_kept():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    opened = Image.open(stored(PillowImage.fromarray(noise(4, 4, 3)), icc_profile=profile))
    assert opened.icc_profile == profile
    buffer = io.BytesIO()
    opened.save(buffer, "PNG")
    buffer.seek(0)
    assert Image.open(buffer).icc_profile == profile


def test_bombs_are_refused_before_pixels_are_decoded():
    bomb = stored(PillowImage.new("1", (20000, 20000)))
    with pytest.raises(InputError, match="20000 x 20000 pixels, more than the limit"):
        Image.open(bomb)
    bomb.seek(0)
    assert Image.open(bomb, max_pixels=400_000_000).width == 20000


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_unreadable_input_is_an_input_error(content):
    with pytest.raises(InputError, match="picture"):
        Image.open(io.BytesIO(content))


def test_truncated_picture_is_an_input_error():
    whole = stored(PillowImage.fromarray(noise(64, 64, 3))).getvalue()
    with pytest.raises(InputError, match="cannot be read"):
        Image.open(io.BytesIO(whole[: len(whole) // 2]))


def test_missing_file_and_unknown_format():
    with pytest.raises(InputError, match="no file"):
        Image.open("/nonexistent/photo.png")
    with pytest.raises(InputError, match="cannot be written"):
        Image(noise(2, 2, 3)).save(io.BytesIO(), "NOFORMAT")


@pytest.mark.parametrize("pixels", [np.zeros((3, 3)), np.zeros((0, 3, 3), np.uint8), np.zeros((3, 3, 5), np.uint8),
                                    np.zeros((3, 3, 3), np.uint16)])
def test_arrays_that_are_no_picture(pixels):
    with pytest.raises(InputError):
        Image(pixels)
