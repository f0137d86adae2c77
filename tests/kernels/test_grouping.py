"""Sorting by table and escapes, against plain NumPy and Python."""

import numpy as np
import pytest

from fewbits.kernels import grouping

LOWS = np.array([-3, 10, -(2**31), 0], np.int32)
SIZES = np.array([8, 2, 5, 100], np.int32)  # escape included
OFFSETS = (np.cumsum(SIZES) - SIZES).astype(np.int64)
EDGES = np.array([-(2**31), -(2**31) + 3, -(2**31) + 4, -4, -3, 0, 3, 4, 9, 10, 11, 98, 99, 2**31 - 1], np.int32)


def random_group(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    symbols = np.where(rng.random(count) < 0.5, rng.integers(-6, 110, count), rng.choice(EDGES, count))
    return symbols.astype(np.int32), rng.integers(len(LOWS), size=count).astype(np.uint16)


def is_escaped(symbols: np.ndarray, index: np.ndarray) -> np.ndarray:
    entries = symbols.astype(np.int64) - LOWS[index]
    return (entries < 0) | (entries >= SIZES[index] - 1)


def varint(symbol: int) -> bytes:
    value = 2 * symbol if symbol >= 0 else -2 * symbol - 1
    out = []
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def starts_of(index: np.ndarray) -> np.ndarray:
    counts = grouping.count_tables(index, len(LOWS))
    assert np.array_equal(counts, np.bincount(index, minlength=len(LOWS)))
    return np.cumsum(counts) - counts


@pytest.mark.parametrize("count", [0, 1, 3, 1000])
def test_group_and_back(count: int) -> None:
    symbols, index = random_group(count, count)
    escaped = is_escaped(symbols, index)
    expected = np.where(escaped, SIZES[index] - 1, symbols.astype(np.int64) - LOWS[index])
    starts = starts_of(index)
    entries, escapes = grouping.group(symbols, index, LOWS, SIZES, starts)
    assert np.array_equal(entries, expected[np.argsort(index, kind="stable")])
    assert escapes == escaped.sum()

    data = grouping.write_escapes(symbols, index, LOWS, SIZES, escapes)
    assert data.tobytes() == b"".join(varint(s) for s in symbols[escaped].tolist())
    padded = np.concatenate([np.full(3, 255, np.uint8), data])
    back, end = grouping.ungroup(entries, index, LOWS, SIZES, starts, padded, 3)
    assert np.array_equal(back, symbols)
    assert end == len(padded)


def test_every_edge_in_every_table() -> None:
    symbols = np.tile(EDGES, len(LOWS))
    index = np.repeat(np.arange(len(LOWS)), len(EDGES)).astype(np.uint16)
    starts = starts_of(index)
    entries, escapes = grouping.group(symbols, index, LOWS, SIZES, starts)
    data = grouping.write_escapes(symbols, index, LOWS, SIZES, escapes)
    back, end = grouping.ungroup(entries, index, LOWS, SIZES, starts, data, 0)
    assert np.array_equal(back, symbols)
    assert end == len(data)


@pytest.mark.parametrize(("data", "status"), [
    (b"", grouping.CUT_SHORT),
    (b"\xff\xff", grouping.CUT_SHORT),
    (b"\x80\x00", grouping.WRONG),  # not the shortest form
    (b"\xff\xff\xff\xff\x10", grouping.WRONG),  # 33 bits
    (b"\xff\xff\xff\xff\xff\x01", grouping.WRONG),
    (b"\x04", grouping.WRONG),  # 2, which the table covers
])
def test_malformed_escapes(data: bytes, status: int) -> None:
    index = np.zeros(1, np.uint16)
    entries = np.array([SIZES[0] - 1], np.int32)
    _, end = grouping.ungroup(entries, index, LOWS, SIZES, starts_of(index), np.frombuffer(data, np.uint8), 0)
    assert end == status


def test_total_bits() -> None:
    symbols, index = random_group(7, 500)
    lengths = np.random.default_rng(8).uniform(0, 24, SIZES.sum())
    escaped = is_escaped(symbols, index)
    entries = np.where(escaped, SIZES[index] - 1, symbols.astype(np.int64) - LOWS[index])
    expected = lengths[OFFSETS[index] + entries].sum() + 8 * sum(len(varint(s)) for s in symbols[escaped].tolist())
    assert grouping.total_bits(symbols, index, LOWS, SIZES, OFFSETS, lengths) == pytest.approx(expected, rel=1e-12)
