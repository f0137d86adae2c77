"""Integer tables: what they promise, how they are built, and that constriction uses the very same integers."""

import math

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.entropy.tables import (
    MAX_REACH,
    SymbolTables,
    factorised_tables,
    gaussian_scale_tables,
    laplace_scale_tables,
    logistic_scale_tables,
    quantised,
    shifted_laplace_tables,
)
from fewbits.kernels import rans
from fewbits.kernels.ans import START, TOTAL

SCALES = np.array([0.01, 0.04, 0.3, 1.0, 7.0, 150.0, 5000.0])
CUMULATIVE = {  # distribution functions, far from their tails
    gaussian_scale_tables: lambda x, s: 0.5 * (1 + math.erf(x / s / math.sqrt(2))),
    laplace_scale_tables: lambda x, s: 0.5 * math.exp(x / s) if x < 0 else 1 - 0.5 * math.exp(-x / s),
    logistic_scale_tables: lambda x, s: 0.5 * (1 + math.tanh(x / s / 2)),
}


def two_tables() -> SymbolTables:
    return SymbolTables.from_frequencies([np.array([5, TOTAL - 7, 1, 1]), np.array([TOTAL // 2] * 2)], [-1, 40])


def test_what_a_table_covers() -> None:
    both = two_tables()
    assert len(both) == 2
    assert (both.lows.tolist(), both.highs.tolist(), both.sizes.tolist()) == ([-1, 40], [1, 40], [4, 2])
    assert both.table(1).tolist() == [TOTAL // 2] * 2


def test_arrays_there_and_back() -> None:
    arrays = two_tables().to_arrays()
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.int32)}
    again = SymbolTables.from_arrays(arrays).to_arrays()
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


@pytest.mark.parametrize("change", [
    {"frequencies": [5, TOTAL - 7, 1, 2, TOTAL // 2, TOTAL // 2]},  # sum
    {"frequencies": [5, TOTAL - 6, 1, 0, TOTAL // 2, TOTAL // 2]},  # an entry without probability
    {"frequencies": [5, TOTAL - 7, 1, 1, TOTAL + 1, -1]},
    {"offsets": [0, 4, 5]},
    {"offsets": [0, 5, 6]},
    {"offsets": [0, 7, 6]},
    {"offsets": [1, 4, 6]},
    {"offsets": [0, 6]},
    {"lows": [2**31 - 2, 40]},
    {"lows": []},
])
def test_arrays_that_are_no_tables_are_refused(change: dict[str, list[int]]) -> None:
    arrays = two_tables().to_arrays() | {name: np.array(row, np.int32) for name, row in change.items()}
    with pytest.raises(ValueError):
        SymbolTables.from_arrays(arrays)


def test_arrays_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="int32"):
        SymbolTables.from_arrays(two_tables().to_arrays() | {"lows": np.array([-1.0, 40.0])})


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50).filter(any))
@settings(deadline=None)
def test_quantised_probabilities(weights: list[float]) -> None:
    probabilities = np.array(weights) / sum(weights)
    frequencies = quantised(probabilities)
    assert frequencies.min() >= 1
    assert frequencies.sum() == TOTAL
    assert abs(frequencies / TOTAL - probabilities).max() <= (len(weights) + 2) / TOTAL


@pytest.mark.parametrize("build", CUMULATIVE)
@pytest.mark.parametrize("scale", SCALES)
def test_scale_tables_follow_their_distribution(build, scale: float) -> None:
    one = build([scale])
    cumulative = CUMULATIVE[build]
    reach = int(one.highs[0])
    assert one.lows[0] == -reach
    assert reach <= MAX_REACH
    expected = np.array([cumulative(k + 0.5, scale) - cumulative(k - 0.5, scale) for k in range(-reach, reach + 1)])
    assert np.allclose(one.table(0)[:-1] / TOTAL, expected, atol=5000 / TOTAL, rtol=1e-3)
    assert one.table(0)[-1] / TOTAL == pytest.approx(1 - expected.sum(), abs=2 / TOTAL, rel=1e-3)
    if reach < MAX_REACH:
        assert 1 - expected.sum() < 2**-20
    assert abs(one.table(0)[:-1] - one.table(0)[-2::-1]).max() <= 1  # symmetric but for the last remainders


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_scales_that_are_none_are_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        logistic_scale_tables([1.0, scale])


def test_factorised_table_is_close_to_the_best() -> None:
    """Other symbols of the same source cost little more than their entropy."""
    rng = np.random.default_rng(0)
    draw = lambda n: np.rint(rng.normal(40, 3, n)).astype(np.int32)  # noqa: E731
    seen, unseen = draw(20_000), draw(20_000)
    model = factorised_tables([np.bincount(seen - 20)], [20])
    entropy = 0.5 * math.log2(2 * math.pi * math.e * 9)
    assert model.bits(unseen, np.zeros_like(unseen)) / unseen.size == pytest.approx(entropy, rel=0.01)


def test_factorised_tables_cover_what_was_not_seen() -> None:
    model = factorised_tables([[0, 90, 10], [], [7], [1, *[0] * 9999, 1]], [4, 0, 2_000_000_000, -5000])
    assert model.lows[0] < 4
    assert model.highs[0] > 6
    assert model.lows[1] < 0 < model.highs[1]
    assert model.lows[2] < 2_000_000_000 < model.highs[2]
    assert model.sizes.max() <= 2 * MAX_REACH + 2
    assert model.table(0)[5 - model.lows[0]] / TOTAL == pytest.approx(0.9, abs=0.02)
    assert model.table(1).argmax() == -model.lows[1]


@pytest.mark.parametrize("counts", [[[1, -1]], [[math.nan]], [[[1, 2]]], []])
def test_histograms_that_are_none_are_refused(counts: list) -> None:
    with pytest.raises(ValueError):
        factorised_tables(counts, [0] * len(counts))


def test_bits() -> None:
    model = two_tables()
    symbols, index = np.array([[0, 1, 40], [-1, 2, -2**31]]), np.array([[0, 0, 1], [0, 0, 1]])
    lengths = [24 - math.log2(TOTAL - 7), 24, 1, 24 - math.log2(5), 24 + 8, 1 + 40]
    assert model.bits(symbols, index) == pytest.approx(sum(lengths))
    assert model.bits(np.empty(0, int), np.empty(0, int)) == 0
    assert model.code_lengths()[[1, 2, 4]] == pytest.approx(lengths[:3])


@pytest.mark.parametrize(("symbols", "index"), [
    ([0], [2]), ([0], [-1]), ([0], [0.0]), ([0.0], [0]), ([2**31], [0]), ([-(2**31) - 1], [0]), ([0, 0], [0]),
])
def test_symbols_and_tables_that_do_not_exist_are_refused(symbols: list, index: list) -> None:
    with pytest.raises(ValueError):
        two_tables().bits(np.array(symbols), np.array(index))


@pytest.mark.parametrize("seed", range(6))
def test_constriction_uses_the_same_integers(seed: int) -> None:
    """Symbol s, encoded onto an empty coder, leaves its left end; the next words depend on all frequencies."""
    rng = np.random.default_rng(seed)
    size = [2, 3, 60, 4000, 65536, 300][seed]
    frequencies = np.ones(size, np.int64) if seed == 5 else quantised(rng.exponential(size=size) ** 5).astype(np.int64)
    frequencies[rng.integers(size)] += TOTAL - frequencies.sum()
    one = SymbolTables.from_frequencies([frequencies], [0])
    packed = rans.RansTables.from_frequencies(one.frequencies, one.offsets)
    model = one.model(0)
    lefts = np.cumsum(frequencies) - frequencies
    for symbol in {0, 1, size - 1, *rng.integers(size, size=200).tolist()}:
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(np.array([symbol], np.int32), model)
        assert coder.get_compressed().tolist() == ([lefts[symbol]] if lefts[symbol] else [])
    symbols = rng.permutation(size).astype(np.int32)
    coder = constriction.stream.stack.AnsCoder(np.array([START], np.uint32))
    coder.encode_reverse(symbols, model)
    assert np.array_equal(coder.get_compressed(), rans.encode(symbols, np.zeros(size, np.uint16), packed))


@pytest.mark.parametrize("scale", [0.04, 0.3, 1.0, 29.0])
def test_shifted_laplace_tables_hold_the_probabilities_of_unit_steps(scale: float) -> None:
    shifts = np.arange(8) / 8
    tables = shifted_laplace_tables(np.array([1.0, scale]), shifts)
    assert len(tables) == 16
    for number, shift in enumerate(shifts.tolist()):
        table, low = tables.table(8 + number), int(tables.lows[8 + number])
        cumulative = CUMULATIVE[laplace_scale_tables]
        for place, frequency in enumerate(table[:-1].tolist()):
            symbol = low + place
            expected = cumulative(symbol + 0.5 - shift, scale) - cumulative(symbol - 0.5 - shift, scale)
            assert frequency / TOTAL == pytest.approx(expected, abs=(len(table) + 2) / TOTAL)
        assert table[-1] / TOTAL < 2.0**-19


def test_unshifted_laplace_tables_are_the_zero_mean_ones() -> None:
    shifted, plain = shifted_laplace_tables(SCALES, np.zeros(1)), laplace_scale_tables(SCALES)
    assert np.array_equal(shifted.frequencies, plain.frequencies) and np.array_equal(shifted.lows, plain.lows)


@pytest.mark.parametrize("shift", [-0.1, 1.0, math.nan])
def test_shifts_beyond_a_step_are_refused(shift: float) -> None:
    with pytest.raises(ValueError, match="a centre must be"):
        shifted_laplace_tables(np.ones(1), np.array([shift]))


def test_moments_are_those_of_the_distribution():
    scales = np.array([0.5, 3.0, 20.0])
    mean, deviation = logistic_scale_tables(scales).moments()
    assert np.allclose(mean, 0, atol=1e-3)
    assert np.allclose(deviation, np.sqrt(scales**2 * np.pi**2 / 3 + 1 / 12), rtol=0.01)
    mean, _ = SymbolTables.from_frequencies([np.array([TOTAL - 2, 1, 1])], [7]).moments()
    assert np.allclose(mean, 7, atol=1e-6)


def test_bits_of_each_symbol_sum_up_to_those_of_all() -> None:
    symbols, index = np.array([-1, 0, 1, 40, 0], np.int32), np.array([0, 0, 0, 1, 0], np.uint16)
    each = two_tables().bits_each(symbols, index)
    assert each.sum() == pytest.approx(two_tables().bits(symbols, index))
    assert each[3] == 1
    assert two_tables().bits_each(np.array([9], np.int32), np.array([0], np.uint16))[0] == 24  # an escape
