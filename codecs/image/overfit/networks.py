"""The networks of a file: what they may be, and how a file says in what they differ from a start."""

from dataclasses import dataclass

import numpy as np

from fewbits.codecs.image.overfit.architecture import CONTEXT_NETWORKS, UNIT, DecoderSize
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import DamagedError
from fewbits.kernels.context import CENTRE_LEVEL, CONTEXT_LIMIT, FRACTION, HIDDEN_LIMIT, SHIFTS

Networks = dict[str, np.ndarray]
"""int32 arrays in units of 1 / 1024, by the names and in the order of `DecoderSize.shapes`."""

PARAMETER_LIMIT = 2**15 - 1
MAX_SHIFT = 10  # of differences
CLASSES = 16  # of the scale of differences: class c stands for a Laplacian of 2**(c / 2 - 3)

_SUM_LIMIT = 1 << 30
_SECOND_SUM_LIMIT = (1 << 31) - 1 - (1 << FRACTION - 1)

# The tables of context networks have 4 levels for each doubling of the scale.
_CLASS_TABLES = [(CENTRE_LEVEL + 2 * c - 12) * SHIFTS for c in range(CLASSES)]


def check_ranges(networks: Networks, size: DecoderSize) -> None:
    """Raises `ValueError` unless all parameters are within their limit, and all sums of the context networks within 32
    bits, whatever the latents."""
    for name, shape in size.shapes().items():
        if networks[name].shape != shape or networks[name].dtype != np.int32:
            raise ValueError(f"{name} is {networks[name].dtype} {networks[name].shape}, not int32 {shape}")
        if (np.abs(networks[name].astype(np.int64)) > PARAMETER_LIMIT).any():
            raise ValueError(f"{name} is beyond {PARAMETER_LIMIT}")
    for number in range(CONTEXT_NETWORKS):
        layers = {layer: networks[f"context.{number}.{layer}"] for layer in
                  ("first.weight", "first.bias", "second.weight", "second.bias", "last.weight")}
        first = _reach(layers["first.weight"], CONTEXT_LIMIT) + np.abs(layers["first.bias"].astype(np.int64))
        second_bias = np.abs(layers["second.bias"].astype(np.int64)) << FRACTION
        second = _reach(layers["second.weight"], HIDDEN_LIMIT) + second_bias
        last = _reach(layers["last.weight"], HIDDEN_LIMIT)
        if first.max() >= _SUM_LIMIT or second.max() >= _SECOND_SUM_LIMIT or last.max() >= _SUM_LIMIT:
            raise ValueError(f"sums of context network {number} could leave 32 bits")


def _reach(weight: np.ndarray, limit: int) -> np.ndarray:
    """The largest sum of each row for inputs up to a limit."""
    return np.abs(weight.astype(np.int64)).sum(1) * limit


@dataclass(frozen=True)
class CodedDifference:
    """How the difference of one tensor from its start is coded."""

    kind: int  # its byte in the section; 0 where there is no difference
    symbols: np.ndarray
    index: np.ndarray
    bits: float


def _differences(networks: Networks, start: Networks, size: DecoderSize, tables: SymbolTables,
                 shifts: dict[str, int]) -> list[CodedDifference]:
    """All tensors, each with the class of scale that takes the fewest bits."""
    return [coded_difference(networks[name].astype(np.int64) - start[name], tables, shifts.get(name, 0))
            for name in size.shapes()]


def coded_difference(difference: np.ndarray, tables: SymbolTables, shift: int) -> CodedDifference:
    """How to code the difference of a tensor from its start.

    Raises:
        ValueError: if the difference has bits below its shift.
    """
    if not difference.any():
        return CodedDifference(0, np.zeros(0, np.int32), np.zeros(0, np.uint16), 0.0)
    if not 0 <= shift <= MAX_SHIFT or (difference & (1 << shift) - 1).any():
        raise ValueError(f"a difference from the start is not a multiple of 2**{shift}")
    symbols = (difference >> shift).reshape(-1).astype(np.int32)
    bits = [tables.bits(symbols, np.full(symbols.shape, table, np.uint16)) for table in _CLASS_TABLES]
    best = int(np.argmin(bits))
    return CodedDifference(1 + best + CLASSES * shift, symbols, np.full(symbols.shape, _CLASS_TABLES[best], np.uint16),
                       bits[best])


def difference_bits(networks: Networks, start: Networks, size: DecoderSize, tables: SymbolTables,
                    shifts: dict[str, int]) -> float:
    """Ideal size in bits of what `encode_networks` gives."""
    changed = [part for part in _differences(networks, start, size, tables, shifts) if part.kind]
    return 8.0 * (_mask_bytes(size) + len(changed)) + sum(part.bits for part in changed) if changed else 0.0


def _mask_bytes(size: DecoderSize) -> int:
    return -(-len(size.shapes()) // 8)


def encode_networks(networks: Networks, start: Networks, size: DecoderSize, tables: SymbolTables,
                    shifts: dict[str, int]) -> bytes:
    """The section of the networks: a bit for each tensor that says whether it differs from the start, a byte for each
    that does, and the differences.

    Args:
        tables: those of the context networks.
        shifts: by name, how many low bits the difference of a tensor lacks; 0 where not given.

    Raises:
        ValueError: if networks are out of range or a difference has bits below its shift.
    """
    check_ranges(networks, size)
    parts = _differences(networks, start, size, tables, shifts)
    if not any(part.kind for part in parts):
        return b""
    encoder = Encoder()
    for part in parts:
        if part.kind:
            encoder.add(part.symbols, tables, part.index)
    mask = np.packbits([part.kind > 0 for part in parts], bitorder="little").tobytes()
    return mask + bytes(part.kind for part in parts if part.kind) + encoder.finish()


def decode_networks(data: bytes, start: Networks, size: DecoderSize, tables: SymbolTables) -> Networks:
    """Inverse of `encode_networks`. Raises `StreamError` for bytes that it would not write."""
    if not data:
        return dict(start)
    names, begin = list(size.shapes()), _mask_bytes(size)
    changed = np.unpackbits(np.frombuffer(data[:begin], np.uint8), bitorder="little").tolist()
    end = begin + sum(changed)
    if not any(changed) or any(changed[len(names) :]) or len(data) < end:
        raise DamagedError("The section of the networks is damaged: what it says about its parts cannot be.")
    decoder, kinds = Decoder(data[end:]), iter(data[begin:end])
    networks = dict(start)
    for name, differs in zip(names, changed, strict=False):
        if differs:
            networks[name] = _changed(start[name], decoder, next(kinds), tables)
    decoder.finish()
    try:
        check_ranges(networks, size)
    except ValueError as error:
        raise DamagedError(f"The networks of the file are damaged: {error}.") from None
    return networks


def _changed(start: np.ndarray, decoder: Decoder, kind: int, tables: SymbolTables) -> np.ndarray:
    """A tensor, from the difference that comes next."""
    shift, number = divmod(kind - 1, CLASSES)
    if not 0 <= shift <= MAX_SHIFT:
        raise DamagedError(f"The section of the networks is damaged: there is no way {kind} of coding differences.")
    symbols = decoder.decode(tables, np.full(start.shape, _CLASS_TABLES[number], np.uint16)).astype(np.int64)
    changed = start + (symbols << shift)
    if (np.abs(changed) > PARAMETER_LIMIT).any():
        raise DamagedError("The networks of the file are damaged: a parameter is out of range.")
    return changed.astype(np.int32)


def rounded(networks: dict[str, np.ndarray]) -> Networks:
    """Real parameters as those of a file."""
    return {name: np.rint(array * UNIT).clip(-PARAMETER_LIMIT, PARAMETER_LIMIT).astype(np.int32)
            for name, array in networks.items()}
