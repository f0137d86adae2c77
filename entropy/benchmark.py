"""Speed and overhead of the entropy layer, beside rivals, on the same symbols in the same run."""

import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np

from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables, gaussian_scale_tables
from fewbits.kernels import rans
from fewbits.kernels.ans import TOTAL

SYMBOLS = 1_000_000
REPEATS = 7
SCALES = np.geomspace(0.11, 64, 64)  # standard deviations
RIVAL = "constriction, a Gaussian per symbol"  # which is always there
RIVAL_PRECISION = 16  # of compressai's tables


@dataclass(frozen=True)
class EntropyRecord:
    """What a coder reached.

    Attributes:
        name: the coder.
        encode_per_s, decode_per_s: symbols per second of processor time on one core, conversions from and to arrays
            included, the best of several runs.
        overhead_percent: how much its bytes exceed the information content of the symbols under the distribution
            that they were drawn from.
    """

    name: str
    encode_per_s: float
    decode_per_s: float
    overhead_percent: float


@dataclass(frozen=True)
class Load:
    """Rounded Gaussian samples of 64 scales in random order, as the latents of a hyperprior codec are.

    Attributes:
        symbols: (n,) int32.
        index: (n,) uint16, the scale of each.
        tables: one per scale.
        ideal_bits: information content of the symbols.
    """

    symbols: np.ndarray
    index: np.ndarray
    tables: SymbolTables
    ideal_bits: float


@dataclass(frozen=True)
class Contender:
    """A coder: symbols of the load to data, and the data back to symbols."""

    name: str
    encode: Callable[[], Any]
    decode: Callable[[Any], np.ndarray]


def entropy_benchmark(symbols: int = SYMBOLS) -> list[EntropyRecord]:
    """Our coder and kernel, constriction with a model per symbol, and compressai's rANS where it is installed."""
    load = make_load(symbols)
    contenders = [_grouped(load), _kernel(load), _per_symbol(load)]
    if importlib.util.find_spec("compressai"):
        contenders.append(_compressai(load))
    return [measure(contender, load) for contender in contenders]


def make_load(symbols: int) -> Load:
    """The same symbols at every call, none so far out that it needs an escape, which not every coder here has."""
    rng = np.random.default_rng(0)
    index = rng.integers(len(SCALES), size=symbols).astype(np.uint16)
    tables = gaussian_scale_tables(SCALES)
    values = np.rint(rng.normal(0, SCALES[index])).astype(np.int32).clip(tables.lows[index], tables.highs[index])
    return Load(values, index, tables, _ideal_bits(values, index))


def _ideal_bits(values: np.ndarray, index: np.ndarray) -> float:
    bits = 0.0
    for number, scale in enumerate(SCALES):
        counts = np.bincount(abs(values[index == number]))
        for value, count in enumerate(counts.tolist()):
            tails = [0.5 * math.erfc((value + side) / (scale * math.sqrt(2))) for side in (-0.5, 0.5)]
            bits -= count * math.log2(tails[0] - tails[1]) if count else 0
    return bits


def measure(contender: Contender, load: Load) -> EntropyRecord:
    """Times a coder. Raises `RuntimeError` if it does not give the symbols back."""
    data = contender.encode()
    if not np.array_equal(contender.decode(data), load.symbols):
        raise RuntimeError(f"{contender.name} does not decode what it encoded")
    encode_s = min(_seconds(contender.encode) for _ in range(REPEATS))
    decode_s = min(_seconds(lambda: contender.decode(data)) for _ in range(REPEATS))
    overhead = 8 * memoryview(data).nbytes / load.ideal_bits - 1
    return EntropyRecord(contender.name, load.symbols.size / encode_s, load.symbols.size / decode_s, 100 * overhead)


def _seconds(work: Callable[[], object]) -> float:
    """Processor time of this thread: all coders here run in one, and other processes must not count."""
    began = time.thread_time()
    work()
    return max(time.thread_time() - began, 1e-9)


def _grouped(load: Load) -> Contender:
    def encode() -> bytes:
        encoder = Encoder()
        encoder.add(load.symbols, load.tables, load.index)
        return encoder.finish()

    def decode(data: bytes) -> np.ndarray:
        decoder = Decoder(data)
        symbols = decoder.decode(load.tables, load.index)
        decoder.finish()
        return symbols

    return Contender("fewbits, grouped by table", encode, decode)


def _kernel(load: Load) -> Contender:
    packed = rans.RansTables.from_frequencies(load.tables.frequencies, load.tables.offsets)
    lows = load.tables.lows

    def encode() -> np.ndarray:
        return rans.encode(load.symbols - lows[load.index], load.index, packed)

    def decode(words: np.ndarray) -> np.ndarray:
        return rans.decode(words, load.index, packed) + lows[load.index]

    return Contender("fewbits, compiled loop", encode, decode)


def _per_symbol(load: Load) -> Contender:
    reach = int(abs(load.symbols).max()) + 1
    model = constriction.stream.model.QuantizedGaussian(-reach, reach)
    means, deviations = np.zeros(load.symbols.size), SCALES[load.index]

    def encode() -> np.ndarray:
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(load.symbols, model, means, deviations)
        return coder.get_compressed()

    def decode(words: np.ndarray) -> np.ndarray:
        return constriction.stream.stack.AnsCoder(words).decode(model, means, deviations)

    return Contender(RIVAL, encode, decode)


def _compressai(load: Load) -> Contender:
    """As `compressai.entropy_models` calls it: with lists."""
    from compressai._CXX import pmf_to_quantized_cdf
    from compressai.ans import RansDecoder, RansEncoder

    cumulative = [pmf_to_quantized_cdf((load.tables.table(t) / TOTAL).tolist(), RIVAL_PRECISION)
                  for t in range(len(load.tables))]
    arguments = (cumulative, [len(row) for row in cumulative], load.tables.lows.tolist())

    def encode() -> bytes:
        return RansEncoder().encode_with_indexes(load.symbols.tolist(), load.index.tolist(), *arguments)

    def decode(data: bytes) -> np.ndarray:
        return np.array(RansDecoder().decode_with_indexes(data, load.index.tolist(), *arguments), np.int32)

    return Contender("compressai, rANS", encode, decode)
