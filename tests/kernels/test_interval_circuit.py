"""Circuits over intervals: the compiled loops compute what the plain reference says, bit for bit, and nothing breaks
them."""

import zlib

import numpy as np
import pytest

from fewbits.errors import DamagedError
from fewbits.kernels import adaptive_rans, ans, interval_circuit, interval_circuit_reference
from fewbits.kernels.ans import TOTAL
from fewbits.kernels.interval_circuit import BLOCK, LARGEST_DENSITY, IntervalCircuit, IntervalTables, Variables
from fewbits.kernels.rans import RansTables

EDGES = np.array([0, 100, 2**20, 2**22, 2**22 + 5, 2**23, TOTAL - 3, TOTAL])
PARENTS = {
    "one node": [-1],
    "chain": [-1, 0, 1, 2, 3, 4],
    "star": [-1, 0, 0, 0, 0, 0],
    "tree": [-1, 0, 1, 1, 3, 0, 5, 6, 6, 5, 0],
}


def random_tables(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and offsets of tables with so many entries."""
    generator = np.random.default_rng(0)
    rows = []
    for size in sizes:
        row = 1 + (generator.dirichlet(np.full(size, 0.3)) * (TOTAL - size)).astype(np.int64)
        row[0] += TOTAL - row.sum()
        rows.append(row)
    return np.concatenate(rows), np.cumsum([0, *sizes])


FREQUENCIES, OFFSETS = random_tables((2, 3, 8, 300))
ENDS = IntervalTables.from_frequencies(FREQUENCIES, OFFSETS, EDGES)


def random_circuit(parents: list[int], states: int, low: int = 0) -> IntervalCircuit:
    """With codes from `low` on."""
    generator = np.random.default_rng(states)
    nodes = len(parents)

    def codes(high: int, *shape: int) -> np.ndarray:
        return generator.integers(low, high + 1, shape).astype(np.uint8)

    return IntervalCircuit.from_codes(np.array(parents), EDGES, codes(255, states), codes(255, nodes, states, states),
                                      codes(LARGEST_DENSITY, nodes, states, len(EDGES) - 1))


def variables(nodes: int, known: bool) -> Variables:
    """Every third node and its next one known, others coded; or these two coded, and nothing known."""
    generator, few = np.random.default_rng(nodes), np.arange(nodes) % 3 < 2

    def columns(chosen: np.ndarray) -> np.ndarray:
        result = np.full(nodes, interval_circuit.NOTHING)
        result[chosen] = generator.permutation(chosen.sum())
        return result

    if known and nodes > 2:
        return Variables(columns(~few), columns(few))
    return Variables(columns(few), columns(np.zeros(nodes, bool)))


def random_positions(which: Variables, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries, tables and known symbols."""
    generator, sizes = np.random.default_rng(1), np.diff(OFFSETS)
    tables, known_tables = (generator.integers(0, len(sizes), (count, (columns >= 0).sum())).astype(np.int32)
                            for columns in (which.columns, which.known_columns))
    entries, known = ((generator.integers(0, 2**31, chosen.shape) % sizes[chosen]).astype(np.int32)
                      for chosen in (tables, known_tables))
    return entries, tables, (ENDS.first[known_tables] + known).astype(np.int32)


@pytest.mark.parametrize("parents", PARENTS.values(), ids=PARENTS.keys())
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("states", "low"), [(1, 0), (3, 190), (8, 0)])
def test_equal_to_the_reference_bit_for_bit(parents, known, states, low):
    circuit, which = random_circuit(parents, states, low), variables(len(parents), known)
    entries, tables, known_symbols = random_positions(which, BLOCK + 3)
    rows = np.array([interval_circuit_reference.intervals(*position, which, circuit, ENDS)
                     for position in zip(entries, tables, known_symbols, strict=True)])
    expected = np.concatenate([rows[:BLOCK].T.reshape(-1), rows[BLOCK:].T.reshape(-1)])
    assert np.array_equal(interval_circuit.intervals(entries, tables, known_symbols, which, circuit, ENDS), expected)


@pytest.mark.parametrize("parents", PARENTS.values(), ids=PARENTS.keys())
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("count", [1, BLOCK, 2 * BLOCK + 1])
def test_symbols_come_back(parents, known, count):
    circuit, which = random_circuit(parents, 5), variables(len(parents), known)
    entries, tables, known_symbols = random_positions(which, count)
    words = adaptive_rans.encode_intervals(
        interval_circuit.intervals(entries, tables, known_symbols, which, circuit, ENDS))
    coder = adaptive_rans.open_words(words)
    decoded = interval_circuit.decode(words, coder, tables, known_symbols, which, circuit, ENDS)
    adaptive_rans.check_end(coder)
    assert np.array_equal(decoded, entries)


def test_tables_are_fit_for_the_coder_where_weights_are_most_uneven():
    """Each table goes from 0 to 2**24 without a gap or an entry of nothing; reference and compiled loops agree."""
    nodes, states = 6, 4
    uneven = np.random.default_rng(0).random((nodes, states, states)) < 0.5
    leaves = np.tile(np.eye(4, 7, dtype=bool) * np.uint8(LARGEST_DENSITY), (nodes, 1, 1)).astype(np.uint8)
    circuit = IntervalCircuit.from_codes(np.array(PARENTS["chain"]), EDGES, np.array([0, 255, 0, 0], np.uint8),
                                         np.where(uneven, 0, 255).astype(np.uint8), leaves)
    which = Variables(np.arange(nodes), np.full(nodes, interval_circuit.NOTHING))
    last = np.array([299] * nodes, np.int32)
    tables = np.full(nodes, 3, np.int32)
    lefts = []
    for entry in range(300):
        entries = np.append(last[:-1], entry).astype(np.int32)[None]
        packed = int(interval_circuit.intervals(entries, tables[None], np.empty((1, 0), np.int32), which, circuit,
                                                ENDS)[-1])
        lefts.append((packed >> ans.PRECISION, packed % TOTAL))
    assert all(frequency >= 1 for _, frequency in lefts)
    ends = [left + frequency for left, frequency in lefts]
    assert [0, *ends] == [*(left for left, _ in lefts), TOTAL]


def test_no_data_brings_numbers_out_of_range():
    """A node with very many children, known and not, each of which speaks as strongly as it can for a state."""
    nodes = 900
    sure = np.tile(np.array([[255, 0], [0, 255]], np.uint8), (nodes, 1, 1))
    leaves = np.zeros((nodes, 2, len(EDGES) - 1), np.uint8)
    leaves[:, 0, 0] = leaves[:, 1, -1] = LARGEST_DENSITY
    circuit = IntervalCircuit.from_codes(np.array([-1] + [0] * (nodes - 1)), EDGES, np.array([0, 255], np.uint8), sure,
                                         leaves)
    which = variables(nodes, True)
    entries, tables, known = random_positions(which, 4)
    for ends in (0, 1):  # all known ones at one end, then at the other
        known[:2], known[2:] = ENDS.first[3], ENDS.first[3] + 299 * ends
        intervals = interval_circuit.intervals(entries, tables, known, which, circuit, ENDS)
        words = adaptive_rans.encode_intervals(intervals)
        coder = adaptive_rans.open_words(words)
        assert np.array_equal(interval_circuit.decode(words, coder, tables, known, which, circuit, ENDS), entries)
        assert np.isfinite(adaptive_rans.bits_of(intervals))


def test_any_words_give_entries_of_the_tables():
    circuit, which = random_circuit(PARENTS["tree"], 4), variables(11, True)
    _, tables, known = random_positions(which, 3 * BLOCK)
    generator = np.random.default_rng(0)
    for _ in range(200):
        words = generator.integers(1, 2**32, generator.integers(1, 60), dtype=np.uint32)
        coder = adaptive_rans.open_words(words)
        entries = interval_circuit.decode(words, coder, tables, known, which, circuit, ENDS)
        assert (entries >= 0).all() and (entries < np.diff(OFFSETS)[tables]).all()
        with pytest.raises(DamagedError):
            adaptive_rans.check_end(coder)


def test_symbols_with_tables_among_them():
    tables = RansTables.from_frequencies(FREQUENCIES, OFFSETS)
    generator = np.random.default_rng(0)
    index = generator.integers(0, 4, 500).astype(np.uint16)
    entries = (generator.integers(0, 2**31, 500) % np.diff(OFFSETS)[index]).astype(np.int32)
    words = adaptive_rans.encode_intervals(adaptive_rans.intervals_by_tables(entries, index, tables))
    rows = [FREQUENCIES[OFFSETS[table] : OFFSETS[table + 1]].tolist() for table in index]
    assert words.tolist() == ans.encode(entries.tolist(), rows)
    coder = adaptive_rans.open_words(words)
    parts = [adaptive_rans.decode_by_tables(words, coder, part, tables) for part in (index[:123], index[123:])]
    adaptive_rans.check_end(coder)
    assert np.array_equal(np.concatenate(parts), entries)


def test_parts_that_do_not_fit_are_refused():
    nodes, states, cells = 2, 2, len(EDGES) - 1
    parents, root = np.array([-1, 0]), np.zeros(states, np.uint8)
    transitions, leaves = np.zeros((nodes, states, states), np.uint8), np.zeros((nodes, states, cells), np.uint8)
    with pytest.raises(ValueError, match="fit together"):
        IntervalCircuit.from_codes(parents, EDGES[:-1], root, transitions, leaves)
    with pytest.raises(ValueError, match="cells must go"):
        IntervalCircuit.from_codes(parents, EDGES + 1, root, transitions, leaves)
    with pytest.raises(ValueError, match="above"):
        IntervalCircuit.from_codes(parents, EDGES, root, transitions, leaves + np.uint8(LARGEST_DENSITY + 1))


GENERIC = """
import sys, zlib
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]) / "tests" / "kernels"))
from test_interval_circuit import coded_in_full
print(zlib.crc32(coded_in_full()))
"""


def coded_in_full() -> bytes:
    """Intervals of some positions under a circuit with all kinds of nodes."""
    circuit, which = random_circuit(PARENTS["tree"], 11), variables(11, True)
    return interval_circuit.intervals(*random_positions(which, 100), which, circuit, ENDS).tobytes()


def test_another_processor_and_optimiser_write_the_same_bytes(root, elsewhere):
    printed = elsewhere(GENERIC, root, NUMBA_CPU_NAME="generic", NUMBA_OPT="1")
    assert int(printed) == zlib.crc32(coded_in_full())
