"""Groups of symbols through the coder: every integer of 32 bits comes back, damage does not pass, the size is ideal."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables, factorised_tables, gaussian_scale_tables, logistic_scale_tables
from fewbits.entropy.varint import write_varint
from fewbits.errors import DamagedError, StreamError, TruncatedError
from fewbits.kernels import ans
from fewbits.kernels.ans import TOTAL

Group = tuple[np.ndarray, SymbolTables, np.ndarray]

SCALES = 0.04 * 2.0 ** (0.1875 * np.arange(64))
LATENT_TABLES = logistic_scale_tables(SCALES)
HYPER_TABLES = factorised_tables([[5, 60, 20, 1], [1, 1]], [-1, 7])
GOLDEN_TABLES = SymbolTables.from_frequencies(
    [np.array([TOTAL // 4, TOTAL // 2, TOTAL // 4 - 1, 1]), np.array([5_592_405, 5_592_405, 5_592_406])], [-1, 100])
GOLDEN_GROUPS = [([0, 100, -1, 101, 1, 7, 0, 100], [0, 1, 0, 1, 0, 0, 0, 1]), ([1, -300, 0, 1], [0, 1, 0, 0])]
GOLDEN = bytes.fromhex("03 0ED704 98C6D699 C65669B4 02000000")


def encoded(groups: list[Group]) -> bytes:
    encoder = Encoder()
    for group in groups:
        encoder.add(*group)
    return encoder.finish()


def check_round_trip(groups: list[Group]) -> bytes:
    data = encoded(groups)
    decoder = Decoder(data)
    for symbols, tables, index in groups:
        decoded = decoder.decode(tables, index)
        assert decoded.dtype == np.int32
        assert decoded.shape == index.shape
        assert np.array_equal(decoded, symbols)
    decoder.finish()
    return data


def latents(seed: int, count: int) -> Group:
    rng = np.random.default_rng(seed)
    index = rng.integers(len(SCALES), size=count).astype(np.uint16)
    return np.rint(rng.logistic(0, SCALES[index])).astype(np.int32), LATENT_TABLES, index


def small_stream() -> tuple[bytes, list[Group]]:
    """Two groups with a few escapes."""
    symbols, tables, index = latents(0, 60)
    symbols[[5, 30, 31]] = [70_000, -2**31, -9000]
    groups = [(np.array([0, 7, 3, -1], np.int32), HYPER_TABLES, np.array([0, 1, 0, 0])), (symbols, tables, index)]
    return encoded(groups), groups


def test_golden_bytes() -> None:
    """The example of docs/format.md; sections of the first release look like this, so they may never change."""
    groups = [(np.array(symbols), GOLDEN_TABLES, np.array(index)) for symbols, index in GOLDEN_GROUPS]
    assert check_round_trip(groups) == GOLDEN


def test_example_of_the_format_page(root: Path) -> None:
    assert f"`{GOLDEN.hex(' ').upper()}`" in (root / "docs" / "format.md").read_text()


def test_words_follow_the_description() -> None:
    """Those of the plain coder, for entries sorted by table within each group, in the order of decoding."""
    entries = [1, 0, 2, 3, 1, 0, 1, 0, 2, 1, 2, 2]  # of GOLDEN_GROUPS, by hand
    tables = [0] * 5 + [1] * 3 + [0] * 3 + [1]
    words = ans.encode(entries, [GOLDEN_TABLES.table(t).tolist() for t in tables])
    escapes = bytes([14]) + bytes([0xD7, 4])  # 7 and -300
    assert np.array(words, "<u4").tobytes() == GOLDEN[4:]
    assert bytes([3]) + escapes == GOLDEN[:4]


def test_latents_there_and_back() -> None:
    check_round_trip([latents(1, 20_000), latents(2, 0), latents(3, 1), latents(4, 3000)])


def test_groups_may_have_other_tables_shapes_and_types() -> None:
    symbols, tables, index = latents(5, 240)
    check_round_trip([
        (symbols.reshape(2, 3, 40), tables, index.reshape(2, 3, 40).astype(np.int64)),
        (np.array([[1], [2]], np.int64), HYPER_TABLES, np.array([[0], [1]], np.uint8)),
        (np.array(3), HYPER_TABLES, np.array(0)),
        (np.asfortranarray(symbols.reshape(40, 6)), tables, np.asfortranarray(index.reshape(40, 6))),
        (symbols[::2], tables, index[::2]),
    ])


def test_read_only_arrays() -> None:
    symbols, tables, index = latents(6, 50)
    symbols.flags.writeable = index.flags.writeable = False
    check_round_trip([(symbols, tables, index)])


def test_nothing() -> None:
    assert encoded([]) == check_round_trip([latents(0, 0)]) == b"\0\0\0\0\1"


@given(st.lists(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1) | st.integers(-20, 20), st.integers(0, 63)),
                         max_size=30), max_size=4))
@settings(deadline=None)
def test_every_integer_of_32_bits_there_and_back(groups: list[list[tuple[int, int]]]) -> None:
    check_round_trip([(np.array([s for s, _ in group], np.int32), LATENT_TABLES,
                       np.array([t for _, t in group], np.uint16)) for group in groups])


def test_escapes_alone() -> None:
    edges = np.array([-(2**31), 2**31 - 1, 2048, -2048, 10**9], np.int32)
    symbols = np.tile(edges, 400)
    check_round_trip([(symbols, LATENT_TABLES, np.full(symbols.size, 3))])


def test_size_is_that_of_the_estimate() -> None:
    symbols, tables, index = latents(7, 1_000_000)
    bits = tables.bits(symbols, index)
    size = 8 * len(encoded([(symbols, tables, index)]))
    assert bits <= size + 1e-6 * bits
    assert size <= 1.0002 * bits


def test_size_is_close_to_the_entropy() -> None:
    """Tables lose little against the distributions that they stand for."""
    rng = np.random.default_rng(8)
    scale = SCALES[40]
    symbols = np.rint(rng.logistic(0, scale, 200_000)).astype(np.int32)
    upper = 1 / (1 + np.exp(-(symbols + 0.5) / scale))
    lower = 1 / (1 + np.exp(-(symbols - 0.5) / scale))
    ideal = -np.log2(upper - lower).sum()
    assert 8 * len(encoded([(symbols, LATENT_TABLES, np.full(symbols.size, 40))])) <= 1.0002 * ideal


def decode_all(data: bytes, groups: list[Group]) -> list[np.ndarray]:
    decoder = Decoder(data)
    decoded = [decoder.decode(tables, index) for _, tables, index in groups]
    decoder.finish()
    return decoded


def check_refused_or_equivalent(data: bytes, groups: list[Group]) -> bool:
    """Whether damaged data is refused; what is taken must be the very bytes of the symbols that it gives."""
    try:
        decoded = decode_all(data, groups)
    except StreamError:
        return True
    again = [(symbols, tables, index) for symbols, (_, tables, index) in zip(decoded, groups, strict=True)]
    assert encoded(again) == data
    return False


def test_every_truncation_is_refused() -> None:
    data, groups = small_stream()
    for cut in range(len(data)):
        with pytest.raises(StreamError):
            decode_all(data[:cut], groups)


def test_random_mutations_are_refused_or_equivalent() -> None:
    data, groups = small_stream()
    rng = np.random.default_rng(9)
    words = data[1 + data[0] :]
    taken = 0
    for _ in range(4000):
        mutated = bytearray(data)
        at = int(rng.integers(len(data)))
        if rng.random() < 0.5:
            mutated[at] ^= 1 << int(rng.integers(8))
        else:
            mutated[at : at + int(rng.integers(3))] = rng.bytes(int(rng.integers(6)))
        if mutated != data and not check_refused_or_equivalent(bytes(mutated), groups):
            assert mutated.endswith(words), "words that were never written were taken"
            taken += 1
    assert taken < 400  # in the escapes, which only the checksum protects


@given(st.binary(max_size=80))
@settings(deadline=None)
def test_arbitrary_bytes_are_refused_or_equivalent(data: bytes) -> None:
    _, groups = small_stream()
    check_refused_or_equivalent(data, groups)


def test_more_symbols_than_were_sent_are_noticed() -> None:
    symbols, tables, index = latents(10, 500)
    decoder = Decoder(encoded([(symbols, tables, index)]))
    decoder.decode(tables, np.concatenate([index, index]))
    with pytest.raises(DamagedError):
        decoder.finish()


def test_fewer_symbols_than_were_sent_are_noticed() -> None:
    symbols, tables, index = latents(11, 500)
    decoder = Decoder(encoded([(symbols, tables, index)]))
    decoder.decode(tables, index[:-50])
    with pytest.raises(DamagedError):
        decoder.finish()


@pytest.mark.parametrize(("data", "error", "says"), [
    (b"", TruncatedError, "ends"),
    (b"\x05\x01\x02", TruncatedError, "escaped"),
    (write_varint(1 << 40), TruncatedError, "escaped"),
    (b"\0\1\2\3", DamagedError, "whole word"),
    (b"\0", DamagedError, "whole word above 0"),
    (b"\0" + bytes(4), DamagedError, "whole word above 0"),
])
def test_each_error_has_its_sentence(data: bytes, error: type[StreamError], says: str) -> None:
    with pytest.raises(error, match=says):
        Decoder(data)


@pytest.mark.parametrize(("symbols", "index"), [
    (np.array([0]), np.array([64])), (np.array([0]), np.array([-1])), (np.array([0]), np.array([0.0])),
    (np.array([2**31]), np.array([0])), (np.array([np.nan]), np.array([0])), (np.array([0, 1]), np.array([0])),
    (np.zeros((2, 3), int), np.zeros((3, 2), int)),
])
def test_symbols_and_tables_that_do_not_exist_are_refused(symbols: np.ndarray, index: np.ndarray) -> None:
    with pytest.raises(ValueError):
        Encoder().add(symbols, LATENT_TABLES, index)


def test_the_decoder_refuses_tables_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="tables"):
        Decoder(encoded([])).decode(LATENT_TABLES, np.array([64]))


def test_decoding_without_numba_gives_the_same(monkeypatch):
    """A program that only decodes does not load the compiled kernels; escapes and errors must not depend on that."""
    generator = np.random.default_rng(5)
    tables = gaussian_scale_tables(np.array([0.3, 2.0, 20.0]))
    index = generator.integers(0, 3, 5000).astype(np.uint16)
    symbols = np.round(generator.standard_normal(5000) * 8).astype(np.int32)
    symbols[[0, 7, 4000, 4999]] = [-(2**31), 2**31 - 1, 5000, -5000]
    encoder = Encoder()
    encoder.add(symbols, tables, index)
    encoder.add(symbols[::-1], tables, index)
    data = encoder.finish()
    monkeypatch.delitem(sys.modules, "numba")
    decoder = Decoder(data)
    assert np.array_equal(decoder.decode(tables, index), symbols)
    assert np.array_equal(decoder.decode(tables, index), symbols[::-1])
    decoder.finish()
    with pytest.raises(DamagedError, match="escaped symbols"):
        broken = Decoder(data[:4] + b"\xff" * 6 + data[10:])  # behind the length of the escapes
        broken.decode(tables, index)
