"""Integers of variable length."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.entropy.varint import MAX_VALUE, read_varint, write_varint
from fewbits.errors import DamagedError, TruncatedError


@pytest.mark.parametrize(("value", "data"), [
    (0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (16383, "ff7f"), (16384, "808001"),
    (MAX_VALUE, "808080808020"),
])
def test_known_bytes(value: int, data: str) -> None:
    assert write_varint(value).hex() == data
    assert read_varint(bytes.fromhex(data), 0) == (value, len(data) // 2)


@given(st.integers(0, MAX_VALUE), st.binary(max_size=3), st.binary(max_size=3))
@settings(deadline=None)
def test_there_and_back(value: int, before: bytes, after: bytes) -> None:
    written = write_varint(value)
    assert read_varint(before + written + after, len(before)) == (value, len(before + written))
    for cut in range(len(written)):
        with pytest.raises(TruncatedError):
            read_varint(before + written[:cut], len(before))


@pytest.mark.parametrize("data", [
    "8000", "ff00", "808080808000", "818080808020", "ffffffffff7f", "80808080808001", "ff" * 9,
])
def test_other_forms_and_large_values_are_refused(data: str) -> None:
    with pytest.raises(DamagedError):
        read_varint(bytes.fromhex(data), 0)


@pytest.mark.parametrize("value", [-1, MAX_VALUE + 1])
def test_values_out_of_range_are_not_written(value: int) -> None:
    with pytest.raises(ValueError, match="varint"):
        write_varint(value)
