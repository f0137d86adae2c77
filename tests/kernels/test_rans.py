"""The compiled ANS coder: the words of constriction, word for word."""

import constriction
import numpy as np
import pytest

from fewbits.errors import DamagedError
from fewbits.kernels import ans, rans
from fewbits.kernels.ans import START, TOTAL
from fewbits.kernels.rans import RansTables

AnsCoder = constriction.stream.stack.AnsCoder
Categorical = constriction.stream.model.Categorical

GOLDEN_TABLES = [[TOTAL // 2, TOTAL // 4, TOTAL // 4 - 1, 1], [1, TOTAL - 1], [5_592_405, 5_592_405, 5_592_406]]
GOLDEN_INDEX = [0, 1, 2, 0, 2, 2, 0, 1, 0, 2, 0, 0]
GOLDEN_SYMBOLS = [1, 0, 2, 3, 0, 1, 2, 1, 0, 2, 3, 1]
GOLDEN_WORDS = [0xFF4009D2, 0x25BD553B, 0x00800000, 0x00002D90]


def random_tables(rng: np.random.Generator, sizes: list[int]) -> list[np.ndarray]:
    """Tables from nearly uniform to nearly certain, always with entries of frequency 1."""
    tables = []
    for size in sizes:
        weights = rng.exponential(size=size) ** rng.choice([0.3, 1, 8])
        table = 1 + np.floor(weights / weights.sum() * (TOTAL - size)).astype(np.int64)
        table[rng.integers(size)] += TOTAL - table.sum()
        tables.append(table)
    return tables


def pack(tables: list[np.ndarray]) -> RansTables:
    return RansTables.from_frequencies(np.concatenate(tables), np.cumsum([0, *map(len, tables)]))


def constriction_words(symbols: np.ndarray, index: np.ndarray, tables: list[np.ndarray]) -> np.ndarray:
    models = [Categorical((np.asarray(table) - 1).astype(np.float64), lazy=False, perfect=False) for table in tables]
    coder = AnsCoder(np.array([START], np.uint32))
    for symbol, table in zip(symbols[::-1].tolist(), index[::-1].tolist(), strict=True):
        coder.encode_reverse(symbol, models[table])
    return coder.get_compressed()


def random_stream(seed: int, count: int, sizes: list[int]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Symbols drawn from their tables, with some that are unlikely in between."""
    rng = np.random.default_rng(seed)
    tables = random_tables(rng, sizes)
    index = rng.integers(len(tables), size=count).astype(np.uint16)
    quantiles = rng.integers(TOTAL, size=count)
    symbols = np.array([np.searchsorted(np.cumsum(tables[t]), q, side="right")
                        for t, q in zip(index, quantiles, strict=True)], np.int32)
    rare = rng.random(count) < 0.05
    symbols[rare] = [rng.integers(len(tables[t])) for t in index[rare]]
    return symbols, index, tables


def test_golden_words() -> None:
    """Files of the first release hold these words; they may never change."""
    symbols, index = np.array(GOLDEN_SYMBOLS, np.int32), np.array(GOLDEN_INDEX, np.uint16)
    tables = [np.array(table) for table in GOLDEN_TABLES]
    by_symbol = [GOLDEN_TABLES[t] for t in GOLDEN_INDEX]
    assert rans.encode(symbols, index, pack(tables)).tolist() == GOLDEN_WORDS
    assert constriction_words(symbols, index, tables).tolist() == GOLDEN_WORDS
    assert ans.encode(GOLDEN_SYMBOLS, by_symbol) == GOLDEN_WORDS
    assert rans.decode(np.array(GOLDEN_WORDS, np.uint32), index, pack(tables)).tolist() == GOLDEN_SYMBOLS
    assert ans.decode(GOLDEN_WORDS, by_symbol) == GOLDEN_SYMBOLS


@pytest.mark.parametrize(("seed", "count", "sizes"), [
    (0, 0, [2]), (1, 1, [3]), (2, 2, [2, 2]), (3, 700, [2, 3, 17]), (4, 2000, [256] * 20), (5, 300, [4096, 2]),
    (6, 300, [65536]), (7, 3000, [2]),
])
def test_words_equal_those_of_constriction(seed: int, count: int, sizes: list[int]) -> None:
    symbols, index, tables = random_stream(seed, count, sizes)
    packed = pack(tables)
    words = rans.encode(symbols, index, packed)
    assert np.array_equal(words, constriction_words(symbols, index, tables))
    assert np.array_equal(rans.decode(words, index, packed), symbols)


def test_words_equal_those_of_the_reference() -> None:
    symbols, index, tables = random_stream(8, 400, [2, 5, 40, 300])
    by_symbol = [tables[t].tolist() for t in index]
    words = rans.encode(symbols, index, pack(tables))
    assert ans.encode(symbols.tolist(), by_symbol) == words.tolist()
    assert ans.decode(words.tolist(), by_symbol) == symbols.tolist()


def test_reads_what_constriction_reads_from_arbitrary_words() -> None:
    """Decoding of damaged words goes on with the same symbols, so both find the same damage."""
    rng = np.random.default_rng(9)
    table = random_tables(rng, [300])[0]
    packed, model = pack([table]), Categorical((table - 1).astype(np.float64), lazy=False, perfect=False)
    for count in (1, 2, 3, 50):
        words = rng.integers(1, 2**32, count).astype(np.uint32)
        index = np.zeros(200, np.uint16)
        symbols, _ = rans._decode(words, *rans.open_words(words), index, packed.packed, packed.offsets, packed.lookup)
        assert np.array_equal(symbols, AnsCoder(words).decode(model, 200))


def test_size_is_close_to_the_ideal() -> None:
    symbols, index, tables = random_stream(10, 20_000, [50] * 5)
    ideal = sum(24 - np.log2(tables[t][s]) for t, s in zip(index, symbols, strict=True))
    assert 32 * len(rans.encode(symbols, index, pack(tables))) <= 1.0002 * ideal + 64


def test_damaged_words_are_noticed() -> None:
    """Words that end where the symbols end are the words of those symbols; all others raise."""
    symbols, index, tables = random_stream(11, 200, [2, 30])
    packed = pack(tables)
    words = rans.encode(symbols, index, packed)
    rng = np.random.default_rng(12)
    with pytest.raises(DamagedError):
        rans.decode(words, np.append(index, index), packed)
    with pytest.raises(DamagedError):
        rans.decode(words, index[:-1], packed)
    damaged = [words[:cut] for cut in range(len(words))]
    damaged += [words ^ (np.arange(len(words)) == at).astype(np.uint32) << np.uint32(bit)
                for at, bit in zip(rng.integers(len(words), size=300), rng.integers(32, size=300), strict=True)]
    raised = 0
    for other in damaged:
        try:
            decoded = rans.decode(other, index, packed)
        except DamagedError:
            raised += 1
        else:
            assert np.array_equal(rans.encode(decoded, index, packed), other)
    assert raised > 0.99 * len(damaged)
    with pytest.raises(DamagedError):
        rans.decode(np.append(words, np.uint32(0)), index, packed)


@pytest.mark.parametrize("table", [[TOTAL], [TOTAL, 0], [TOTAL - 1, 2], [-1, TOTAL + 1]])
def test_tables_that_are_none_are_refused(table: list[int]) -> None:
    with pytest.raises(ValueError, match="table needs"):
        RansTables.from_frequencies(np.array(table), np.array([0, len(table)]))


@pytest.mark.parametrize(("symbols", "index"), [([2], [0]), ([-1], [0]), ([0], [1]), ([0, 0], [0])])
def test_symbols_that_do_not_exist_are_refused(symbols: list[int], index: list[int]) -> None:
    tables = pack([np.array([TOTAL - 1, 1])])
    with pytest.raises(ValueError):
        rans.encode(np.array(symbols, np.int32), np.array(index, np.uint16), tables)
