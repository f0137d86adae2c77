"""Laplacians that every machine makes alike."""

import hashlib

import numpy as np

from fewbits.entropy.laplace import laplace_tables
from fewbits.entropy.tables import laplace_scale_tables


def test_tables_are_those_made_with_floats_but_for_their_rounding() -> None:
    tables, floats = laplace_tables("0.04", 4, 64), laplace_scale_tables(0.04 * 2 ** (np.arange(64) / 4))
    assert np.array_equal(tables.lows, floats.lows) and np.array_equal(tables.offsets, floats.offsets)
    for number in range(64):
        row, other = tables.table(number), floats.table(number)
        centre = -tables.lows[number]
        away = np.arange(len(row)) != centre
        assert np.abs(row - other)[away].max() <= 1 and abs(row[centre] - other[centre]) <= len(row)


def test_tables_are_the_same_for_ever() -> None:
    tables = laplace_tables("0.04", 4, 64)
    digest = hashlib.sha256(tables.frequencies.astype("<i4").tobytes() + tables.lows.astype("<i4").tobytes())
    assert digest.hexdigest() == "1ac1dea883ab46a450ad49f4d59a2568b71580e206d70ee40a653c17767e0887"
