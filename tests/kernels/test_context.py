"""Context networks: the compiled loops compute what the plain reference says, also where sums are largest."""

import numpy as np
import pytest

from fewbits.codecs.image.overfit.architecture import NEIGHBOURS, SIZES, DecoderSize
from fewbits.codecs.image.overfit.starts import context_tables
from fewbits.errors import DamagedError
from fewbits.kernels import context, context_reference, grouping, rans
from fewbits.kernels.context import ContextNetwork, ContextTables, GridDecoder, padded_plane
from fewbits.kernels.rans import RansTables

SHAPES = [(1, 1), (1, 9), (2, 2), (17, 31), (40, 23)]


@pytest.fixture(scope="module")
def tables() -> ContextTables:
    made = context_tables()
    return ContextTables(RansTables.from_frequencies(made.frequencies, made.offsets), made.lows, made.sizes)


def random_parameters(size: DecoderSize, rng: np.random.Generator, spread: int) -> dict[str, np.ndarray]:
    """Of one context network, by their names in it."""
    prefix = "context.0."
    return {name.removeprefix(prefix): rng.integers(-spread, spread + 1, shape).astype(np.int32)
            for name, shape in size.shapes().items() if name.startswith(prefix)}


def largest_parameters(size: DecoderSize, sign: int) -> dict[str, np.ndarray]:
    """Parameters that bring every sum as far as the ranges allow."""
    largest = random_parameters(size, np.random.default_rng(0), 0)
    largest["first.weight"][:] = sign * 32767
    largest["first.bias"][:] = sign * 32767
    largest["second.weight"][:] = sign * (32766 // size.context_width)
    largest["last.weight"][:] = sign * (16383 // size.context_width)
    return largest


def random_latents(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> np.ndarray:
    values = np.round(rng.laplace(0, spread, shape))
    return values.clip(-context.LATENT_LIMIT, context.LATENT_LIMIT).astype(np.int32)


def neighbours_of(size: DecoderSize) -> np.ndarray:
    return np.array(NEIGHBOURS[: size.neighbours], np.int64)


def assert_equal_to_reference(size: DecoderSize, parameters: dict[str, np.ndarray], latents: np.ndarray,
                              coarse: np.ndarray | None) -> None:
    plane = context.no_plane(*latents.shape) if coarse is None else padded_plane(coarse)
    symbols, index = context.predict(latents, plane, neighbours_of(size), ContextNetwork.from_parameters(parameters))
    expected = context_reference.predict(latents, coarse, neighbours_of(size), parameters)
    assert np.array_equal(symbols, expected[0]) and np.array_equal(index, expected[1])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("spread", "latent_spread"), [(100, 1.0), (700, 3.0), (2000, 3000.0)])
def test_equal_to_the_reference(size, shape, spread, latent_spread):
    rng = np.random.default_rng(shape[0] + spread)
    parameters = random_parameters(size, rng, spread)
    latents = random_latents(rng, shape, latent_spread)
    coarse = random_latents(rng, (-(-shape[0] // 2), -(-shape[1] // 2)), latent_spread)
    assert_equal_to_reference(size, parameters, latents, coarse)
    assert_equal_to_reference(size, parameters, latents, None)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("latent", [-16383, 16383])
def test_equal_to_the_reference_where_sums_are_largest(size, sign, latent):
    latents, coarse = np.full((9, 8), latent, np.int32), np.full((5, 4), latent, np.int32)
    assert_equal_to_reference(size, largest_parameters(size, sign), latents, coarse)


def encoded(symbols: np.ndarray, index: np.ndarray, tables: ContextTables) -> tuple[np.ndarray, np.ndarray]:
    """Words and escapes."""
    last = tables.sizes[index] - 1
    entries = symbols - tables.lows[index]
    escaped = (entries < 0) | (entries >= last)
    escapes = grouping.write_escapes(symbols, index, tables.lows, tables.sizes, int(escaped.sum()))
    return rans.encode(np.where(escaped, last, entries), index, tables.rans), escapes


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_decoding_gives_the_latents_back(size, shape, tables):
    rng = np.random.default_rng(7)
    network = ContextNetwork.from_parameters(random_parameters(size, rng, 300))
    for spread in (0.3, 2.0, 2000.0):
        latents = random_latents(rng, shape, spread)
        coarse = padded_plane(random_latents(rng, (-(-shape[0] // 2), -(-shape[1] // 2)), spread))
        words, escapes = encoded(*context.predict(latents, coarse, neighbours_of(size), network), tables)
        decoder = GridDecoder(words, escapes, tables)
        decoded, plane = decoder.decode(*shape, coarse, neighbours_of(size), network)
        decoder.finish()
        assert np.array_equal(decoded, latents) and np.array_equal(plane, padded_plane(latents))


def test_latents_beyond_the_limit_are_damage(tables):
    size = SIZES[0]
    network = ContextNetwork.from_parameters(random_parameters(size, np.random.default_rng(0), 0))
    latents, coarse = np.full((3, 3), 16384, np.int32), context.no_plane(3, 3)
    words, escapes = encoded(*context.predict(latents, coarse, neighbours_of(size), network), tables)
    with pytest.raises(DamagedError, match="beyond"):
        GridDecoder(words, escapes, tables).decode(3, 3, coarse, neighbours_of(size), network)


def test_missing_and_wrong_escapes_are_damage(tables):
    size = SIZES[0]
    network = ContextNetwork.from_parameters(random_parameters(size, np.random.default_rng(0), 0))
    latents, coarse = np.full((3, 3), 9000, np.int32), context.no_plane(3, 3)
    words, escapes = encoded(*context.predict(latents, coarse, neighbours_of(size), network), tables)
    for wrong, message in ((escapes[:-1], "fewer"), (np.concatenate([[np.uint8(0)], escapes]), "malformed")):
        with pytest.raises(DamagedError, match=message):
            GridDecoder(words, wrong, tables).decode(3, 3, coarse, neighbours_of(size), network)
    longer = GridDecoder(words, np.append(escapes, np.uint8(1)), tables)
    longer.decode(3, 3, coarse, neighbours_of(size), network)
    with pytest.raises(DamagedError, match="does not end"):
        longer.finish()
