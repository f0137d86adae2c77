"""Palette planes: the compiled loops compute what the plain reference says, bit for bit, and decoding inverts them."""

import numpy as np
import pytest

from fewbits.codecs.image.circuit.palette import decode_numbers, encode_numbers
from fewbits.errors import DamagedError
from fewbits.kernels.ans import TOTAL
from fewbits.kernels.palette_circuit import MARGIN, code_row, fresh_state
from fewbits.kernels.palette_reference import PaletteReference


def patterned(height: int, width: int, values: int) -> np.ndarray:
    """(height, width) int32: stripes with some noise."""
    rng = np.random.default_rng(values)
    y, x = np.mgrid[:height, :width]
    noisy = rng.random((height, width)) < 0.1
    return np.where(noisy, rng.integers(0, values, (height, width)), (x // 3 + y // 2) % values).astype(np.int32)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (23, 37)])
@pytest.mark.parametrize("values", [2, 5, 256])
def test_equal_to_the_reference_and_back(shape, values):
    numbers = patterned(*shape, values)
    plane, intervals = np.pad(numbers, MARGIN), np.zeros(shape, np.uint64)
    state = fresh_state(values)
    for row, room in enumerate(intervals):
        code_row(plane, row + MARGIN, False, state, np.zeros(0, np.uint32), np.zeros(2, np.uint64), room)
    expected = PaletteReference(numbers, values).intervals()
    assert np.array_equal((intervals >> np.uint64(24)).astype(np.int64), expected[..., 0])
    assert np.array_equal((intervals & np.uint64(TOTAL - 1)).astype(np.int64), expected[..., 1])
    words, _ = encode_numbers(numbers, values, lambda share: None)
    assert np.array_equal(decode_numbers(words, values, *shape, lambda share: None), numbers)


def test_words_that_end_early_or_late_are_damage():
    words, _ = encode_numbers(patterned(30, 30, 7), 7, lambda share: None)
    for wrong in (words[:-1], words[1:], np.concatenate([words[:1], words]), words[:0]):
        with pytest.raises(DamagedError):
            decode_numbers(wrong, 7, 30, 30, lambda share: None)
