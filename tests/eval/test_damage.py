"""Damage on purpose, and the map of a picture's bits."""

import numpy as np
import pytest

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image
from fewbits.errors import InputError
from fewbits.eval.damage import WAYS, damaged
from fewbits.eval.heat import heat_map


@pytest.fixture
def data() -> bytes:
    """A lossless file of three tiles."""
    pixels = np.zeros((4, 2100, 1), np.uint8)
    pixels[:, ::7] = 200
    return files.encode(Image(pixels), "circuit", Target(effort=1)).data


@pytest.mark.parametrize("way", WAYS)
def test_damage_spares_the_header(data, way):
    broken = damaged(data, way, 0.2, seed=3)
    assert broken != data
    header = files.info(data)["header_bytes"]
    assert broken[:header] == data[:header]
    assert damaged(data, way, 0.2, seed=3) == broken
    assert damaged(data, way, 0) == data


def test_one_section_at_least_is_lost(data):
    assert files.decode(damaged(data, "erase", 0.01), allow_damage=True).damaged != []
    assert len(files.decode(damaged(data, "erase", 0.6), allow_damage=True).damaged) == 2


def test_what_cannot_be_done_is_an_input_error(data):
    with pytest.raises(InputError, match="flip, erase, cut"):
        damaged(data, "burn", 0.5)


def test_a_heat_map_has_the_size_of_the_picture():
    heat, top = heat_map(16, np.array([[0.0, 256.0], [16.0, 16.0]]), 20, 17)
    assert (heat.height, heat.width) == (17, 20)
    assert heat.pixels[0, 0].sum() < heat.pixels[16, 0].sum() < heat.pixels[0, 19].sum()
    assert 1 < top <= 4
