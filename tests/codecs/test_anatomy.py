"""Where the bytes of files went."""

import numpy as np
import pytest

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image


@pytest.fixture
def data() -> bytes:
    """A lossless file with a colour profile and two tiles."""
    pixels = np.zeros((8, 1030, 3), np.uint8)
    pixels[:, :1000] = np.random.default_rng(0).integers(0, 256, (8, 1000, 3))
    return files.encode(Image(pixels, icc_profile=b"profile" * 9), "circuit", Target(effort=1)).data


def test_the_parts_are_all_of_the_file(data):
    parts = files.anatomy(data)
    assert sum(part.size for part in parts) == len(data)
    assert [part.name for part in parts] == ["magic, version, codec, form", "shape of the media",
                                             "settings of the codec", "lengths of the sections", "checksums",
                                             "colour profile", "section 1", "section 2"]
    assert all(part.intact for part in parts)


def test_of_a_cut_file_the_parts_are_what_is_there(data):
    parts = files.anatomy(data[:-3])
    assert sum(part.size for part in parts) == len(data) - 3
    assert [part.name for part in parts if not part.intact] == ["section 2"]


def test_bits_by_place_of_tiles(data):
    side, bits = files.bits_by_place(data)
    assert (side, bits.shape) == (1024, (1, 2))
    assert bits[0, 0] > 100 * bits[0, 1] > 0
